"""Estimators on rows without a target: -1 is no class, NaN no number, and those rows teach only where asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_moons

from lamina.errors import ConfigError, DataError
from lamina.estimators import NeuralClassifier, NeuralRegressor

QUICK = {"epochs": 3, "hidden": 8, "random_state": 0, "threads": 1, "second_pass": "none", "batch_size": 32}
X, Y = make_moons(150, noise=0.1, random_state=0)
PART = np.where(np.arange(150) < 50, Y, -1)
VAT = "virtual-adversarial:1:epsilon=0.3"


def same(a: NeuralClassifier, b: NeuralClassifier) -> bool:
    return np.array_equal(a.predict_proba(X), b.predict_proba(X))


def test_rows_of_the_label_minus_one_teach_and_are_no_class(tmp_path) -> None:
    plain = NeuralClassifier(**QUICK, penalty=VAT).fit(X[:50], Y[:50])
    model = clone(NeuralClassifier(**QUICK, penalty=VAT, learn_unlabelled=True)).fit(X, PART)
    assert model.classes_.tolist() == [0, 1] and model.predict_proba(X).shape == (150, 2)
    assert set(model.predict(X)) <= {0, 1}
    assert not same(plain, model)
    assert any("training rows have a target; 100 rows without a target learnt from as well" in n for n in model.notes_)
    assert "100 rows without a target" in model.report(tmp_path / "page.html", X, Y).read_text()
    # Their inputs are learnt from, those of a plain fit are not even seen.
    moved = X.copy()
    moved[-1] += 1.0
    assert not same(model, clone(model).fit(moved, PART))
    again = NeuralClassifier.load(model.save(tmp_path / "model"))
    assert same(model, again) and again.learn_unlabelled and again.classes_.tolist() == [0, 1]


def test_without_the_parameter_minus_one_is_a_class_as_ever() -> None:
    assert NeuralClassifier(**QUICK).fit(X, PART).classes_.tolist() == [-1, 0, 1]
    assert NeuralClassifier(**QUICK).fit(X, 2 * Y - 1).classes_.tolist() == [-1, 1]
    with pytest.raises(DataError, match="only one class"):
        NeuralClassifier(**QUICK, penalty=VAT, learn_unlabelled=True).fit(X, 2 * Y - 1)
    with pytest.raises(ValueError, match="NaN"):
        NeuralRegressor(**QUICK).fit(X, np.where(PART < 0, np.nan, X[:, 0]))


@pytest.mark.parametrize("frame", [False, True], ids=["matrix", "frame"])
def test_the_order_of_the_rows_has_no_influence(frame: bool) -> None:
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": np.where(X[:, 0] > 0, "left", "right")}) if frame else X
    order = np.random.default_rng(3).permutation(150)
    shuffled = table.iloc[order] if frame else table[order]
    model = NeuralClassifier(**QUICK, penalty=VAT, learn_unlabelled=True)
    a, b = clone(model).fit(table, PART), clone(model).fit(shuffled, PART[order])
    assert np.array_equal(a.predict_proba(table), b.predict_proba(table))


def test_weights_of_zero_leave_rows_without_a_label_out_too() -> None:
    model = NeuralClassifier(**QUICK, penalty=VAT, learn_unlabelled=True)
    weight = np.where(np.arange(150) < 120, 1.0, 0.0)
    assert same(clone(model).fit(X, PART, sample_weight=weight), clone(model).fit(X[:120], PART[:120]))
    hints = X.sum(axis=1)
    moved = np.where(PART < 0, 1e6, hints)
    assert same(clone(model).fit(X, PART, hints=hints), clone(model).fit(X, PART, hints=moved))


def test_numbers_that_are_missing(tmp_path) -> None:
    y = X[:, 0] + X[:, 1] ** 2
    gaps = np.where(PART < 0, np.nan, y)
    plain = NeuralRegressor(**QUICK, penalty="contractive:0.1").fit(X[:50], y[:50])
    model = NeuralRegressor(**QUICK, penalty="contractive:0.1", learn_unlabelled=True).fit(X, gaps)
    assert np.isfinite(model.predict(X)).all() and not np.array_equal(model.predict(X), plain.predict(X))
    assert model.predictor_.targets[0].mean == pytest.approx(plain.predictor_.targets[0].mean, rel=1e-12)
    both = NeuralRegressor(**QUICK, penalty="contractive:0.1", learn_unlabelled=True)
    two = np.stack([gaps, y], axis=1)  # one of the two is missing: the row has no target
    changed = two.copy()
    changed[50:, 1] = 77.0
    assert np.array_equal(both.fit(X, two).predict(X), clone(both).fit(X, changed).predict(X))
    with pytest.raises(DataError, match="holds NaN"):
        model.report(tmp_path / "page.html", X, gaps)


def test_pre_training_sees_rows_without_a_label() -> None:
    model = NeuralClassifier(**QUICK, pretrain="autoencoder:epochs=2", learn_unlabelled=True)
    moved = X.copy()
    moved[-1] += 1.0
    assert not same(clone(model).fit(X, PART), clone(model).fit(moved, PART))


@pytest.mark.parametrize(
    ("changes", "y", "error", "text"),
    [
        ({}, PART, ConfigError, "teach nothing without a penalty"),
        ({"penalty": "l2:0.1"}, PART, ConfigError, "teach nothing without a penalty"),
        ({"penalty": VAT}, Y, ConfigError, "no row is without a target"),
        ({"penalty": VAT}, np.full(150, -1), DataError, "no row has a target"),
        ({"penalty": VAT, "optimizer": "kfac"}, PART, ConfigError, "rows without a target have none"),
    ],
    ids=["nothing", "l2", "full", "empty", "kfac"],
)
def test_refusals_leave_an_earlier_fit_in_force(changes: dict, y: np.ndarray, error: type, text: str) -> None:
    model = NeuralClassifier(**QUICK).fit(X, Y)
    before = model.predict_proba(X)
    model.set_params(**changes, learn_unlabelled=True)
    with pytest.raises(error, match=text):
        model.fit(X, y)
    assert np.array_equal(model.predict_proba(X), before)


@pytest.mark.slow
def test_unlabelled_rows_help_on_two_moons() -> None:
    """Eight labels: alone the boundary is a line between the moons, with the other points it goes round them."""
    x, y = make_moons(400, noise=0.1, random_state=0)
    new, truth = make_moons(1000, noise=0.1, random_state=1)
    same_for_both = {
        "hidden": (32, 32), "dropout": 0.0, "epochs": 60, "batch_size": 32, "second_pass": "none",
        "learning_rate": 0.01, "weight_decay": 1e-4, "penalty": VAT, "threads": 1,
    }  # fmt: skip
    gains = []
    for seed in (0, 2):
        draw = np.random.default_rng(seed)
        kept = np.concatenate([draw.permutation(np.flatnonzero(y == k))[:4] for k in (0, 1)])
        part = np.full(400, -1)
        part[kept] = y[kept]
        few = NeuralClassifier(**same_for_both, random_state=seed).fit(x[kept], y[kept]).score(new, truth)
        all_of_them = NeuralClassifier(**same_for_both, random_state=seed, learn_unlabelled=True).fit(x, part)
        gains.append(all_of_them.score(new, truth) - few)
    assert min(gains) > 0.08  # measured 0.14 and 0.16
