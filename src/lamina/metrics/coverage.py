"""Accuracy against coverage: how good a classifier is on the examples that it does not refuse."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lamina.errors import ConfigError
from lamina.metrics._checks import ArrayLike, truth_values, vectors


@dataclass(frozen=True)
class CoverageCurve:
    """One point for each distinct confidence, from the surest examples alone to all of them.

    Attributes:
        threshold: Confidence at or above which an example is answered, falling.
        coverage: Share of the examples answered, rising to 1.
        accuracy: Share of the answered that are right; the last is the plain accuracy.
        area: Mean accuracy over the N coverages 1/N, 2/N, …, 1; 1 minus it is the area under the risk-coverage curve.
            Where confidences are equal it is the expectation over their orders, so that it depends on no order.
    """

    threshold: Float[np.ndarray, " P"]
    coverage: Float[np.ndarray, " P"]
    accuracy: Float[np.ndarray, " P"]
    area: float

    def accuracy_at(self, coverage: float) -> float:
        """Return the accuracy when at least this share of the examples is answered, refusing the least sure.

        Returns:
            The accuracy at the smallest coverage on the curve that is no less.

        Raises:
            ConfigError: If coverage is not in (0, 1].
        """
        if not 0.0 < coverage <= 1.0:
            raise ConfigError(f"coverage must lie in (0, 1], got {coverage!r}", where="accuracy_at", mend="use 0.9")
        return float(self.accuracy[np.searchsorted(self.coverage, coverage - 1e-12)])

    def coverage_at(self, accuracy: float) -> float:
        """Return the largest share of the examples that can be answered with at least this accuracy.

        Returns:
            A coverage, 0 if no threshold reaches the accuracy.
        """
        reached = np.flatnonzero(self.accuracy >= accuracy)
        return float(self.coverage[reached[-1]]) if len(reached) else 0.0

    def threshold_at(self, accuracy: float) -> float | None:
        """Return the confidence below which to refuse, so that ``coverage_at`` of this accuracy is answered.

        Returns:
            A threshold, None if none reaches the accuracy.
        """
        reached = np.flatnonzero(self.accuracy >= accuracy)
        return float(self.threshold[reached[-1]]) if len(reached) else None


def coverage_curve(correct: ArrayLike, confidence: ArrayLike) -> CoverageCurve:
    """Refuse the examples of least confidence, more and more of them, and say how good the rest is.

        coverage(t) = |{i: c_i ≥ t}| / N,   accuracy(t) = |{i: c_i ≥ t, i right}| / |{i: c_i ≥ t}|

    Args:
        correct: Whether each answer is right, (N,) of 0 and 1.
        confidence: How sure the model is of each answer, (N,), on any scale: only the order counts.

    Returns:
        The curve.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 11.1; El-Yaniv & Wiener, "On the
    Foundations of Noise-free Selective Classification", JMLR 11, 2010, section 2.
    """
    right, sure = vectors("coverage_curve", correct=correct, confidence=confidence)
    truth_values("coverage_curve", "correct", right)
    order = np.argsort(-sure, kind="stable")
    right, sure = right[order], sure[order]
    n = len(right)
    ends = np.append(np.flatnonzero(np.diff(sure)), n - 1)  # last place of each run of equal confidences
    hits = np.cumsum(right)[ends]
    sizes = np.diff(ends, prepend=-1)
    share = np.diff(hits, prepend=0.0) / sizes  # share right within each run: the expectation at any place of it
    area = float(np.mean(np.cumsum(np.repeat(share, sizes)) / np.arange(1, n + 1)))
    return CoverageCurve(sure[ends], (ends + 1) / n, hits / (ends + 1), area)
