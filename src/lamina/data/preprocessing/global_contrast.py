"""Global contrast normalisation: every picture with mean 0 and the same contrast."""

from __future__ import annotations

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
    chunks,
    not_negative,
    positive,
    same_kind,
    scalars,
)
from lamina.errors import ConfigError, DataError


@dataclass(frozen=True)
class GlobalContrast:
    """Subtract a picture's mean and divide by its contrast, the deviation over its rows, columns and channels.

        X' = s (X - X̄) / max{ε, √(λ + mean (X - X̄)²)}

    Each picture is treated by itself: nothing is learned from the training part, and nothing can be undone. A picture
    of one value becomes 0. With λ = 0 every other one has deviation s; λ > 0 keeps nearly flat ones, whose little
    contrast is mostly noise, from being blown up.

    Args:
        s: Wanted deviation, above 0.
        lam: λ ≥ 0, in the squared units of X; 10 for pixels from 0 to 255.
        epsilon: ε > 0, in the units of X.

    Raises:
        ConfigError: If an argument is out of range.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, eq. 12.3.
    """

    s: float = 1.0
    lam: float = 0.0
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        positive("GlobalContrast", s=self.s, epsilon=self.epsilon)
        not_negative("GlobalContrast", lam=self.lam)

    def transform(self, x: Array) -> Array:
        """Return X' of each example, of the kind and type of x; computed in float64.

        Args:
            x: ``(N, ...)``: ``(N, C, H, W)``, or any other axes in place of those; whole numbers become float32.

        Returns:
            Pictures of x's shape.

        Raises:
            DataError: If there is no axis beside that of the examples.
        """
        values = as_floats(x, "GlobalContrast")
        axes = tuple(range(1, values.ndim))
        if not axes:
            raise DataError("a single number has no contrast", where="GlobalContrast", mend="give (N, C, H, W)")
        out, start = torch.empty_like(values), 0
        for chunk in chunks(values):
            centred = chunk - chunk.mean(axes, keepdim=True)
            contrast = (self.lam + centred.square().mean(axes, keepdim=True)).sqrt().clamp(min=self.epsilon)
            out[start : start + len(chunk)] = (self.s * centred / contrast).to(out.dtype)
            start += len(chunk)
        return same_kind(out, x)

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored."""
        return {name: np.array(getattr(self, name)) for name in ("s", "lam", "epsilon")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> GlobalContrast:
        """Rebuild the preparation from ``to_arrays()``.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        values = scalars(arrays, ("s", "lam", "epsilon"), "GlobalContrast")
        try:
            return cls(*values)
        except ConfigError as error:
            raise broken("GlobalContrast", error.what) from error
