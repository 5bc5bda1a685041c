"""Calibration: whether of the answers given with 80 % confidence, 80 % are right."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from lamina.errors import ConfigError
from lamina.metrics._checks import ArrayLike, truth_values, unit_interval, vectors


@dataclass(frozen=True)
class CalibrationBins:
    """A reliability diagram as numbers: the examples sorted into bins of similar confidence.

    Attributes:
        edges: Ends of the bins, one more than bins; a bin holds lower < confidence ≤ upper, the first its lower end
            too.
        count: Examples in each bin.
        confidence: Mean confidence in each bin, nan where it is empty.
        accuracy: Share right in each bin, nan where it is empty.
    """

    edges: Float[np.ndarray, " edges"]
    count: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]

    @property
    def expected_error(self) -> float:
        """Expected calibration error Σ_b (n_b / N) |accuracy_b - confidence_b|, in [0, 1]."""
        gap = np.abs(self.accuracy - self.confidence)
        return float(np.sum(np.where(self.count > 0, gap, 0.0) * self.count) / self.count.sum())

    @property
    def maximum_error(self) -> float:
        """Maximum calibration error max_b |accuracy_b - confidence_b| over the bins in use, in [0, 1]."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))


def calibration_bins(
    correct: ArrayLike, confidence: ArrayLike, n_bins: int = 15, by: Literal["width", "count"] = "width"
) -> CalibrationBins:
    """Sort examples into bins by confidence and compare confidence with accuracy in each.

    Args:
        correct: Whether each answer is right, (N,) of 0 and 1; or, for a yes-or-no target, the target itself.
        confidence: Probability of that answer, (N,) in [0, 1]: the largest class probability; or p(yes).
        n_bins: Number of bins, at least 1.
        by: "width": equal bins of [0, 1]. "count": edges at the quantiles of the confidence, so that the bins hold
            about as many examples each; equal edges are merged.

    Returns:
        The bins; ``.expected_error`` is the expected calibration error.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2, eqs. 2 to 5.
    """
    right, sure = vectors("calibration_bins", correct=correct, confidence=confidence)
    truth_values("calibration_bins", "correct", right)
    unit_interval("calibration_bins", "confidence", sure)
    if n_bins < 1 or by not in {"width", "count"}:
        raise ConfigError(
            f'n_bins must be at least 1 and by "width" or "count", got {n_bins!r}, {by!r}',
            where="calibration_bins",
            mend='use 15 and "width"',
        )
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    if by == "count":
        last = -(-len(sure) * np.arange(1, n_bins + 1) // n_bins) - 1  # place of each bin's largest, in order
        edges = np.unique(np.sort(sure)[np.append(0, last)])
        edges = edges if len(edges) > 1 else np.array([edges[0], edges[0]])
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: the mean of an empty bin
        confidence_mean = np.bincount(place, weights=sure, minlength=bins) / count
        accuracy = np.bincount(place, weights=right, minlength=bins) / count
    return CalibrationBins(edges, count, confidence_mean, accuracy)


def expected_calibration_error(correct: ArrayLike, confidence: ArrayLike, n_bins: int = 15) -> float:
    """Return Σ_b (n_b / N) |accuracy_b - confidence_b| over bins of equal width.

    It depends on the number of bins, and grows by chance alone where bins hold few examples: quote both n.

    Args:
        correct: Whether each answer is right, (N,) of 0 and 1.
        confidence: Probability of that answer, (N,) in [0, 1].
        n_bins: Number of bins, at least 1.

    Returns:
        A share, in [0, 1]; 0 is perfect.

    Reference: Guo et al., ICML 2017, eq. 3; Naeini et al., AAAI 2015.
    """
    return calibration_bins(correct, confidence, n_bins).expected_error
