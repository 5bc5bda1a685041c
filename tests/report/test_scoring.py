"""Figures of merit against scikit-learn, their intervals against theory."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn import metrics

from lamina.report.gather import compare, scores_for


def classes(n: int = 400, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(0, 1, (n, k)) + 1.5 * np.eye(k)[truth]
    p = np.exp(logits)
    return truth, p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("k", [2, 4, 12])
def test_class_scores_equal_scikit_learn(k: int) -> None:
    truth, p = classes(k=k)
    if k == 2:
        p = np.round(p, 1)  # ties
        p[:, 0] = 1 - p[:, 1]
        p = np.clip(p, 0.01, 0.99)
    found = scores_for("classes", truth, probabilities=p)
    predicted = p.argmax(1)
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "log_loss": metrics.log_loss(truth, p),
    }
    if k == 2:
        expected["auc"] = metrics.roc_auc_score(truth, p[:, 1])
    if k >= 10:
        expected["top5_error"] = 1 - metrics.top_k_accuracy_score(truth, p, k=5)
    assert {name: s.value for name, s in found.items()} == pytest.approx(expected, abs=1e-12)
    for name, s in found.items():
        if s.low is None:
            assert name == "top5_error" and s.value == 0  # the same on every resample
            continue
        assert s.low is not None and s.high is not None and s.value is not None and s.low <= s.value <= s.high


def test_number_scores_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.poisson(3.0, 300).astype(float)
    mean = np.clip(truth + rng.normal(0, 1, 300), 0.1, None)
    found = scores_for("count", truth, mean=mean, nll=np.full(300, 1.5))
    expected = {
        "rmse": metrics.root_mean_squared_error(truth, mean),
        "mae": metrics.mean_absolute_error(truth, mean),
        "r2": metrics.r2_score(truth, mean),
        "nll": 1.5,
        "deviance": metrics.mean_poisson_deviance(truth, mean),
    }
    assert {name: s.value for name, s in found.items()} == pytest.approx(expected)
    assert found["rmse"].higher_is_better is False and found["r2"].higher_is_better


@pytest.mark.parametrize("n", [2_000, 60_000])
def test_interval_has_the_width_of_theory(n: int) -> None:
    truth, p = classes(n=n)
    accuracy = scores_for("classes", truth, probabilities=p)["accuracy"]
    assert accuracy.value is not None and accuracy.low is not None and accuracy.high is not None
    theory = 2 * 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / n)
    assert accuracy.high - accuracy.low == pytest.approx(theory, rel=0.15)


@pytest.mark.parametrize(("n", "low"), [(2, 0.1581), (18, 0.8147), (300, 0.9878)])
def test_a_perfect_score_is_not_certain(n: int, low: float) -> None:
    p = np.tile([0.9, 0.1], (n, 1))
    right = scores_for("classes", np.zeros(n, dtype=int), probabilities=p)
    assert right["accuracy"].low == pytest.approx(low, abs=1e-4)  # scipy.stats.beta.ppf(0.025, n, 1)
    assert right["accuracy"].high == 1.0
    assert right["balanced_accuracy"].value == 1.0 and right["balanced_accuracy"].low is None
    wrong = scores_for("classes", np.ones(n, dtype=int), probabilities=p)["accuracy"]
    assert wrong.low == 0.0 and wrong.high is not None and wrong.high > 0


def test_undefined_figures_say_why() -> None:
    truth, p = np.zeros(30, dtype=int), np.tile([0.8, 0.2], (30, 1))
    auc = scores_for("classes", truth, probabilities=p)["auc"]
    assert auc.value is None and "only one class" in auc.reason
    unseen = scores_for("classes", np.array([0, 1, -1, 7]), probabilities=np.tile([0.8, 0.2], (4, 1)))
    assert unseen["log_loss"].value is None and "not seen" in unseen["log_loss"].reason
    assert unseen["accuracy"].value == 0.25
    r2 = scores_for("number", np.ones(9), mean=np.zeros(9))["r2"]
    assert r2.value is None and "one value only" in r2.reason
    broken = scores_for("number", np.arange(9.0), mean=np.full(9, np.nan))["rmse"]
    assert broken.value is None and "not finite" in broken.reason
    none = scores_for("number", np.zeros(0), mean=np.zeros(0))
    assert all(s.value is None and "no examples" in s.reason for s in none.values())
    one = scores_for("classes", np.array([1]), probabilities=np.array([[0.2, 0.8]]))
    assert one["accuracy"].value == 1.0 and one["accuracy"].low is None


def test_compare_finds_a_difference_and_its_absence() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 500)
    good = np.where(rng.random(500) < 0.9, truth, 1 - truth)
    poor = np.where(rng.random(500) < 0.7, truth, 1 - truth)
    found = compare("classes", truth, good, poor, baseline="b")
    assert found.words == "clearly better" and found.p_value is not None and found.p_value < 1e-6
    assert found.difference == pytest.approx((good == truth).mean() - (poor == truth).mean())
    assert found.low is not None and found.high is not None and found.low < found.difference < found.high
    assert compare("classes", truth, poor, good, baseline="b").words == "clearly worse"
    assert compare("classes", truth, good, good, baseline="b").words == "not clearly different"
    zeros, seven, five = np.zeros(100, dtype=int), np.arange(100) >= 93, np.arange(100) < 5
    few = compare("classes", zeros, five.astype(int), seven.astype(int), baseline="b")  # 7 against 5: p = 0.77
    assert few.words == "not clearly different" and few.p_value == pytest.approx(0.7744, abs=1e-4)
    y = rng.normal(size=300)
    close = compare("number", y, y + rng.normal(0, 0.1, 300), y + rng.normal(0, 1, 300), baseline="b")
    assert close.words == "clearly better" and close.difference is not None and close.difference < 0
    assert compare("number", y, y + 1, y + 1, baseline="b").p_value == 1.0
    assert compare("number", y[:0], y[:0], y[:0], baseline="b").words == "not compared"


def test_ten_thousand_rows_take_less_than_two_seconds() -> None:
    truth, p = classes(n=10_000, k=10)
    begin = time.process_time()
    scores_for("classes", truth, probabilities=p)
    assert time.process_time() - begin < 2.0
