"""Calibration against a loop over bins and against the law it estimates."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import ConfigError
from lamina.metrics import calibration_bins, expected_calibration_error


def by_loop(correct: np.ndarray, confidence: np.ndarray, n_bins: int, closed: str = "right") -> tuple[float, list[int]]:
    total, counts = 0.0, []
    for b in range(n_bins):
        lower, upper = b / n_bins, (b + 1) / n_bins
        if closed == "right":
            inside = ((confidence > lower) | ((b == 0) & (confidence == 0))) & (confidence <= upper)
        else:
            inside = (confidence >= lower) & (confidence < upper)
        counts.append(int(inside.sum()))
        if inside.any():
            total += inside.sum() / len(correct) * abs(correct[inside].mean() - confidence[inside].mean())
    return total, counts


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), n_bins=st.sampled_from([1, 2, 4, 8, 16]))
@settings(max_examples=150, deadline=None)
def test_error_is_the_loop_over_bins(seed: int, n: int, n_bins: int) -> None:
    g = np.random.default_rng(seed)
    confidence, correct = np.round(g.random(n), 2), g.integers(0, 2, n)
    expected, counts = by_loop(correct, confidence, n_bins)
    bins = calibration_bins(correct, confidence, n_bins)
    assert bins.count.tolist() == counts and bins.count.sum() == n
    assert bins.expected_error == pytest.approx(expected, abs=1e-12)
    assert bins.expected_error <= bins.maximum_error + 1e-12
    assert expected_calibration_error(correct, confidence, n_bins) == bins.expected_error
    assert np.isnan(bins.accuracy[bins.count == 0]).all() and not np.isnan(bins.accuracy[bins.count > 0]).any()


@pytest.mark.parametrize("closed", ["right", "left"])
def test_edges_belong_to_the_lower_bin(closed: str) -> None:
    confidence, correct = np.array([0.0, 0.25, 0.5, 0.5, 1.0]), np.array([0, 1, 1, 0, 1])
    _, counts = by_loop(correct, confidence, 4, closed)
    assert (calibration_bins(correct, confidence, 4).count.tolist() == counts) is (closed == "right")


def test_a_perfect_and_an_overconfident_model() -> None:
    g = np.random.default_rng(0)
    p = g.random(200_000)
    y = g.random(200_000) < p
    assert expected_calibration_error(y, p) < 0.005
    sure = np.full(1000, 0.9)
    right = np.arange(1000) < 600
    assert math.isclose(expected_calibration_error(right, sure), 0.3, rel_tol=1e-9)


def test_bins_by_count_hold_equally_many() -> None:
    g = np.random.default_rng(1)
    confidence = g.random(1000) ** 4
    bins = calibration_bins(g.integers(0, 2, 1000), confidence, 10, by="count")
    assert bins.count.tolist() == [100] * 10
    for b in range(10):
        inside = np.sort(confidence)[100 * b : 100 * b + 100]
        assert bins.confidence[b] == pytest.approx(inside.mean())
    one = calibration_bins([1, 0], [0.7, 0.7], 10, by="count")
    assert one.count.tolist() == [2] and one.expected_error == pytest.approx(0.2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"confidence": [1.2, 0.1]},
        {"confidence": [-0.1, 0.1]},
        {"confidence": [0.1]},
        {"correct": [0, 3]},
        {"n_bins": 0},
        {"by": "size"},
    ],
    ids=str,
)
def test_bad_input_is_refused(arguments: dict) -> None:
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ConfigError, match=r"^calibration_bins: ") as caught:
            calibration_bins(**{"correct": [0, 1], "confidence": [0.5, 0.5], **arguments})
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert caught.value.mend
