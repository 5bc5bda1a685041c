"""Bootstrap intervals of a metric, and paired comparison of two models."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.random import Generator

from lamina.errors import ConfigError
from lamina.metrics._checks import ArrayLike, level_between, truth_values, vectors

Method = Literal["bca", "percentile"]

_GROUPS = 500  # above this many examples the jackknife leaves out groups, not single examples
_CHUNK = 2_000_000  # indices drawn at a time: 16 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval.

    Attributes:
        estimate: The metric on the data as they are.
        low: Lower end.
        high: Upper end.
        level: Probability with which such an interval holds the true value, up to the bootstrap's error.
        n_resamples: Resamples on which the metric was defined.
        method: "bca" or "percentile": what was used, after a fallback.
    """

    estimate: float
    low: float
    high: float
    level: float
    n_resamples: int
    method: Method


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of two classifiers on the same examples.

    Attributes:
        only_first: Examples that only the first gets right.
        only_second: Examples that only the second gets right.
        p_value: Two-sided: probability of a split at least as uneven if both are equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def bootstrap_interval(
    metric: Callable[..., Any],
    *arrays: Shaped[np.ndarray, "N ..."],
    generator: Generator,
    level: float = 0.95,
    n_resamples: int = 1000,
    method: Method = "bca",
) -> Interval:
    """Return a bootstrap interval of any metric of arrays, resampling their rows together.

        θ* = metric(rows drawn N times with replacement),   percentile: the (1 ∓ level)/2 quantiles of θ*

    "bca" corrects the two probabilities for bias and skewness,

        α' = Φ(z₀ + (z₀ + z_α) / (1 - a (z₀ + z_α)))
        z₀ = Φ⁻¹(share of θ* below θ, ties half),   a = Σ d_i³ / (6 (Σ d_i²)^{3/2}),   d_i = mean_j θ_(j) - θ_(i)

    with θ_(i) the metric without example i, or above 500 examples without group i of 500 random ones. It falls back to
    "percentile" where z₀ or a is undefined. Resamples on which the metric is nan (a class is missing, say) are left
    out.

    Paired comparison: pass both models' outputs, ``bootstrap_interval(lambda y, p, q: m(y, p) - m(y, q), y, p, q, …)``.
    For a metric that is a mean over examples, ``mean_interval`` gives the same much faster.

    Args:
        metric: ``metric(*arrays)`` -> a number.
        *arrays: Data of N examples each, along the first axis.
        generator: Source of the resamples.
        level: In (0, 1).
        n_resamples: B, at least 1; 1000 settles the ends of a 95 % interval to a few per cent of its width.
        method: "bca" or "percentile".

    Returns:
        The estimate and its interval; nan ends if the metric was nan on every resample.

    Reference: Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987; Efron & Tibshirani, 1993, section 14.3.
    """
    n = _check("bootstrap_interval", level, n_resamples, method, *arrays)

    def value(rows: Any) -> float:
        return float(metric(*(a[rows] for a in arrays)))

    estimate = float(metric(*arrays))
    resampled = np.array([value(generator.integers(0, n, n)) for _ in range(n_resamples)])
    acceleration = 0.0
    if method == "bca" and n > 1:
        order, groups = generator.permutation(n), min(n, _GROUPS)
        kept = np.ones(n, dtype=bool)
        left_out = np.empty(groups)
        for i, group in enumerate(np.array_split(order, groups)):
            kept[group] = False
            left_out[i] = value(np.flatnonzero(kept))
            kept[group] = True
        acceleration = _skewness(left_out.mean() - left_out)
    return _interval(estimate, resampled, level, method, acceleration)


def mean_interval(
    values: ArrayLike,
    *,
    generator: Generator,
    level: float = 0.95,
    n_resamples: int = 1000,
    method: Method = "bca",
) -> Interval:
    """Return a bootstrap interval of a mean over examples: accuracy, log-loss, squared error, coverage.

    As ``bootstrap_interval(np.mean, values, …)``, with the jackknife in closed form, d_i = (x_i - mean) / (N - 1), and
    for values of two kinds only (right and wrong) the resampled count drawn from its own law, Binomial(N, share).

    Args:
        values: One number an example, (N,): ``y == prediction``, minus the log-probabilities, ….
        generator: Source of the resamples.
        level: In (0, 1).
        n_resamples: B, at least 1.
        method: "bca" or "percentile".

    Returns:
        The mean and its interval.
    """
    (x,) = vectors("mean_interval", values=values)
    n = _check("mean_interval", level, n_resamples, method, x)
    mean, low, high = float(x.mean()), x.min(), x.max()
    if ((x == low) | (x == high)).all():
        share = float(np.mean(x == high)) if high > low else 0.0
        resampled = low + (high - low) * (generator.binomial(n, share, n_resamples) / n)
    else:
        resampled = np.empty(n_resamples)
        rows = max(1, _CHUNK // n)
        for start in range(0, n_resamples, rows):
            stop = min(start + rows, n_resamples)
            resampled[start:stop] = x[generator.integers(0, n, (stop - start, n))].mean(axis=1)
    return _interval(mean, resampled, level, method, _skewness(x - mean))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    generator: Generator,
    level: float = 0.95,
    n_resamples: int = 1000,
    method: Method = "bca",
) -> Interval:
    """Return a bootstrap interval of mean(first) - mean(second), two scores of the same examples.

    The pairing takes out what makes an example hard for both: the interval is narrower than two separate ones suggest.

    Args:
        first: One number an example, (N,): whether the first model is right, its log-loss, ….
        second: The second model's on the same examples, (N,).
        generator: Source of the resamples.
        level: In (0, 1).
        n_resamples: B, at least 1.
        method: "bca" or "percentile".

    Returns:
        The difference and its interval; one that holds 0 tells no winner.
    """
    a, b = vectors("paired_difference", first=first, second=second)
    return mean_interval(a - b, generator=generator, level=level, n_resamples=n_resamples, method=method)


def mcnemar(correct_first: ArrayLike, correct_second: ArrayLike) -> McNemar:
    """Test whether two classifiers err equally often on the same examples, exactly.

        p = min(1, 2 P(X ≤ min(b, c))),   X ~ Binomial(b + c, 1/2),   b, c: examples that only one gets right

    Args:
        correct_first: Whether the first is right, (N,) of 0 and 1.
        correct_second: Whether the second is right, (N,) of 0 and 1.

    Returns:
        Both counts and the p-value; 1 where they never differ.

    Reference: McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998, section 3.1.
    """
    a, b = vectors("mcnemar", correct_first=correct_first, correct_second=correct_second)
    truth_values("mcnemar", "correct_first", a)
    truth_values("mcnemar", "correct_second", b)
    only_first, only_second = int(np.sum(a > b)), int(np.sum(b > a))
    n, least = only_first + only_second, min(only_first, only_second)
    k = np.arange(1, least + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k))])  # log C(n, 0 … least)
    tail = float(np.exp(log_choose - n * np.log(2.0)).sum())
    return McNemar(only_first, only_second, min(1.0, 2.0 * tail))


def _check(owner: str, level: float, n_resamples: int, method: str, *arrays: Shaped[np.ndarray, "..."]) -> int:
    """Refuse arguments outside their range and arrays that do not fit.

    Returns:
        N, the number of examples.

    Raises:
        ConfigError: If anything is refused.
    """
    level_between(owner, level)
    if n_resamples < 1 or method not in {"bca", "percentile"}:
        raise ConfigError(
            f'n_resamples must be at least 1 and method "bca" or "percentile", got {n_resamples!r}, {method!r}',
            where=owner,
            mend='use 1000 and "bca"',
        )
    lengths = {np.shape(a)[0] if np.ndim(a) else 0 for a in arrays}
    if len(lengths) != 1 or lengths == {0}:
        raise ConfigError(
            f"arrays must have one first axis N ≥ 1, got {', '.join(str(np.shape(a)) for a in arrays) or 'none'}",
            where=owner,
            mend="pass one row an example in each",
        )
    return int(lengths.pop())


def _skewness(d: Float[np.ndarray, " N"]) -> float:
    """Return the acceleration Σ d³ / (6 (Σ d²)^{3/2}), nan where nothing varies."""
    squares = float(np.sum(d * d))
    return float(np.sum(d * d * d)) / (6.0 * squares**1.5) if squares > 0.0 else float("nan")


def _interval(
    estimate: float, resampled: Float[np.ndarray, " B"], level: float, method: Method, acceleration: float
) -> Interval:
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return Interval(estimate, float("nan"), float("nan"), level, 0, "percentile")
    ends = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    share = float(np.mean(resampled < estimate) + np.mean(resampled <= estimate)) / 2.0
    used: Method = "percentile"
    if method == "bca" and 0.0 < share < 1.0 and np.isfinite(acceleration):
        normal = NormalDist()
        z0 = normal.inv_cdf(share)
        shifted = [z0 + normal.inv_cdf(q) for q in ends]
        if all(acceleration * z < 1.0 for z in shifted):
            ends = tuple(normal.cdf(z0 + z / (1.0 - acceleration * z)) for z in shifted)  # type: ignore[assignment]
            used = "bca"
    low, high = np.quantile(resampled, ends)
    return Interval(estimate, float(low), float(high), level, len(resampled), used)
