"""Settings that say more than a word, each in one line: a likelihood, pairs, factors of the learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lamina.data.images.augment import Augment
from lamina.errors import ConfigError, nearest, shown
from lamina.io.option_lines import options_of, read_number, read_options
from lamina.likelihoods import (
    Bernoulli,
    Categorical,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Laplace,
    Likelihood,
    Poisson,
    Power,
    StudentT,
)

Kind = Literal["classes", "number", "count"]

_CHOICES: dict[str, tuple[type[Likelihood], Kind]] = {
    "bernoulli": (Bernoulli, "classes"),
    "categorical": (Categorical, "classes"),
    "full-gaussian": (FullGaussian, "number"),
    "gaussian": (Gaussian, "number"),
    "gaussian-mixture": (GaussianMixture, "number"),
    "laplace": (Laplace, "number"),
    "poisson": (Poisson, "count"),
    "power": (Power, "number"),
    "student-t": (StudentT, "number"),
}
_FROM_ELSEWHERE = ("n_targets", "n_classes", "smoothing", "beta")  # from the data, or settings of their own
_SAID = {"n_components": "components"}


@dataclass(frozen=True)
class LikelihoodChoice:
    """What ``likelihood=NAME:OPTION=VALUE`` asks for.

    Attributes:
        name: As written.
        kind: Of the targets that it is for.
        options: Arguments of its class; sizes come from the data.
    """

    name: str
    kind: Kind
    options: dict[str, Any]

    @property
    def joint(self) -> bool:
        """Whether it describes several targets together."""
        return self.name in {"full-gaussian", "gaussian-mixture"}

    def build(self, **more: Any) -> Likelihood:
        """Return the likelihood.

        Args:
            **more: What comes from the data and from other settings.

        Returns:
            The likelihood.
        """
        return _CHOICES[self.name][0](**self.options, **more)


def read_likelihood(line: str) -> LikelihoodChoice:
    """Read ``NAME[:OPTION=VALUE...]`` and check that such a likelihood can be.

    Args:
        line: For instance ``student-t:freedom=3`` or ``gaussian-mixture:components=5``.

    Returns:
        The choice.

    Raises:
        ConfigError: If there is no such likelihood or option, one is missing, or a value cannot be.
    """
    name, *parts = line.split(":")
    name = name.strip()
    if name not in _CHOICES:
        raise ConfigError(
            f'there is no likelihood "{shown(name)}" to choose{nearest(name, list(_CHOICES))}',
            where="likelihood",
            mend=f"likelihoods: {', '.join(_CHOICES)}",
        )
    make, kind = _CHOICES[name]
    known = {_SAID.get(key, key): hint for key, hint in options_of(make, _FROM_ELSEWHERE).items()}
    given = read_options(name, parts, known, where="likelihood")
    arguments = {key: given[said] for key in options_of(make) if (said := _SAID.get(key, key)) in given}
    needed = [entry.name for entry in dataclasses.fields(make) if entry.default is dataclasses.MISSING]  # type: ignore[arg-type]
    for key in needed:
        if key not in arguments and key not in _FROM_ELSEWHERE:
            said = _SAID.get(key, key)
            example = "3" if said == "components" else "1.5"
            raise ConfigError(f"{name} needs {said}", where="likelihood", mend=f"write {name}:{said}={example}")
    choice = LikelihoodChoice(name, kind, arguments)
    choice.build(**({"n_classes": 2} if "n_classes" in needed else {}))  # refuses values out of range
    return choice


def read_augmentation(line: str) -> Augment:
    """Read ``OPTION=VALUE[:OPTION=VALUE...]`` of ``Augment``; what is not named does not change.

    Args:
        line: For instance ``shift=2:rotate=15:elastic=30``.

    Returns:
        The augmentation.

    Raises:
        ConfigError: If an option is unknown or a value cannot be.
    """
    given = read_options("augmentation", line.split(":"), options_of(Augment, ("white",)), where="augmentation")
    try:
        return Augment(**{"shift": 0, **given})
    except ConfigError as error:
        raise ConfigError(error.what, where="augmentation", mend=error.mend) from None


@dataclass(frozen=True)
class PairsChoice:
    """What ``pairs=WEIGHT:OPTION=VALUE`` asks for.

    Attributes:
        weight: λ of ``PairwiseSemiSupervised``.
        neighbours: Rows nearest to a row that it is taken to be like.
        margin: M of ``PairwiseSemiSupervised``.
        form: See ``lamina.likelihoods.pairwise_similarity``.
    """

    weight: float
    neighbours: int = 5
    margin: float = 1.0
    form: Literal["hinge", "hadsell"] = "hinge"


def read_pairs(line: str) -> PairsChoice | None:
    """Read ``WEIGHT[:OPTION=VALUE...]``; ``none`` asks for nothing.

    Args:
        line: For instance ``1:neighbours=5:margin=1``.

    Returns:
        The choice, or None.

    Raises:
        ConfigError: If an option is unknown or a value cannot be.
    """
    if line == "none":
        return None
    first, *parts = line.split(":")
    weight = read_number(first, "the weight of pairs", where="pairs", mend="write pairs=1")
    choice = PairsChoice(weight, **read_options("pairs", parts, options_of(PairsChoice, ["weight"]), where="pairs"))
    for name, value, least in (("weight", weight, 0.0), ("margin", choice.margin, 0.0)):
        if not value > least:
            raise ConfigError(f"the {name} of pairs must be above 0, got {value:g}", where="pairs", mend="use 1")
    if choice.neighbours < 1:
        raise ConfigError(
            f"neighbours of pairs must be at least 1, got {choice.neighbours}", where="pairs", mend="use neighbours=5"
        )
    return choice


def read_factors(parts: Sequence[str]) -> float | dict[str, float] | None:
    """Read factors of the learning rate: one for each step down from the output, or some by name.

    Args:
        parts: ``("0.5",)``, or ``("linear1=0.1", "linear2=0.5")``.

    Returns:
        A factor for ``depth_factors``, names and factors for ``learning_rate_groups``, or None of no part.

    Raises:
        ConfigError: If a factor is not above 0 and at most 1, or a part is no name with a factor.
    """
    if not parts:
        return None
    if len(parts) == 1 and "=" not in parts[0]:
        return _factor(parts[0], "the factor of slower")
    found: dict[str, float] = {}
    for part in parts:
        name, sign, text = part.partition("=")
        if not sign or not name.strip() or name.strip() in found:
            raise ConfigError(
                f'slower must be one factor, or NAME=FACTOR for different layers, got "{shown(part)}"',
                where="slower",
                mend="write slower=0.5, or slower=linear1=0.1,linear2=0.5",
            )
        found[name.strip()] = _factor(text, f"the factor of {shown(name.strip())}")
    return found


def _factor(text: str, what: str) -> float:
    value = read_number(text, what, where="slower", mend="write slower=0.5")
    if not 0.0 < value <= 1.0:
        raise ConfigError(
            f"{what} must be above 0 and at most 1, got {value:g}",
            where="slower",
            mend="to stop a layer, name it in freeze" if value == 0 else "write slower=0.5",
        )
    return value


def read_groups(groups: Sequence[str]) -> list[list[int]]:
    """Read groups of hidden layers, each their numbers with ``+`` between.

    Args:
        groups: For instance ``["2+3", "4+5+6"]``.

    Returns:
        The numbers.

    Raises:
        ConfigError: If one is not written so.
    """
    for group in groups:
        if not all(part.strip().isdecimal() and len(part.strip()) < 6 for part in group.split("+")):
            raise ConfigError(
                f"share {shown(group)} names no hidden layers", where="share", mend="write share=2+3, or share=2+3,4+5"
            )
    return [[int(part) for part in group.split("+")] for group in groups]
