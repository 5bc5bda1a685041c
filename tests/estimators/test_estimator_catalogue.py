"""The bad-input catalogue's section on estimators, and what a fit may and may not touch."""

from __future__ import annotations

import copy
import threading
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina.errors import ConfigError, DataError
from lamina.estimators import NeuralClassifier, NeuralRegressor

X, Y = make_classification(160, 5, n_informative=3, n_redundant=0, random_state=1)
XR, YR = make_regression(160, 5, n_informative=3, noise=1.0, random_state=1)
QUICK = {"epochs": 4, "hidden": 8}


def classifier(**changes):
    return NeuralClassifier(**{**QUICK, "random_state": 0, **changes})


def regressor(**changes):
    return NeuralRegressor(**{**QUICK, "random_state": 0, **changes})


WITH_NAN = np.where(np.arange(len(Y)) == 3, np.nan, YR)
REFUSED = {
    "C2-one-class": (classifier(), X, np.array(["yes"] * 160), None, r"only one class \('yes'\) in 160 rows"),
    "C2-one-class-by-weights": (classifier(), X, Y, (Y == 1) * 1.0, "only one class"),
    "C5-missing-label": (classifier(), X, np.where(Y == 0, np.nan, Y), None, "Input y contains NaN"),
    "C6-nan-target": (regressor(), XR, WITH_NAN, None, "Input y contains NaN"),
    "C6-inf-target": (regressor(), XR, np.where(np.isnan(WITH_NAN), np.inf, YR), None, "Input y contains infinity"),
    "C8-continuous": (classifier(), X, YR, None, "Unknown label type"),
    "C9-mixed-labels": (classifier(), X, np.array([1, "1"] * 80, object), None, "mixed type.*'1'.* 1"),
    "C14-lengths": (classifier(), X, Y[:-1], None, r"inconsistent numbers of samples: \[160, 159\]"),
    "C23-negative": (classifier(), X, Y, -np.ones(160), "Negative values in data passed to `sample_weight`"),
    "C23-length": (classifier(), X, Y, np.ones(3), "sample_weight.shape == "),
    "C23-all-zero": (classifier(), X, Y, np.zeros(160), "(all are 0|all zero|non-zero)"),
    "C23-nan": (regressor(), XR, YR, np.full(160, np.nan), "sample_weight contains NaN"),
    "C29-multi-output": (classifier(), X, np.stack([Y, 1 - Y], 1), None, "should be a 1d array.*not supported"),
    "B39-1-D": (classifier(), X[:, 0], Y, None, "Expected 2D array, got 1D array"),
    "B39-3-D": (classifier(), X[:, :, None], Y, None, "dim 3"),
    "B39-complex": (classifier(), X + 1j, Y, None, "Complex data not supported"),
    "B19-inf": (classifier(), np.where(X > 2, np.inf, X), Y, None, "Input X contains infinity"),
    "parameter": (classifier(activation="rely"), X, Y, None, 'unknown activation .*did you mean "relu"'),
    "parameter-range": (classifier(dropout=1.5), X, Y, None, "NeuralClassifier: dropout must be between 0 and 0.95"),
    "parameter-type": (regressor(epochs="many"), XR, YR, None, "NeuralRegressor: epochs must be whole number"),
    "parameter-fraction": (classifier(validation_fraction=0.9), X, Y, None, "validation_fraction must be between"),
    "parameter-task": (regressor(task="classes"), XR, YR, None, "task must be number or count"),
    "count-negative": (regressor(task="count"), XR, YR, None, "is not a count"),
    "C24-random-state": (classifier(random_state="x"), X, Y, None, "random_state must be None"),
}


@pytest.mark.parametrize(("estimator", "x", "y", "weights", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(estimator, x, y, weights, words) -> None:
    with pytest.raises(ValueError, match=words):
        clone(estimator).fit(x, y, sample_weight=weights)


def test_sparse_is_refused_in_scikit_learns_words() -> None:  # B39
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        classifier().fit(sparse.csr_matrix(X), Y)


FORMS = {
    "B39-fortran": np.asfortranarray(X),
    "B39-byte-swapped": X.astype(">f8"),
    "B39-object": X.astype(object),
    "list": X.tolist(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_same_numbers_in_another_form_give_the_same_fit(form) -> None:
    expected = classifier().fit(X, Y).predict_proba(X)
    assert np.array_equal(classifier().fit(form, Y).predict_proba(form), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint64, bool])
def test_number_types(dtype) -> None:
    x = (np.abs(X) * 3).astype(dtype)
    fitted = classifier().fit(x, Y)
    assert np.allclose(fitted.predict_proba(x), classifier().fit(x.astype(np.float64), Y).predict_proba(x))


LABELS = {
    "bool": np.array([False, True]),
    "bytes": np.array([b"no", b"yes"]),
    "float": np.array([1.0, 3.0]),
    "str": np.array(["no", "yes"]),
    "object": np.array(["no", "yes"], object),
    "negative": np.array([-5, 7], np.int8),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=[f"C10-{name}" for name in LABELS])
def test_labels_come_back_as_they_were(labels, tmp_path) -> None:
    fitted = classifier().fit(X, labels[Y])
    for estimator in (fitted, NeuralClassifier.load(fitted.save(tmp_path / "model"))):
        assert np.array_equal(estimator.classes_, labels) and estimator.classes_.dtype == labels.dtype
        said = estimator.predict(X)
        assert said.dtype == labels.dtype and set(said.tolist()) <= set(labels.tolist())
        assert np.array_equal(said, labels[estimator.predict_proba(X).argmax(1)])


def test_constant_target_gives_the_constant() -> None:  # C11
    assert np.allclose(regressor().fit(XR, np.full(160, 7.25)).predict(XR), 7.25, rtol=1e-7)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_the_target_does_not_matter(unit) -> None:  # C12
    one, other = regressor().fit(XR, YR), regressor().fit(XR, YR * unit)
    assert np.allclose(one.predict(XR) * unit, other.predict(XR), rtol=1e-5, atol=1e-5 * unit * YR.std())


def test_predict_before_fit() -> None:  # C15
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(classifier(), method)(X)
    with pytest.raises(NotFittedError):
        regressor().predict_interval(XR)


def test_other_number_of_columns() -> None:  # C16
    with pytest.raises(ValueError, match="X has 4 features, but NeuralClassifier is expecting 5 features"):
        classifier().fit(X, Y).predict(X[:, :4])


def test_missing_cells_at_predict_are_filled_with_the_median() -> None:  # C18
    fitted = classifier(validation_fraction=0).fit(X, Y)
    gone, filled = X.copy(), X.copy()
    gone[:, 2], filled[:, 2] = np.nan, np.median(X[:, 2])
    assert np.array_equal(fitted.predict_proba(gone), fitted.predict_proba(filled))


def test_no_rows_and_one_row() -> None:  # C19, C20
    fitted = classifier().fit(X, Y)
    assert fitted.predict(X[:0]).shape == (0,) and fitted.predict_proba(X[:0]).shape == (0, 2)
    whole = fitted.predict_proba(X)
    assert np.allclose(fitted.predict_proba(X[5:6]), whole[5:6], rtol=1e-13, atol=0)


def test_fit_again_is_fresh() -> None:  # C21
    expected = classifier().fit(X, Y).predict_proba(X)
    again = classifier()
    again.fit(X[:, ::-1] + 3, 1 - Y)
    assert np.array_equal(again.fit(X, Y).predict_proba(X), expected)
    frame = regressor().fit(XR, np.stack([YR, YR], 1)).fit(XR, YR)
    assert frame.predict(XR).shape == (160,)


@pytest.mark.parametrize("fault", ["y", "parameter", "within"])
def test_failed_fit_leaves_the_old_one(fault, monkeypatch) -> None:  # C22
    fitted = classifier().fit(X, Y)
    expected = fitted.predict_proba(X)
    broken = (X[:, :3], np.zeros(160)) if fault == "y" else (X[:, :3], Y)
    if fault == "parameter":
        fitted.set_params(dropout=7)
    if fault == "within":

        def fail(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr("lamina.estimators.base.train", fail)
    with pytest.raises((ValueError, MemoryError)):
        fitted.fit(*broken)
    assert np.array_equal(fitted.predict_proba(X), expected) and fitted.n_features_in_ == 5


def test_weight_zero_is_absence() -> None:  # C23
    weights = np.arange(160) % 3 != 0
    strange = X.copy()
    strange[~weights] = 1e6
    y = np.where(weights, Y, 5)
    weighted = classifier().fit(strange, y, sample_weight=weights * 1.7)
    absent = classifier().fit(X[weights], Y[weights], sample_weight=np.full(int(weights.sum()), 1.7))
    assert np.array_equal(weighted.classes_, [0, 1])
    assert np.array_equal(weighted.predict_proba(X), absent.predict_proba(X))
    plain = classifier().fit(X[weights], Y[weights])
    assert np.array_equal(
        classifier().fit(strange, y, sample_weight=weights * 1).predict_proba(X), plain.predict_proba(X)
    )


def test_whole_weights_are_copies() -> None:  # C23
    weights = np.arange(90) % 4
    x, y = X[:90], Y[:90]
    copies = np.repeat(np.arange(90), weights)
    options = {"validation_fraction": 0}
    weighted = classifier(**options).fit(x, y, sample_weight=weights).predict_proba(X)
    assert np.array_equal(weighted, classifier(**options).fit(x[copies], y[copies]).predict_proba(X))
    assert not np.allclose(weighted, classifier(**options).fit(x, y).predict_proba(X))


def test_uneven_weights_move_the_answer() -> None:
    x = np.zeros((200, 1))
    x[:, 0] = np.arange(200) % 2
    y = np.arange(200) // 2 % 2  # a coin, whatever x says
    said = classifier(epochs=60).fit(x, y, sample_weight=np.where(y == 1, 3.3, 1.1)).predict_proba(x)[:, 1]
    assert np.allclose(said, 0.75, atol=0.07)


STATES = {
    "None": lambda: None,
    "int": lambda: 7,
    "numpy-int": lambda: np.int32(7),
    "RandomState": lambda: np.random.RandomState(7),
    "Generator": lambda: np.random.default_rng(7),
}


@pytest.mark.parametrize("state", STATES.values(), ids=[f"C24-{name}" for name in STATES])
def test_random_state(state) -> None:
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = (classifier(random_state=state()).fit(X, Y).predict_proba(X) for _ in range(2))
    assert np.array_equal(np.random.get_state()[1], before[0]) and torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(first, second) is (state() is not None)


def test_the_order_of_the_rows_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(160)
    assert np.array_equal(
        classifier().fit(X[order], Y[order]).predict_proba(X), classifier().fit(X, Y).predict_proba(X)
    )


def test_parameters_of_a_pipeline() -> None:  # C25
    pipeline = make_pipeline(StandardScaler(), classifier())
    pipeline.set_params(neuralclassifier__hidden=(4, 4))
    assert clone(pipeline).get_params()["neuralclassifier__hidden"] == (4, 4)
    with pytest.raises(ValueError, match="Invalid parameter 'hiden' for estimator NeuralClassifier"):
        classifier().set_params(hiden=3)


def test_search_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier())
    search = GridSearchCV(
        pipeline,
        {"neuralclassifier__hidden": [4, (8, 8)], "neuralclassifier__weight_decay": np.logspace(-4, -2, 2)},
        cv=2,
    )
    assert 0 <= search.fit(X, Y).best_score_ <= 1
    assert cross_val_score(regressor(), XR, YR, cv=2).shape == (2,)


def test_copies_and_threads_give_equal_answers() -> None:  # C26
    fitted = classifier().fit(X, Y)
    expected = fitted.predict_proba(X)
    assert np.array_equal(copy.deepcopy(fitted).predict_proba(X), expected)
    wrong: list[int] = []

    def ask(i: int) -> None:
        for _ in range(30):
            part = slice(i * 7, i * 7 + 50)
            if not np.allclose(fitted.predict_proba(X[part]), expected[part], rtol=1e-12, atol=0):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_quiet(capfd) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor().fit(XR, YR).predict(XR)
    assert capfd.readouterr() == ("", "")
    regressor(verbose=True).fit(XR, YR)
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("epoch 1/4") and "valid_loss" in err


def test_several_targets_and_intervals() -> None:
    y = np.stack([YR, -3 * YR + 5], axis=1)
    fitted = regressor(epochs=60, hidden=32).fit(XR, y)
    said = fitted.predict(XR)
    low, high = fitted.predict_interval(XR)
    assert said.shape == low.shape == high.shape == y.shape
    assert (low < said).all() and (said < high).all()
    assert np.mean((low <= y) & (y <= high)) > 0.8
    wide = fitted.predict_interval(XR, level=0.99)
    assert (wide[0] < low).all() and (high < wide[1]).all()
    with pytest.raises(ConfigError, match="level must be between 0 and 1"):
        fitted.predict_interval(XR, level=90)


def test_counts() -> None:
    rate = np.exp(0.5 * XR[:, 0])
    counts = np.random.default_rng(0).poisson(rate)
    said = regressor(task="count", epochs=60, hidden=32, learning_rate=1e-2).fit(XR, counts).predict(XR)
    assert (said > 0).all() and np.corrcoef(said, rate)[0, 1] > 0.5


def test_errors_are_lamina_errors_too() -> None:
    with pytest.raises(DataError):
        classifier().fit(X, np.zeros(160))
    with pytest.raises(ConfigError):
        classifier(weight_decay=-1).fit(X, Y)
