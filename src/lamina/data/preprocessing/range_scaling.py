"""Range scaling: each feature's training values mapped onto an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lamina.data.preprocessing._arrays import (
    Array,
    Arrays,
    as_floats,
    broken,
    constant,
    fits,
    learnable,
    read,
    same_kind,
    to_host,
)
from lamina.data.preprocessing.standardisation import reduced_axes
from lamina.errors import ConfigError

SIGMOID_RANGE = (0.15, 0.85)
TANH_RANGE = (-1.716, 1.716)


@dataclass(frozen=True)
class RangeScaling:
    """Map the smallest training value of a feature to ``low`` and the largest to ``high``, others along the line.

        z = low + (x - min) (high - low) / (max - min)

    The courses' intervals: ``SIGMOID_RANGE`` = (0.15, 0.85) for inputs and targets of sigmoid units, which reach 0 and
    1 only at infinity; ``TANH_RANGE`` = (-1.716, 1.716), the range of 1.716 tanh(2 z / 3). A feature without spread
    becomes the middle of the interval. Values outside the training range go outside the interval.

    Attributes:
        minimum: Smallest training values, in a shape that broadcasts against one example; float64.
        maximum: Largest ones.
        low: Lower end.
        high: Upper end.
    """

    minimum: np.ndarray
    maximum: np.ndarray
    low: float
    high: float

    @classmethod
    def fit(cls, x: Array, interval: tuple[float, float] = SIGMOID_RANGE, *, axis: int | None = None) -> RangeScaling:
        """Learn the range of each feature from the training part.

        Args:
            x: ``(N, ...)`` array or tensor of numbers.
            interval: ``(low, high)``.
            axis: The axis of features, as for ``Standardisation``; None gives every element of an example its own.

        Returns:
            The preparation.

        Raises:
            ConfigError: If the interval is empty or not finite, or the axis does not exist.
            DataError: If there is nothing to learn from, or not only finite numbers.
        """  # noqa: DOC502
        low, high = interval
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(f"interval must rise, got {interval!r}", where="RangeScaling", mend="use (0.15, 0.85)")
        values = as_floats(x, "RangeScaling")
        learnable(values, "RangeScaling")
        over = reduced_axes(values.ndim, axis, "RangeScaling")
        least, most = (to_host(end(values, over, keepdim=True).squeeze(0)) for end in (torch.amin, torch.amax))
        return cls(least, most, float(low), float(high))

    def transform(self, x: Array) -> Array:
        """Return z, of the kind and type of x."""
        values = as_floats(x, "RangeScaling")
        fits(values, self.minimum, "RangeScaling")
        factor, middle, centre = self._line()
        return same_kind((values - constant(centre, values)) * constant(factor, values) + middle, x)

    def inverse(self, z: Array) -> Array:
        """Return x; a feature without spread gets its one training value."""
        values = as_floats(z, "RangeScaling")
        fits(values, self.minimum, "RangeScaling")
        factor, middle, centre = self._line()
        back = np.divide(1.0, factor, out=np.zeros_like(factor), where=factor > 0)
        return same_kind((values - middle) * constant(back, values) + constant(centre, values), z)

    def _line(self) -> tuple[np.ndarray, float, np.ndarray]:
        # Halves before they are added or subtracted, so that the largest numbers do not overflow.
        centre = self.minimum / 2 + self.maximum / 2
        half = self.maximum / 2 - self.minimum / 2
        factor = np.divide((self.high - self.low) / 2, half, out=np.zeros_like(half), where=half > 0)
        return factor, (self.low + self.high) / 2, centre

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored."""
        return {"minimum": self.minimum, "maximum": self.maximum, "interval": np.array([self.low, self.high])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> RangeScaling:
        """Rebuild the preparation from ``to_arrays()``.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        names = ("minimum", "maximum", "interval")
        least, most, interval = (a.astype(np.float64) for a in read(arrays, names, "RangeScaling"))
        if least.shape != most.shape or not (least <= most).all() or interval.shape != (2,):
            raise broken("RangeScaling", "its ranges do not rise")
        if not interval[0] < interval[1]:
            raise broken("RangeScaling", "its interval does not rise")
        return cls(least, most, float(interval[0]), float(interval[1]))
