"""A figure of merit with its interval, and the ways in which it can be undefined."""

from __future__ import annotations

import math
from dataclasses import dataclass

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "auc": True,
    "top5_error": False,
    "log_loss": False,
    "rmse": False,
    "mae": False,
    "r2": True,
    "nll": False,
    "deviance": False,
}
"""Every metric that a report may show, by its name in JSON, and which way is good."""

WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "top5_error": "top-5 error",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "r2": "R²",
    "nll": "negative log-likelihood",
}
"""How a metric is called in a sentence, where its name in JSON will not do."""


def words(metric: str) -> str:
    """Return what a metric is called in a sentence."""
    return WORDS.get(metric, metric.replace("_", " "))


@dataclass(frozen=True)
class Score:
    """One figure of merit on one part of the data.

    Args:
        value: The figure, or None where it is not defined (NaN and infinity are taken as that).
        low: Lower end of its 95 % bootstrap interval over the examples, or None.
        high: Upper end, or None.
        higher_is_better: Which way is good.
        unit: ``nats``, the target's unit, or empty.
        reason: Why ``value`` is None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    higher_is_better: bool = True
    unit: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            finite = number is not None and math.isfinite(number)
            object.__setattr__(self, name, float(number) if finite else None)
        if self.value is None and not self.reason:
            object.__setattr__(self, "reason", "not finite")

    def better_than(self, other: Score) -> bool:
        """Say whether this figure is strictly better than the other; False where one is undefined.

        Returns:
            True if better.
        """
        if self.value is None or other.value is None:
            return False
        return self.value > other.value if self.higher_is_better else self.value < other.value

    def clearly_differs(self, other: Score) -> bool:
        """Say whether neither figure lies in the other's interval.

        Two intervals that overlap can still belong to figures that differ; that each figure lies outside the other's
        interval is the criterion here. Without intervals any difference counts.

        Returns:
            True if the figures differ by more than their intervals.
        """
        if self.value is None or other.value is None:
            return False
        return not (self.covers(other.value) or other.covers(self.value))

    def covers(self, number: float) -> bool:
        """Say whether a number lies in the interval; without one, whether it is the figure itself.

        Returns:
            True if so.
        """
        if self.low is None or self.high is None:
            return self.value == number
        return self.low <= number <= self.high
