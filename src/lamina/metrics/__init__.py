"""Metrics that scikit-learn lacks: coverage, calibration, intervals and their uncertainty."""

from lamina.metrics.bootstrap import (
    Interval,
    McNemar,
    bootstrap_interval,
    mcnemar,
    mean_interval,
    paired_difference,
)
from lamina.metrics.calibration import CalibrationBins, calibration_bins, expected_calibration_error
from lamina.metrics.coverage import CoverageCurve, coverage_curve
from lamina.metrics.intervals import interval_coverage, interval_score, interval_width
from lamina.metrics.tangent_distance import tangent_distance

__all__ = [
    "CalibrationBins",
    "CoverageCurve",
    "Interval",
    "McNemar",
    "bootstrap_interval",
    "calibration_bins",
    "coverage_curve",
    "expected_calibration_error",
    "interval_coverage",
    "interval_score",
    "interval_width",
    "mcnemar",
    "mean_interval",
    "paired_difference",
    "tangent_distance",
]
