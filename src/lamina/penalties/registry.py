"""The closed table of penalties, and how one is written in a line: ``tangent:0.1:transforms=rotation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamina.errors import ConfigError, nearest, shown
from lamina.io import option_lines
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Penalty, WeightedSum
from lamina.penalties.conditional_entropy import ConditionalEntropy
from lamina.penalties.contractive import Contractive
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from lamina.penalties.double_backprop import DoubleBackprop
from lamina.penalties.elastic_net import ElasticNet
from lamina.penalties.information_flow import InformationFlow
from lamina.penalties.l1 import L1
from lamina.penalties.l2 import L2
from lamina.penalties.manifold_tangent import ManifoldTangentProp
from lamina.penalties.per_layer import PerLayerDecay
from lamina.penalties.sparse_representation import SparseRepresentation
from lamina.penalties.tangent_prop import TangentProp
from lamina.penalties.tying import Tying
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from lamina.penalties.weight_elimination import WeightElimination

PENALTIES: dict[str, type[Penalty]] = {
    "adversarial": Adversarial,
    "contractive": Contractive,
    "curvature": CurvatureSmoothing,
    "double-backprop": DoubleBackprop,
    "elastic-net": ElasticNet,
    "entropy": ConditionalEntropy,
    "information-flow": InformationFlow,
    "l1": L1,
    "l2": L2,
    "manifold-tangent": ManifoldTangentProp,
    "per-layer": PerLayerDecay,
    "sparse": SparseRepresentation,
    "tangent": TangentProp,
    "tying": Tying,
    "virtual-adversarial": VirtualAdversarial,
    "weight-elimination": WeightElimination,
}


def options_of(name: str) -> dict[str, str]:
    """Return the options of a penalty that a line can set, each with the kind of value that it takes.

    Args:
        name: Key of ``PENALTIES``.

    Returns:
        Option to ``float``, ``int`` or ``str``.
    """
    return {key: kind.__name__ for key, kind in option_lines.options_of(PENALTIES[name]).items()}


def penalty_from(lines: Sequence[str]) -> Penalty | None:
    """Build the sum of the penalties that some lines describe.

    Args:
        lines: Each ``NAME:COEFFICIENT`` and any number of ``:OPTION=VALUE``.

    Returns:
        The weighted sum, or None of no line.
    """
    terms = [_term(line) for line in lines]
    return WeightedSum(tuple(terms)) if terms else None


def line_from(name: str, value: object) -> str:
    """Return the line that says the same as an entry of a TOML section: ``tangent = 0.1`` or a table of options.

    Args:
        name: Of the penalty.
        value: Its coefficient, or a table with ``coefficient`` and options.

    Returns:
        For ``penalty_from``.

    Raises:
        ConfigError: If the value is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name}:{value}"
    if isinstance(value, Mapping) and "coefficient" in value:
        options = [f"{key}={entry}" for key, entry in value.items() if key != "coefficient"]
        return ":".join([f"{name}:{value['coefficient']}", *options])
    raise ConfigError(
        f"penalty {shown(name)} must be a number or a table with a coefficient, got {shown(repr(value), 60)}",
        where="penalty",
        mend=f"{shown(name)} = 0.1, or {shown(name)} = {{ coefficient = 0.1 }}",
    )


def _term(line: str) -> tuple[float, Penalty]:
    name, *rest = line.split(":")
    name = name.strip()
    if name not in PENALTIES:
        raise ConfigError(
            f'there is no penalty "{shown(name)}"{nearest(name, list(PENALTIES))}',
            where="penalty",
            mend=f"penalties: {', '.join(PENALTIES)}",
        )
    coefficient = option_lines.read_number(
        rest[0] if rest else "", f"the coefficient of {name}", where="penalty", mend=f"write {name}:0.1"
    )
    if coefficient < 0:
        raise ConfigError(f"the coefficient of {name} must be at least 0, got {coefficient:g}", where="penalty")
    known = option_lines.options_of(PENALTIES[name])
    given = option_lines.read_options(name, rest[1:], known, where="penalty")
    try:
        return coefficient, PENALTIES[name](**given)
    except TypeError:
        missing = [key for key in known if key not in given]
        raise ConfigError(
            f"{name} needs {', '.join(missing)}", where="penalty", mend=f"write {name}:0.1:{missing[0]}=..."
        ) from None
