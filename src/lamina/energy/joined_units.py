"""Units of several types side by side in one layer, as pixels and the label that belongs to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Generator, Tensor

from lamina.energy.exact import count_states
from lamina.energy.units import Side, Units
from lamina.errors import ConfigError

_MOST_STATES = 2**16  # of all parts together, which are written down at once


@dataclass(frozen=True)
class Joined:
    """A layer that consists of parts, each with its type and its number of units.

    ``Joined(((Bernoulli(), 500), (Softmax(10), 10)))`` is the layer under the top of a deep belief network that knows
    ten classes.

    Attributes:
        parts: Type and number of units of each part, from the left.

    Raises:
        ConfigError: If there is no part.
    """

    parts: tuple[tuple[Units, int], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("needs at least one part", where="Joined")

    def check(self, n: int, side: Side) -> None:
        """Refuse a number of units that is not the sum of the parts', or a part that has no meaning.

        Raises:
            ConfigError: For the first such.
        """
        if n != self._width:
            raise ConfigError(f"the parts have {self._width} units and the layer {n}", where="Joined")
        for units, width in self.parts:
            units.check(width, side)

    def values(self) -> Tensor | None:
        """Return all states of the layer, which is one site, ``(states, n)``; None if they are too many to count."""
        if math.prod(count_states(units, n) for units, n in self.parts) > _MOST_STATES:
            return None
        sites = [
            values for units, n in self.parts if (values := units.values()) is not None
            for _ in range(n // values.shape[1])
        ]  # fmt: skip
        return torch.stack([torch.cat(state) for state in product(*sites)])

    def log_base(self, x: Tensor) -> Tensor:
        """Return the parts' sum."""
        return self._sum(lambda units, part: units.log_base(part), x)

    def offset(self, bias: Tensor) -> Tensor:
        """Return the parts' sum."""
        return self._sum(lambda units, part: units.offset(part), bias)

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return the parts' sum."""
        return self._sum(lambda units, part: units.log_partition(part), theta)

    def mean(self, theta: Tensor) -> Tensor:
        """Return the parts' means side by side."""
        return self._join(lambda units, part: units.mean(part), theta)

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the parts' draws side by side."""
        return self._join(lambda units, part: units.sample(part, generator), theta)

    def natural(self, mean: Tensor) -> Tensor:
        """Return the parts' side by side."""
        return self._join(lambda units, part: units.natural(part), mean)

    @property
    def _width(self) -> int:
        return sum(n for _, n in self.parts)

    def _cut(self, x: Tensor) -> list[tuple[Units, Tensor]]:
        widths = [n for _, n in self.parts]
        return list(zip((units for units, _ in self.parts), torch.split(x, widths, dim=-1), strict=True))

    def _sum(self, of: Callable[[Units, Tensor], Tensor], x: Tensor) -> Tensor:
        first, *others = [of(units, part) for units, part in self._cut(x)]
        return sum(others, first)

    def _join(self, of: Callable[[Units, Tensor], Tensor], x: Tensor) -> Tensor:
        return torch.cat([of(units, part) for units, part in self._cut(x)], dim=-1)
