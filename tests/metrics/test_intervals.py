"""Predictive intervals: coverage and score against loops, and the score's propriety."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lamina.errors import ConfigError
from lamina.metrics import interval_coverage, interval_score, interval_width

ROWS = st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 5), st.floats(-9, 9)), min_size=1, max_size=8)


@given(rows=ROWS, level=st.floats(0.05, 0.95))
@settings(max_examples=150, deadline=None)
def test_score_and_coverage_are_the_loop(rows: list[tuple[float, float, float]], level: float) -> None:
    low, high, y = ([a for a, _, _ in rows], [a + w for a, w, _ in rows], [t for _, _, t in rows])
    expected = []
    for a, b, t in zip(low, high, y, strict=True):
        fine = 2 / (1 - level) * ((a - t) if t < a else (t - b) if t > b else 0.0)
        expected.append(b - a + fine)
    np.testing.assert_allclose(interval_score(low, high, y, level), expected, rtol=1e-12, atol=1e-12)
    assert interval_coverage(low, high, y) == np.mean([a <= t <= b for a, b, t in zip(low, high, y, strict=True)])
    assert interval_width(low, high) == pytest.approx(np.mean(np.array(high) - np.array(low)))


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_true_interval_scores_best(level: float) -> None:
    y = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)  # a fine grid of quantiles in place of a sample
    half = stats.norm.ppf((1 + level) / 2)

    def score(low: float, high: float) -> float:
        return float(interval_score(np.full(20_000, low), np.full(20_000, high), y, level).mean())

    best = score(-half, half)
    assert all(score(-half - a, half + b) > best for a, b in ((0.2, 0.2), (-0.2, -0.2), (0.2, -0.2), (0.0, 0.3)))


def test_an_infinite_interval_holds_everything() -> None:
    assert interval_coverage([-np.inf], [np.inf], [1e300]) == 1.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^interval_coverage: low must not exceed high, got 3 > 2 in row 1"):
        interval_coverage([0, 3], [1, 2], [0, 0])
    with pytest.raises(ConfigError, match=r"^interval_score: level"):
        interval_score([0], [1], [0], 1.0)
    with pytest.raises(ConfigError, match=r"^interval_score: lengths must agree"):
        interval_score([0], [1], [0, 1], 0.5)
