"""Confusion, curves, calibration, residuals and mistakes against scikit-learn and by hand."""

from __future__ import annotations

import base64
import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics

from lamina.report import codec
from lamina.report.gather import class_facts, number_facts, picture, thin_history, worst_mistakes
from report.test_scoring import classes


@pytest.mark.parametrize("k", [2, 4])
def test_class_facts_equal_scikit_learn(k: int) -> None:
    truth, p = classes(k=k)
    names = [f"c{i}" for i in range(k)]
    facts = class_facts(truth, p, names)
    predicted = p.argmax(1)
    assert np.array_equal(facts.matrix, metrics.confusion_matrix(truth, predicted))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, predicted)
    assert [r.precision for r in facts.rows] == pytest.approx(list(precision))
    assert [r.recall for r in facts.rows] == pytest.approx(list(recall))
    assert [r.f1 for r in facts.rows] == pytest.approx(list(f1))
    assert [r.support for r in facts.rows] == list(support)
    for i, row in enumerate(facts.rows):
        assert row.average_precision == pytest.approx(metrics.average_precision_score(truth == i, p[:, i]))
    assert len(facts.pr) == (1 if k == 2 else k)
    assert facts.pr[0].area == pytest.approx(facts.rows[1 if k == 2 else 0].average_precision)
    off = metrics.confusion_matrix(truth, predicted) * (1 - np.eye(k, dtype=int))
    assert facts.most_confused is not None and facts.most_confused.count == off.max()
    i, j = names.index(facts.most_confused.truth), names.index(facts.most_confused.prediction)
    assert off[i, j] == off.max()
    assert facts.n_wrong == off.sum()
    assert facts.coverage.y[-1] == pytest.approx((predicted == truth).mean(), abs=1e-6)
    assert sum(b.count for b in facts.calibration) == len(truth)


def test_what_is_answered_from_the_threshold_on_is_as_good_as_promised() -> None:
    truth, p = classes()
    facts = class_facts(truth, p, "abcd")
    sure, right = p.max(1), p.argmax(1) == truth
    assert len(facts.coverage_at) == 4
    for wanted, coverage, threshold in facts.coverage_at:
        if threshold is None:
            assert coverage is None and all(right[sure >= t].mean() < wanted for t in sure)
            continue
        kept = sure >= threshold  # the threshold is rounded down, so that the last one answered is in
        assert kept.mean() >= coverage and right[kept].mean() >= wanted - 2 / kept.sum()
    assert any(threshold is not None for _, _, threshold in facts.coverage_at)


def test_ties_do_not_depend_on_the_order() -> None:
    truth, p = classes()
    p = np.round(p, 1)
    p /= p.sum(1, keepdims=True)
    order = np.random.default_rng(3).permutation(len(truth))
    one, other = class_facts(truth, p, "abcd"), class_facts(truth[order], p[order], "abcd")
    assert (one.matrix, one.rows, one.pr) == (other.matrix, other.rows, other.pr)
    assert (one.coverage.x, one.coverage.y, one.coverage_at) == (other.coverage.x, other.coverage.y, other.coverage_at)
    assert one.ece == pytest.approx(other.ece)


def test_many_classes_become_top_lists_k2() -> None:
    truth, p = classes(n=10_000, k=1000)
    begin = time.process_time()
    facts = class_facts(truth, p, [f"c{i}" for i in range(1000)])
    assert time.process_time() - begin < 2.0
    assert len(facts.matrix_classes) == 20 and len(facts.confusions) == 30 and len(facts.rows) == 1000
    assert len(facts.pr) == 1 and len(facts.pr[0].x) <= 200


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 10**6))
def test_any_size_gives_facts_that_survive_json(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n).reshape(n, k)
    facts = class_facts(rng.integers(-1, k + 1, n), p, [f"c{i}" for i in range(k)])
    assert codec.build(type(facts), codec.plain(facts), "x") == facts
    numbers = number_facts(rng.normal(size=n), rng.normal(size=n))
    assert codec.build(type(numbers), codec.plain(numbers), "x") == numbers


def test_number_facts_by_hand() -> None:
    truth, mean = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 3.0, 2.5, 1.0])
    facts = number_facts(truth, mean, mean - 0.6, mean + 0.6)
    assert facts.n == 3 and sum(facts.counts) == 3
    assert facts.mean_residual == pytest.approx((0 - 1 + 0.5) / 3)
    assert facts.coverage == pytest.approx(2 / 3) and facts.width == pytest.approx(1.2)
    assert len(number_facts(np.zeros(5000), np.ones(5000)).truth) == 500
    constant = number_facts(np.zeros(5), np.zeros(5))
    assert constant.counts == (5,)


def test_worst_mistakes_are_those_with_least_probability_for_the_truth() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    found = worst_mistakes("classes", np.array([1, 1, 1, 0]), probabilities=p, classes=("a", "b"), label=str)
    assert [m.label for m in found] == ["0", "1"]
    assert found[0].truth == "b" and found[0].prediction == "a"
    assert (found[0].probability, found[0].truth_probability) == (0.9, 0.1)
    unseen = worst_mistakes("classes", np.array([5]), probabilities=p[:1], classes=("a", "b"))
    assert "not seen" in unseen[0].truth
    numbers = worst_mistakes("number", np.array([1.0, 5.0, 2.0]), mean=np.array([1.1, 1.0, 4.0]), label=str, count=2)
    assert [m.label for m in numbers] == ["1", "2"] and numbers[1].residual == -2.0


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 500, 300), (4, 5, 5)])
def test_picture_is_a_small_png(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = Image.open(io.BytesIO(base64.b64decode(picture(pixels))))
    assert image.format == "PNG" and max(image.size) <= 160
    if shape == (8, 8):
        assert np.array_equal(np.asarray(image), pixels)


def test_thinned_history_keeps_ends_extremes_and_the_best() -> None:
    history = [{"epoch": e, "loss": float(np.sin(e)), "note": None} for e in range(1, 20_001)]
    history[7777]["loss"] = 99.0
    found = thin_history(history, 12_345)
    epochs = [r["epoch"] for r in found]
    assert len(found) < 510 and epochs == sorted(set(epochs))
    assert {1, 7778, 12_345, 20_000} <= set(epochs)
    assert thin_history(history[:5]) == history[:5] and thin_history([]) == []
