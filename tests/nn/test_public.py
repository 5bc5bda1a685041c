"""The public names of the parts that need no data."""

import importlib

import pytest

NAMES = {
    "lamina.nn": "ACTIVATIONS ColumnEmbedding MLP PixelScaling Residual ResidualMLP TableShape embedding_width linear",
    "lamina.likelihoods": "Bernoulli Categorical Gaussian Heads LIKELIHOODS Likelihood Poisson from_json "
    "likelihood_name for_scoring to_json",
    "lamina.metrics": "CalibrationBins CoverageCurve Interval McNemar bootstrap_interval calibration_bins "
    "coverage_curve expected_calibration_error interval_coverage interval_score interval_width mcnemar "
    "mean_interval paired_difference",
    "lamina.vision": "SmallResNet small_resnet",
}


@pytest.mark.parametrize("package", list(NAMES))
def test_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(NAMES[package].split())
    assert all(hasattr(module, name) for name in module.__all__)
