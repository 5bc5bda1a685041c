"""Local contrast normalisation: the same contrast in every neighbourhood of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

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
class LocalContrast:
    """Subtract from each pixel the mean of the window around it and divide by the window's deviation.

        X'_cij = s (X_cij - m_ij) / max{ε, √(λ + v_ij)},   m_ij = Σ_pq g_p g_q mean_c X_c,i+p,j+q,
        v_ij = Σ_pq g_p g_q mean_c (X_c,i+p,j+q - m_ij)²

    g is constant over the window (``sigma`` None) or a Gaussian; at a border the window is what lies within the
    picture, its weights made to add up to 1 again. Global contrast normalisation is the case of one window over
    everything; a small one brings out edges within dark regions. The window is separable: time grows with its side, not
    its area.

    Nothing is learned from the training part, and nothing can be undone.

    Args:
        window: Side of the square window in pixels, odd.
        sigma: Standard deviation of g in pixels; None weighs all pixels of the window alike.
        s: Wanted deviation, above 0.
        lam: λ ≥ 0, in the squared units of X.
        epsilon: ε > 0, in the units of X: windows with less contrast are not blown up.

    Raises:
        ConfigError: If an argument is out of range.

    References: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 12.2.1.1; Jarrett et al., "What Is the
    Best Multi-stage Architecture for Object Recognition?", ICCV 2009 (who subtract the mean everywhere first).
    """

    window: int = 9
    sigma: float | None = None
    s: float = 1.0
    lam: float = 0.0
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 1 or not self.window % 2:
            raise ConfigError(f"window must be odd, got {self.window!r}", where="LocalContrast", mend="use 9")
        positive(
            "LocalContrast", s=self.s, epsilon=self.epsilon, **({} if self.sigma is None else {"sigma": self.sigma})
        )
        not_negative("LocalContrast", lam=self.lam)

    def transform(self, x: Array) -> Array:
        """Return X' of each picture, of the kind and type of x; computed in float64.

        Args:
            x: ``(N, C, H, W)``; whole numbers become float32.

        Returns:
            Pictures of x's shape.

        Raises:
            DataError: If x has other axes.
        """
        values = as_floats(x, "LocalContrast")
        if values.ndim != 4:
            raise DataError(
                f"pictures must have shape (N, C, H, W), got {tuple(values.shape)}",
                where="LocalContrast",
                mend="add the axis of channels",
            )
        offsets = torch.arange(self.window, dtype=torch.float64, device=values.device) - self.window // 2
        weights = torch.ones_like(offsets) if self.sigma is None else (-0.5 * (offsets / self.sigma) ** 2).exp()
        # Along an axis only a window of its own length can lie within the picture.
        inside = _blur(torch.ones(1, 1, *values.shape[2:], dtype=torch.float64, device=values.device), weights)
        out, start = torch.empty_like(values), 0
        for chunk in chunks(values):
            # Without the picture's mean, Σ g X² - m² loses nothing to rounding.
            centred = chunk - chunk.mean((1, 2, 3), keepdim=True)
            mean = _blur(centred.mean(1, keepdim=True), weights) / inside
            square = _blur(centred.square().mean(1, keepdim=True), weights) / inside
            contrast = (self.lam + (square - mean.square()).clamp(min=0)).sqrt().clamp(min=self.epsilon)
            out[start : start + len(chunk)] = (self.s * (centred - mean) / contrast).to(out.dtype)
            start += len(chunk)
        return same_kind(out, x)

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored; a ``sigma`` of 0 stands for None."""
        return {
            "window": np.array(self.window),
            "sigma": np.array(self.sigma or 0.0),
            **{name: np.array(getattr(self, name)) for name in ("s", "lam", "epsilon")},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> LocalContrast:
        """Rebuild the preparation from ``to_arrays()``.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        window, sigma, *rest = scalars(arrays, ("window", "sigma", "s", "lam", "epsilon"), "LocalContrast")
        try:
            if window != int(window):
                raise ConfigError(f"window must be odd, got {window!r}")
            return cls(int(window), sigma or None, *rest)
        except ConfigError as error:
            raise broken("LocalContrast", error.what) from error


def _blur(x: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums over the window around each place of ``(N, 1, H, W)``, zeros outside, axis by axis."""
    side = weights.numel()
    rows = conv2d(x, weights.view(1, 1, side, 1), padding=(side // 2, 0))
    return conv2d(rows, weights.view(1, 1, 1, side), padding=(0, side // 2))
