"""Hidden units by name, with their options: ``NAME[:OPTION=VALUE...]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Generator, nn

from lamina.errors import ConfigError, nearest
from lamina.io.option_lines import options_of, read_options
from lamina.nn.linear import Start
from lamina.nn.units._checks import positive
from lamina.nn.units.heaviside import Heaviside
from lamina.nn.units.maxout import Maxout
from lamina.nn.units.noisy_relu import NoisyReLU
from lamina.nn.units.p_norm import PNorm, PNormPoolUnits
from lamina.nn.units.scaled_sigmoid import ScaledSigmoid
from lamina.nn.units.scaled_tanh import ScaledTanh
from lamina.nn.units.soft_maxout import SoftMaxout

# Unit -> (its module, the starting weights that keep its signal's variance).
ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], Start]] = {
    "absolute": (partial(nn.LeakyReLU, -1.0), "glorot"),  # |z| keeps the second moment
    "elu": (nn.ELU, "he"),
    "gelu": (nn.GELU, "he"),
    "hard_tanh": (nn.Hardtanh, "glorot"),
    "identity": (nn.Identity, "glorot"),
    "leaky_relu": (nn.LeakyReLU, "he"),
    "noisy_relu": (NoisyReLU, "he"),
    "prelu": (nn.PReLU, "he"),
    "relu": (nn.ReLU, "he"),
    "scaled_tanh": (ScaledTanh, "glorot"),
    "sigmoid": (nn.Sigmoid, "glorot"),
    "silu": (nn.SiLU, "he"),
    "softplus": (nn.Softplus, "he"),
    "step": (partial(Heaviside, straight_through=True), "glorot"),
    "tanh": (nn.Tanh, "glorot"),
}

# Units that have several affine maps each -> what builds them, with their own starting weights.
POOLING_UNITS: dict[str, type[Maxout] | type[PNorm] | type[SoftMaxout]] = {
    "maxout": Maxout,
    "p_norm": PNorm,
    "soft_maxout": SoftMaxout,
}

PIECEWISE_LINEAR = frozenset(
    {"absolute", "hard_tanh", "identity", "leaky_relu", "maxout", "noisy_relu", "prelu", "relu", "step"}
)
"""Units that bend nowhere but at kinks: their second derivative is 0."""


def _leaky_relu(slope: float = 0.01) -> nn.Module:
    return nn.LeakyReLU(slope)


def _elu(alpha: float = 1.0) -> nn.Module:
    positive(owner="elu", alpha=alpha)
    return nn.ELU(alpha)


# Unit -> what takes its options; of a pooling unit, those of what pools.
_WITH_OPTIONS: dict[str, Callable[..., nn.Module]] = {
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "noisy_relu": NoisyReLU,
    "p_norm": PNormPoolUnits,
    "sigmoid": ScaledSigmoid,
}
_FROM_ELSEWHERE = ("pieces", "dim")


@dataclass(frozen=True)
class Activation:
    """A hidden unit's function.

    Attributes:
        name: Key of ``ACTIVATIONS`` or ``POOLING_UNITS``.
        options: Arguments that were given.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def pools(self) -> bool:
        """Whether a unit has several affine maps, which come with it."""
        return self.name in POOLING_UNITS

    @property
    def bends(self) -> bool:
        """Whether its second derivative is other than 0 somewhere; that of a 1-norm is not."""
        return self.name not in PIECEWISE_LINEAR and not (self.name == "p_norm" and self.options.get("p") == 1.0)

    @property
    def start(self) -> Start:
        """The starting weights that keep the signal's variance; of a leaky unit with slope a the nearer to 2/(1 + a²).

        Where x has variance 1 and W_ij the variance v/in, the second moment of a leaky unit is v (1 + a²)/2: He's rule
        has v = 2, Glorot's v = 1 (between layers of one size), and they are equally far at a² = 1/3.
        """
        if self.name == "leaky_relu" and self.options.get("slope", 0.0) ** 2 > 1 / 3:
            return "glorot"
        return ACTIVATIONS[self.name][1]

    def module(self, units: int) -> nn.Module:
        """Return the function of a layer's units, one that does not pool; ``prelu`` learns a slope for each."""
        if self.name == "prelu":
            return nn.PReLU(units)
        return _WITH_OPTIONS[self.name](**self.options) if self.options else ACTIVATIONS[self.name][0]()

    def pooling(self, width: int, units: int, pieces: int, generator: Generator | None) -> Maxout | PNorm | SoftMaxout:
        """Return a layer of units that pool.

        Args:
            width: Inputs.
            units: Outputs.
            pieces: Affine maps of each.
            generator: Source of the weights.

        Returns:
            The layer: ``affine`` and ``pool``.
        """
        return POOLING_UNITS[self.name](width, units, pieces, generator=generator, **self.options)


def read_activation(line: str, *, where: str, pooling: bool = True) -> Activation:
    """Read ``NAME[:OPTION=VALUE...]`` and check that there can be such a unit.

        leaky_relu:slope=a     max(0, z) + a min(0, z), a = 0.01 unless given
        elu:alpha=a            a (e^z - 1) for z < 0, a > 0
        noisy_relu:std=s       deviation of the noise, above 0
        sigmoid:slope=a        1 / (1 + e^(-a z)), a > 0
        p_norm:p=p             the power, at least 1

    Args:
        line: As written.
        where: Who asks, for messages.
        pooling: Whether units with several affine maps may be asked for.

    Returns:
        The unit.

    Raises:
        ConfigError: If there is no such unit or option, or a value cannot be.
    """
    name, *parts = line.split(":")
    name, known = name.strip(), [*ACTIVATIONS, *(POOLING_UNITS if pooling else ())]
    if name not in known:
        raise ConfigError(
            f'unknown activation "{name}"{nearest(name, known)}',
            where=where,
            mend=f"choose one of {', '.join(known)}",
        )
    make = _WITH_OPTIONS.get(name)
    options = read_options(name, parts, {} if make is None else options_of(make, _FROM_ELSEWHERE), where=where)
    if make is not None:
        try:
            make(**options)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error.what}", where=where, mend=error.mend) from None
    return Activation(name, options)
