"""Standardisation: each feature or channel to mean 0 and deviation 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.data.preprocessing._arrays import (
    Array,
    Arrays,
    as_floats,
    broken,
    chunks,
    constant,
    fits,
    learnable,
    read,
    same_kind,
    to_host,
    total,
)
from lamina.errors import ConfigError


@dataclass(frozen=True)
class Standardisation:
    """Subtract the mean of the training part and divide by its standard deviation.

        z = (x - µ) / σ,   µ = (1/n) Σ x,   σ² = (1/n) Σ (x - µ)²

    A feature without spread is divided by 1. One of the courses calls this whitening, which is something else: it also
    removes the correlations (``Sphering``). For the columns of a table, with missing cells, there is
    ``lamina.data.tables``; within a network, for bytes, ``lamina.nn.PixelScaling``.

    Attributes:
        mean: µ, in a shape that broadcasts against one example; float64.
        std: σ, of the same shape, above 0.

    Reference: LeCun et al., "Efficient BackProp", 1998, section 4.3.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, x: Array, *, axis: int | None = None) -> Standardisation:
        """Learn mean and deviation from the training part.

        Args:
            x: ``(N, ...)`` array or tensor of numbers; whole numbers are read as float32.
            axis: The axis of features: 1 for the channels of ``(N, C, H, W)``, -1 for the last one; statistics are
                taken over all others. None gives every element of an example its own.

        Returns:
            The preparation.

        Raises:
            ConfigError: If ``axis`` is the axis of examples or does not exist.
            DataError: If there is nothing to learn from, or not only finite numbers.
        """  # noqa: DOC502
        values = as_floats(x, "Standardisation")
        learnable(values, "Standardisation")
        over = reduced_axes(values.ndim, axis, "Standardisation")
        count = math.prod(values.shape[i] for i in over)
        mean = total(chunk.sum(over, keepdim=True) for chunk in chunks(values)) / count
        squares = total((chunk - mean).square().sum(over, keepdim=True) for chunk in chunks(values)) / count
        centre, std = to_host(mean.squeeze(0)), np.sqrt(to_host(squares.squeeze(0)))
        # Rounding alone gives a constant feature a deviation of about eps times its size.
        flat = std <= 10 * np.finfo(np.float64).eps * np.abs(centre)
        return cls(centre, np.asarray(np.where(flat, 1.0, std)))

    def transform(self, x: Array) -> Array:
        """Return z, of the kind and type of x."""
        values = as_floats(x, "Standardisation")
        fits(values, self.mean, "Standardisation")
        return same_kind((values - constant(self.mean, values)) / constant(self.std, values), x)

    def inverse(self, z: Array) -> Array:
        """Return x = z σ + µ."""
        values = as_floats(z, "Standardisation")
        fits(values, self.mean, "Standardisation")
        return same_kind(values * constant(self.std, values) + constant(self.mean, values), z)

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Standardisation:
        """Rebuild the preparation from ``to_arrays()``.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        mean, std = (a.astype(np.float64) for a in read(arrays, ("mean", "std"), "Standardisation"))
        if mean.shape != std.shape or not (std > 0).all():
            raise broken("Standardisation", "its deviations are not above 0, or not as many as its means")
        return cls(mean, std)


def reduced_axes(ndim: int, axis: int | None, owner: str) -> tuple[int, ...]:
    """Return the axes over which statistics are taken: all but ``axis``, or only the examples'.

    Raises:
        ConfigError: If ``axis`` is the axis of examples or does not exist.
    """
    if axis is None:
        return (0,)
    if not -ndim < axis < ndim or axis == 0:
        raise ConfigError(
            f"axis must be one of the {ndim - 1} after the examples, got {axis!r}", where=owner, mend="use 1 or -1"
        )
    return tuple(i for i in range(ndim) if i != axis % ndim)
