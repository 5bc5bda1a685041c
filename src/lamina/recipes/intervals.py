"""95 % intervals of what a few runs give: a share of successes, a mean over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lamina.errors import ConfigError
from lamina.recipes.table import Estimate

_NORMAL = 1.959963984540054  # the 97.5 % point of the normal distribution


def share_interval(successes: int, trials: int) -> Estimate:
    """Return a share with Wilson's score interval, which stays inside [0, 1] and is sound near both ends.

        (p + z²/2n ∓ z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n),   p = successes / n

    Args:
        successes: 0 … trials.
        trials: n, at least 1.

    Returns:
        p and the interval's ends.

    Raises:
        ConfigError: If the counts are impossible.

    Reference: Wilson, JASA 22, 1927.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ConfigError(
            f"successes must lie between 0 and trials ≥ 1, got {successes} of {trials}", where="share_interval"
        )
    p, z2 = successes / trials, _NORMAL**2
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _NORMAL * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # at p = 0 and p = 1 an end is p itself, which rounding must not cross
    return Estimate(p, max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half)))


def seeds_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of a few runs with Student's interval, mean ∓ t_{n-1, 97.5 %} s / √n.

    With five runs a bootstrap interval holds the mean about four times in five only, where 19 of 20 are promised; so
    Student's is used here, and not ``lamina.metrics.mean_interval``, which is meant for hundreds of examples.

    Args:
        values: One number a seed; one alone gives an interval that is not a number.

    Returns:
        The mean and the interval's ends.

    Raises:
        ConfigError: If there is no value.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n == 0:
        raise ConfigError("values must hold at least one number", where="seeds_interval")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, math.nan, math.nan)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half)
