"""An estimator in a folder: the same answers, the same parameters, and every damage refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError

from lamina.errors import CheckpointError, ConfigError
from lamina.estimators import NeuralClassifier, NeuralRegressor
from lamina.estimators.stored import stored_facts
from lamina.runs.predictor import Predictor

X, Y = make_classification(160, 5, n_informative=3, n_redundant=0, random_state=1)
XR, YR = make_regression(160, 5, noise=1.0, random_state=1)
QUICK = {"epochs": 4, "hidden": (8, 4), "random_state": 0}


@pytest.fixture(scope="module")
def fitted() -> NeuralClassifier:
    return NeuralClassifier(**QUICK, weight_decay=np.float64(1e-4)).fit(X, Y)


def test_classifier_returns_as_it_was(fitted, tmp_path) -> None:
    again = NeuralClassifier.load(fitted.save(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(again.predict(X), fitted.predict(X)) and again.n_features_in_ == 5
    kept = again.get_params()
    assert kept["hidden"] == [8, 4] and kept["weight_decay"] == 1e-4 and kept["random_state"] == 0
    assert np.array_equal(again.fit(X, Y).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("y", [YR, np.stack([YR, -YR], 1)], ids=["one", "two"])
def test_regressor_returns_as_it_was(y, tmp_path) -> None:
    fitted = NeuralRegressor(**{**QUICK, "random_state": np.random.default_rng(0)}).fit(XR, y)
    again = NeuralRegressor.load(fitted.save(tmp_path / "model"))
    assert np.array_equal(again.predict(XR), fitted.predict(XR))
    assert np.array_equal(again.predict_interval(XR), fitted.predict_interval(XR))
    assert again.random_state is None  # a generator cannot be kept


def test_the_other_class_is_refused(fitted, tmp_path) -> None:
    path = fitted.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a NeuralClassifier, not a NeuralRegressor"):
        NeuralRegressor.load(path)
    with pytest.raises(CheckpointError):
        NeuralClassifier.load(tmp_path / "nothing")


def test_a_model_without_an_estimators_facts_is_an_estimator(fitted, tmp_path) -> None:
    path = fitted.predictor_.save(tmp_path / "model")
    again = NeuralClassifier.load(path)
    frame = {name: X[:, j] for j, name in enumerate(fitted._columns)}
    pd = pytest.importorskip("pandas")
    assert np.allclose(again.predict_proba(pd.DataFrame(frame)), fitted.predict_proba(X))
    with pytest.raises(CheckpointError, match="predicts classes"):
        NeuralRegressor.load(path)


DAMAGE = {
    "parameter": lambda facts: facts["parameters"].update(hiden=3),
    "parameters": lambda facts: facts.update(parameters=[1]),
    "columns": lambda facts: facts.update(columns=["column1"]),
    "columns-type": lambda facts: facts.update(columns=[1, 2, 3, 4, 5]),
    "labels": lambda facts: facts.update(labels="<M8[ns]"),
    "labels-no-type": lambda facts: facts.update(labels="%%"),
    "numbers": lambda facts: facts.update(numbers="yes"),
    "gone": lambda facts: facts.pop("named"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_facts(damage, fitted, tmp_path) -> None:
    predictor = Predictor.load(fitted.save(tmp_path / "model"))
    facts = json.loads(json.dumps(predictor.facts["estimator"]))
    whole = Predictor(
        *(getattr(predictor, n) for n in ("card", "model", "preparation", "targets", "likelihood")),
        {"estimator": facts},
    )
    names = NeuralClassifier._get_param_names()
    assert stored_facts(whole, "NeuralClassifier", names, "here").columns == fitted._columns
    damage(facts)
    with pytest.raises(CheckpointError, match="here: what it says of the estimator cannot be used"):
        stored_facts(whole, "NeuralClassifier", names, "here")


def test_labels_of_another_type_are_refused(fitted, tmp_path) -> None:
    predictor = Predictor.load(NeuralClassifier(**QUICK).fit(X, np.array(["no", "yes"])[Y]).save(tmp_path / "model"))
    with pytest.raises(CheckpointError, match="its labels are not of their type"):
        NeuralClassifier()._adopt(predictor, "<i8", "here")


def test_save_before_fit(tmp_path) -> None:
    with pytest.raises(NotFittedError):
        NeuralClassifier().save(tmp_path / "model")


def test_report(fitted, tmp_path) -> None:
    page = fitted.report(tmp_path / "report.html").read_text()
    assert "NeuralClassifier" in page and "validation" in page and not re.search(r"(src|href)=.https?:", page)
    tested = fitted.report(tmp_path / "tested.html", X[:50], Y[:50]).read_text()
    assert tested.count(">test<") + tested.count("test part") > page.count(">test<") + page.count("test part")
    numbers = NeuralRegressor(**QUICK, validation_fraction=0).fit(XR, np.stack([YR, -YR], 1))
    assert numbers.report(tmp_path / "numbers.html").stat().st_size > 10_000


def test_report_escapes_labels(tmp_path) -> None:
    labels = np.array(["<script>alert(1)</script>", "<b>"])[Y]
    page = NeuralClassifier(**QUICK).fit(X, labels).report(tmp_path / "r.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_report_needs_a_fit_and_both_x_and_y(fitted, tmp_path) -> None:
    with pytest.raises(ConfigError, match="no figures of its training"):
        NeuralClassifier.load(fitted.save(tmp_path / "model")).report(tmp_path / "r.html")
    with pytest.raises(ConfigError, match="give X and y"):
        fitted.report(tmp_path / "r.html", X)
    with pytest.raises(ValueError, match="the label 7 was not in the fit"):
        fitted.report(tmp_path / "r.html", X, np.full(160, 7))
