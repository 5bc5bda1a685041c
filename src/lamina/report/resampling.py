"""Bootstrap intervals over the examples of a part, for figures that are functions of a few weighted sums.

A resample draws N of N examples with replacement (Efron 1979); a figure is computed on each, and its 2.5 % and 97.5 %
quantiles are the 95 % interval (percentile method). Above ``LARGEST`` examples, m = ``LARGEST`` of N are drawn and the
interval is shrunk about the figure by sqrt(m / N), which is exact for figures whose error falls as 1 / sqrt(N).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Figures = dict[str, float]

RESAMPLES = 500
LARGEST = 20_000


def resamples(n: int, seed: int, count: int = RESAMPLES) -> Iterator[Array]:
    """Draw example numbers with replacement.

    Yields:
        ``(min(n, LARGEST),)`` integers below n, ``count`` times.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.integers(0, n, size=min(n, LARGEST), dtype=np.int32)


def intervals(
    figures: Callable[[Array], Figures], whole: Figures, n: int, seed: int
) -> dict[str, tuple[float | None, float | None]]:
    """Return the 95 % interval of each figure.

    Args:
        figures: Gives the figures on the examples with these numbers; NaN where a resample leaves one undefined.
        whole: The figures on all examples.
        n: How many examples there are.
        seed: Of the resampling.

    Returns:
        Low and high by name; None where fewer than two examples or too few defined resamples leave it undefined.
    """
    if n < 2:
        return {name: (None, None) for name in whole}
    drawn = [figures(chosen) for chosen in resamples(n, seed)]
    shrink = float(np.sqrt(min(n, LARGEST) / n))
    found: dict[str, tuple[float | None, float | None]] = {}
    for name, value in whole.items():
        values = np.array([row[name] for row in drawn], dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values) < RESAMPLES / 2 or not np.isfinite(value):
            found[name] = (None, None)
            continue
        low, high = np.quantile(values, [0.025, 0.975])
        found[name] = (value + shrink * (float(low) - value), value + shrink * (float(high) - value))
    return found
