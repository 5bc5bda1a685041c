"""Figures of merit of predictions with bootstrap intervals, and two predictors compared on the same examples."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from lamina.methodology.score import HIGHER_IS_BETTER, Score
from lamina.metrics import mcnemar
from lamina.report.facts import Paired
from lamina.report.resampling import Array, Figures, intervals

Kind = Literal["classes", "number", "count"]

_NATS = {"log_loss", "nll"}
_TINY = 1e-15
_TOP5_FROM = 10


def scores_for(
    kind: Kind,
    truth: Array,
    *,
    probabilities: Array | None = None,
    mean: Array | None = None,
    nll: Array | None = None,
    unit: str = "",
    seed: int = 0,
) -> dict[str, Score]:
    """Compute every figure that suits the kind of target.

    Args:
        kind: ``classes``, ``number`` or ``count``.
        truth: ``(N,)`` class codes from 0, or numbers.
        probabilities: ``(N, K)`` of each class; for classes.
        mean: ``(N,)`` predicted means; for numbers and counts.
        nll: ``(N,)`` negative log-likelihoods in nats from the network's own outputs, which need no clipping; for
            classes they replace the logarithm of ``probabilities``.
        unit: Of the target, for RMSE and MAE.
        seed: Of the bootstrap.

    Returns:
        Accuracy, balanced accuracy, macro F1, log loss, AUC (two classes), top-5 error (ten classes or more); or RMSE,
        MAE, R², negative log-likelihood, and deviance (counts). What is not defined says why.

    Raises:
        ValueError: If the predictions that the kind needs are missing.
    """
    truth = np.asarray(truth)
    if kind == "classes":
        if probabilities is None:
            raise ValueError("classes need probabilities")
        source: _ClassSums | _NumberSums = _ClassSums(truth, np.asarray(probabilities, dtype=np.float64), nll)
    else:
        if mean is None:
            raise ValueError("numbers need means")
        source = _NumberSums(kind, truth.astype(np.float64), np.asarray(mean, dtype=np.float64), nll)
    n = len(truth)
    if n == 0:
        return {
            name: Score(None, higher_is_better=HIGHER_IS_BETTER[name], reason="there are no examples")
            for name in source.names()
        }
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        whole = source.figures(np.arange(n))
        bounds = intervals(source.figures, whole, n, seed)
    scores = {}
    for name, value in whole.items():
        low, high = bounds[name]
        if low is not None and low == high:
            low, high = _all_alike(name, value, n)
        its_unit = "nats" if name in _NATS else unit if name in {"rmse", "mae"} else ""
        scores[name] = Score(value, low, high, HIGHER_IS_BETTER[name], its_unit, source.reason(name, value))
    return scores


def _all_alike(name: str, value: float, n: int) -> tuple[float | None, float | None]:
    """Bound a figure that is the same on every resample, where the bootstrap would claim to be certain.

    A share that is 0 or 1 on n examples gets the exact interval of Clopper and Pearson (1934), 1 - 0.025^(1/n) wide;
    other figures get none.

    Returns:
        Low and high, or None.
    """
    if name not in {"accuracy", "top5_error"} or value not in {0.0, 1.0}:
        return None, None
    bound = 0.025 ** (1.0 / n)
    return (bound, 1.0) if value == 1.0 else (0.0, 1.0 - bound)


class _ClassSums:
    """Figures for classes from counts of (truth, prediction) and means over examples."""

    def __init__(self, truth: Array, probabilities: Array, nll: Array | None) -> None:
        self.truth, self.k = truth.astype(np.int64), probabilities.shape[1]
        n = len(truth)
        self.known = (self.truth >= 0) & (self.truth < self.k)
        self.predicted = probabilities.argmax(axis=1) if n else np.zeros(0, dtype=np.int64)
        self.right = (self.predicted == self.truth).astype(np.float64)
        code = np.where(self.known, self.truth, 0)
        given = probabilities[np.arange(n), code]
        self.nll = np.where(self.known, -np.log(np.clip(given, _TINY, None)), np.inf)
        if nll is not None:
            self.nll = np.asarray(nll, dtype=np.float64)
        self.top5_wrong: Array | None = None
        if self.k >= _TOP5_FROM:
            self.top5_wrong = ((probabilities > given[:, None]).sum(axis=1) >= 5).astype(np.float64)
        self.order: Array | None = None
        if self.k == 2 and n:
            _, self.order = np.unique(probabilities[:, 1], return_inverse=True)

    def names(self) -> list[str]:
        """Return which figures there are."""
        extra = (["auc"] if self.k == 2 else []) + (["top5_error"] if self.k >= _TOP5_FROM else [])
        return ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", *extra]

    def figures(self, chosen: Array) -> Figures:
        """Return the figures on the examples with these numbers."""
        truth, predicted, right = self.truth[chosen], self.predicted[chosen], self.right[chosen]
        known = truth[(truth >= 0) & (truth < self.k)]
        support = np.bincount(known, minlength=self.k)
        hits = np.bincount(predicted, weights=right, minlength=self.k)
        called = np.bincount(predicted, minlength=self.k)
        there = support > 0
        named = (support + called) > 0
        found = {
            "accuracy": float(right.mean()),
            "balanced_accuracy": float((hits[there] / support[there]).mean()) if there.any() else float("nan"),
            "macro_f1": float((2 * hits[named] / (support + called)[named]).mean()),
            "log_loss": float(self.nll[chosen].mean()),
        }
        if self.order is not None:
            found["auc"] = _auc(self.order[chosen], truth == 1)
        if self.top5_wrong is not None:
            found["top5_error"] = float(self.top5_wrong[chosen].mean())
        return found

    def reason(self, name: str, value: float) -> str:
        """Say why a figure is not defined.

        Returns:
            A phrase, empty for a figure that is.
        """
        if np.isfinite(value):
            return ""
        if name == "auc":
            return "not defined because only one class occurs in this part"
        if not self.known.all():
            return "not defined because this part holds classes that training has not seen"
        return "not defined because a prediction is not finite"


def _auc(rank: Array, positive: Array) -> float:
    """Return the share of (positive, negative) pairs in the right order, ties half; NaN without such a pair."""
    up = np.bincount(rank[positive], minlength=1).astype(np.float64)
    down = np.bincount(rank[~positive], minlength=1).astype(np.float64)
    size = max(len(up), len(down))
    up, down = np.pad(up, (0, size - len(up))), np.pad(down, (0, size - len(down)))
    pairs = up.sum() * down.sum()
    return float((up * (np.cumsum(down) - 0.5 * down)).sum() / pairs) if pairs else float("nan")


class _NumberSums:
    """Figures for numbers and counts from means over examples."""

    def __init__(self, kind: Kind, truth: Array, mean: Array, nll: Array | None) -> None:
        self.truth, self.error = truth, truth - mean
        self.nll = None if nll is None else np.asarray(nll, dtype=np.float64)
        self.deviance: Array | None = None
        if kind == "count":
            rate = np.clip(mean, _TINY, None)
            ratio = np.log(np.where(truth > 0, truth, 1.0) / rate)
            self.deviance = 2 * (np.where(truth > 0, truth * ratio, 0.0) - (truth - rate))

    def names(self) -> list[str]:
        """Return which figures there are."""
        extra = (["nll"] if self.nll is not None else []) + (["deviance"] if self.deviance is not None else [])
        return ["rmse", "mae", "r2", *extra]

    def figures(self, chosen: Array) -> Figures:
        """Return the figures on the examples with these numbers."""
        error, truth = self.error[chosen], self.truth[chosen]
        squares = float(np.square(error).mean())
        spread = float(np.square(truth - truth.mean()).mean())
        found = {
            "rmse": float(np.sqrt(squares)),
            "mae": float(np.abs(error).mean()),
            "r2": 1.0 - squares / spread if spread > 0 else float("nan"),
        }
        if self.nll is not None:
            found["nll"] = float(self.nll[chosen].mean())
        if self.deviance is not None:
            found["deviance"] = float(self.deviance[chosen].mean())
        return found

    def reason(self, name: str, value: float) -> str:
        """Say why a figure is not defined.

        Returns:
            A phrase, empty for a figure that is.
        """
        if np.isfinite(value):
            return ""
        if name == "r2" and np.isfinite(self.error).all():
            return "not defined because the target has one value only in this part"
        return "not defined because a prediction is not finite"


def compare(kind: Kind, truth: Array, ours: Array, theirs: Array, *, baseline: str, seed: int = 0) -> Paired:
    """Compare the network with a baseline on the same examples.

    Args:
        kind: ``classes``: by accuracy, exact McNemar test. Otherwise by RMSE, paired bootstrap.
        truth: ``(N,)`` class codes or numbers.
        ours: ``(N,)`` predicted codes or means of the network.
        theirs: Those of the baseline.
        baseline: Its name.
        seed: Of the bootstrap.

    Returns:
        Difference (ours minus theirs) with its 95 % interval, p-value and words.
    """
    metric = "accuracy" if kind == "classes" else "rmse"
    test = "McNemar" if kind == "classes" else "paired bootstrap"
    truth, ours, theirs = (np.asarray(a, dtype=np.float64) for a in (truth, ours, theirs))
    n = len(truth)
    if n == 0:
        return Paired(baseline, metric, None, None, None, None, test, "not compared")
    a: Array = truth == ours if kind == "classes" else truth - ours
    b: Array = truth == theirs if kind == "classes" else truth - theirs
    measure = _mean if kind == "classes" else _root_mean_square

    def figures(chosen: Array) -> Figures:
        return {metric: measure(a[chosen]) - measure(b[chosen])}

    difference = figures(np.arange(n))[metric]
    low, high = intervals(figures, {metric: difference}, n, seed)[metric]
    if kind == "classes":
        p_value: float | None = mcnemar(a, b).p_value
    else:
        p_value = _bootstrap_p(difference, low, high)
    return Paired(baseline, metric, difference, low, high, p_value, test, _verdict(metric, difference, p_value))


def _mean(values: Array) -> float:
    return float(values.mean())


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _bootstrap_p(difference: float, low: float | None, high: float | None) -> float | None:
    """Return the two-sided p-value of a normal distribution with the width of the bootstrap interval."""
    if low is None or high is None or not np.isfinite(difference):
        return None
    if high <= low:
        return 1.0 if difference == 0 else 0.0
    deviations = abs(difference) * 2 * 1.959964 / (high - low)
    return math.erfc(deviations / math.sqrt(2))


def _verdict(metric: str, difference: float, p_value: float | None) -> str:
    if p_value is None or not np.isfinite(difference):
        return "not compared"
    if p_value >= 0.05:
        return "not clearly different"
    better = (difference > 0) == HIGHER_IS_BETTER[metric]
    return "clearly better" if better else "clearly worse"
