"""Numbers brought to a common size: by mean and deviation, by quartiles with bent tails, or by rank."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

import numpy as np

Scaling = Literal["standard", "robust", "quantile"]
_KNOTS = 1_000
_FAR = 1e30


@dataclass(frozen=True)
class Scale:
    """Numbers brought to a common size.

        standard   z = (x - mean) / deviation
        robust     z = s / sqrt(1 + (s / 3)²),  s = (x - median) / deviation of the middle half
        quantile   z = Φ⁻¹(rank of x among the training values)

    A deviation that is nothing beside the values counts as 1 (a column without variance gives 0).

    Args:
        kind: Which of the three.
        centre: Mean or median.
        width: Standard deviation (1/n), or the quartile distance divided by 1.349.
        knots: For ``quantile``: rising values; their normal scores are ``scores``.
        scores: See ``knots``.
    """

    kind: Scaling
    centre: float
    width: float
    knots: np.ndarray = field(default_factory=lambda: np.empty(0))
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))

    @staticmethod
    def fit(values: np.ndarray, kind: Scaling) -> Scale:
        """Fit on values without NaN, (N,).

        Returns:
            The scale.
        """
        if len(values) == 0:
            return Scale(kind, 0.0, 1.0, np.zeros(int(kind == "quantile")), np.zeros(int(kind == "quantile")))
        mean, deviation = float(values.mean()), float(values.std())
        size = float(np.abs(values).max())
        # Rounding alone gives a constant column a deviation of about eps times its size.
        flat = not deviation > 10 * np.finfo(np.float64).eps * size
        if kind == "standard":
            return Scale(kind, mean, 1.0 if flat else deviation)
        if kind == "robust":
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            width = float(high - low) / 1.349 or (float(np.ptp(values)) / 2)
            return Scale(kind, float(middle), 1.0 if flat or width <= 0 else width)
        levels = np.linspace(0, 1, min(_KNOTS, max(len(values), 2)) + 1)
        at = np.quantile(values, levels)
        normal = NormalDist()
        edge = 0.5 / min(_KNOTS, len(values) + 1)
        scores = np.array([normal.inv_cdf(min(max(p, edge), 1 - edge)) for p in levels])
        knots, inverse = np.unique(at, return_inverse=True)
        mean_score = np.bincount(inverse, scores) / np.bincount(inverse)
        return Scale(kind, mean, 1.0 if flat else deviation, knots, mean_score)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scale values, NaN stays NaN.

        Returns:
            float64, (N,).
        """
        if self.kind == "quantile":
            scaled: np.ndarray = np.interp(values, self.knots, self.scores)
            return scaled
        with np.errstate(over="ignore"):
            scaled = (values - self.centre) / self.width
        # A value far outside the training range must not become infinite in float32.
        scaled = np.clip(scaled, -_FAR, _FAR)
        return scaled / np.sqrt(1 + (scaled / 3) ** 2) if self.kind == "robust" else scaled
