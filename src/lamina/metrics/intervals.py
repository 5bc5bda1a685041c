"""Predictive intervals: how often they hold the target, and at what width."""

import numpy as np
from jaxtyping import Float

from lamina.errors import ConfigError
from lamina.metrics._checks import ArrayLike, level_between, vectors


def _ends(owner: str, low: ArrayLike, high: ArrayLike, target: ArrayLike) -> tuple[Float[np.ndarray, " N"], ...]:
    lower, upper, y = vectors(owner, low=low, high=high, target=target)
    if (lower > upper).any():
        row = int((lower > upper).argmax())
        raise ConfigError(
            f"low must not exceed high, got {lower[row]:g} > {upper[row]:g} in row {row}", where=owner, mend="swap them"
        )
    return lower, upper, y


def interval_coverage(low: ArrayLike, high: ArrayLike, target: ArrayLike) -> float:
    """Return the share of targets with low ≤ target ≤ high.

    Args:
        low: Lower ends, (N,).
        high: Upper ends, (N,).
        target: What came, (N,).

    Returns:
        A share in [0, 1], to be compared with the interval's level.
    """
    lower, upper, y = _ends("interval_coverage", low, high, target)
    return float(np.mean((lower <= y) & (y <= upper)))


def interval_width(low: ArrayLike, high: ArrayLike) -> float:
    """Return the mean of high - low.

    Args:
        low: Lower ends, (N,).
        high: Upper ends, (N,).

    Returns:
        A width, in the target's unit.
    """
    lower, upper, _ = _ends("interval_width", low, high, low)
    return float(np.mean(upper - lower))


def interval_score(low: ArrayLike, high: ArrayLike, target: ArrayLike, level: float) -> Float[np.ndarray, " N"]:
    """Return each interval's score: its width, and a fine for missing the target; lower is better.

        S = (u - l) + 2/α max(l - y, 0) + 2/α max(y - u, 0),   α = 1 - level

    Its expectation is least for the true central interval: it cannot be bettered by widening or narrowing.

    Args:
        low: l, (N,).
        high: u, (N,).
        target: y, (N,).
        level: Probability that the interval claims, in (0, 1).

    Returns:
        (N,) in the target's unit; average it.

    Reference: Gneiting & Raftery, "Strictly Proper Scoring Rules", JASA 102, 2007, eq. 43.
    """
    level_between("interval_score", level)
    lower, upper, y = _ends("interval_score", low, high, target)
    fine = 2.0 / (1.0 - level)
    score: Float[np.ndarray, " N"] = (
        (upper - lower) + fine * np.maximum(lower - y, 0.0) + fine * np.maximum(y - upper, 0.0)
    )
    return score
