"""The accuracy-coverage curve against a loop over thresholds, and against all orders of equal confidences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import ConfigError
from lamina.metrics import coverage_curve

EXAMPLES = st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.4, 0.5, 0.9])), min_size=1, max_size=12)


@given(examples=EXAMPLES)
@settings(max_examples=150, deadline=None)
def test_curve_is_the_loop_over_thresholds(examples: list[tuple[bool, float]]) -> None:
    correct, confidence = zip(*examples, strict=True)
    curve = coverage_curve(correct, confidence)
    thresholds = sorted(set(confidence), reverse=True)
    assert curve.threshold.tolist() == thresholds
    for t, coverage, accuracy in zip(thresholds, curve.coverage, curve.accuracy, strict=True):
        answered = [c for c, s in examples if s >= t]
        assert coverage == pytest.approx(len(answered) / len(examples), rel=1e-14)
        assert accuracy == pytest.approx(sum(answered) / len(answered), rel=1e-14)
    assert curve.coverage[-1] == 1.0 and curve.accuracy[-1] == pytest.approx(np.mean(correct))


@given(examples=st.lists(st.tuples(st.booleans(), st.sampled_from([0.2, 0.7])), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_area_is_the_mean_over_all_orders_of_equals(examples: list[tuple[bool, float]]) -> None:
    areas = []
    for order in itertools.permutations(examples):
        ranked = [c for c, _ in sorted(order, key=lambda e: -e[1])]  # stable: equals stay in this order
        areas.append(np.mean([np.mean(ranked[: k + 1]) for k in range(len(ranked))]))
    correct, confidence = zip(*examples, strict=True)
    assert coverage_curve(correct, confidence).area == pytest.approx(np.mean(areas), abs=1e-12)


@given(examples=EXAMPLES)
@settings(max_examples=50, deadline=None)
def test_only_the_order_of_confidence_counts(examples: list[tuple[bool, float]]) -> None:
    correct, confidence = (np.array(v) for v in zip(*examples, strict=True))
    a, b = coverage_curve(correct, confidence), coverage_curve(correct[::-1], np.exp(5 * confidence[::-1]) - 3)
    assert np.allclose(a.accuracy, b.accuracy) and np.allclose(a.coverage, b.coverage) and np.isclose(a.area, b.area)


def test_reading_the_curve() -> None:
    curve = coverage_curve([1, 1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.5])
    assert [curve.accuracy_at(c) for c in (0.2, 0.4, 0.41, 0.6, 1.0)] == [1.0, 1.0, 2 / 3, 2 / 3, 0.6]
    assert [curve.coverage_at(a) for a in (1.0, 0.75, 0.7, 0.0)] == [0.4, 0.8, 0.8, 1.0]
    assert [curve.threshold_at(a) for a in (1.0, 0.75, 0.7, 0.0)] == [0.8, 0.6, 0.6, 0.5]
    assert coverage_curve([0, 0], [0.2, 0.1]).coverage_at(0.5) == 0.0
    assert coverage_curve([0, 0], [0.2, 0.1]).threshold_at(0.5) is None
    assert coverage_curve([1, 1, 0, 0], [4, 3, 2, 1]).area > coverage_curve([1, 1, 0, 0], [1, 2, 3, 4]).area


@pytest.mark.parametrize(
    ("correct", "confidence", "said"),
    [
        ([], [], "correct is empty"),
        ([1, 0], [0.5], "lengths must agree, got correct 2, confidence 1"),
        ([1, 0], [[0.5, 0.5]], r"confidence must have shape \(N,\), got \(1, 2\)"),
        ([1, 2], [0.5, 0.5], "correct must hold 0 and 1"),
        ([1, 0], [0.5, float("nan")], "confidence must hold no nan, got one in row 1"),
    ],
)
def test_M11_M12_bad_input_is_refused(correct: list, confidence: list, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^coverage_curve: {said}"):
        coverage_curve(correct, confidence)
    with pytest.raises(ConfigError, match="coverage must lie in"):
        coverage_curve([1], [1]).accuracy_at(0.0)
