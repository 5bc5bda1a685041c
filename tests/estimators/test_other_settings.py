"""Settings of the command line as an estimator takes them: each is heard, kept, and refused where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV

from lamina.errors import ConfigError
from lamina.estimators import NeuralClassifier, NeuralRegressor
from lamina.estimators.other_settings import OTHERS
from lamina.runs.settings import Settings

X, Y = make_classification(120, 5, n_informative=3, n_redundant=0, random_state=1)
XR, YR = make_regression(120, 5, noise=1.0, random_state=1)
QUICK: dict[str, Any] = {"epochs": 3, "hidden": (6, 6), "random_state": 0, "threads": 1, "second_pass": "none"}

# What must differ from the same fit without it; with the parameters that it needs.
HEARD: dict[str, tuple[Any, dict[str, Any]]] = {
    "accumulate": (3, {}),
    "data_scale": (True, {}),
    "freeze": (["linear1"], {}),
    "hidden_noise": (0.5, {}),
    "initialisation": ("sparse:k=2", {}),
    "input_dropout": (0.4, {}),
    "input_noise": (0.5, {}),
    "label_noise": (0.4, {}),
    "multiplicative_noise": (0.5, {}),
    "norm_limit": (0.3, {}),
    "pieces": (3, {"activation": "maxout"}),
    "precision": ("bfloat16", {}),
    "proximal": (0.1, {}),
    "share": (["2+3"], {"hidden": (6, 6, 6)}),
    "slower": ([0.1], {}),
    "weight_noise": (0.5, {}),
    "combine": ("vote", {"bag": 3}),
}
ELSEWHERE = {"beta", "compile", "monitor", "norm_per", "pairs", "start_from", "tie_to_start"}


def test_every_setting_that_is_taken_is_tried_here() -> None:
    assert set(HEARD) | ELSEWHERE == set(OTHERS) <= set(Settings.__dataclass_fields__)
    assert not set(OTHERS) & set(NeuralClassifier().get_params())


@pytest.mark.parametrize("name", HEARD)
def test_it_is_heard(name: str) -> None:
    value, needs = HEARD[name]
    plain = NeuralClassifier(**QUICK | needs).fit(X, Y)
    other = clone(NeuralClassifier(**QUICK | needs, settings={name: value})).fit(X, Y)
    assert not np.array_equal(plain.predict_proba(X), other.predict_proba(X))
    found = getattr(other.settings_, name)
    assert found == (tuple(map(str, value)) if isinstance(value, list) else value)


def test_those_that_need_something_else(tmp_path: Path) -> None:
    limits = [
        NeuralClassifier(**QUICK, settings={"norm_limit": 0.5, "norm_per": per}).fit(X, Y).predict_proba(X)
        for per in ("unit", "whole")
    ]
    assert not np.array_equal(*limits)
    betas = [NeuralRegressor(**QUICK, settings={"beta": beta}).fit(XR, YR).predict(XR) for beta in (0.0, 1.0)]
    assert not np.array_equal(*betas)
    watched = NeuralClassifier(**QUICK, settings={"monitor": "valid_accuracy"}).fit(X, Y)
    assert watched.settings_.monitor == "valid_accuracy"
    start = NeuralClassifier(**QUICK).fit(X, Y)
    start.save(tmp_path / "start")
    on = {"start_from": str(tmp_path / "start")}
    again = NeuralClassifier(**QUICK, learning_rate=1e-12, settings=on).fit(X, Y)
    np.testing.assert_allclose(again.decision_function(X), start.decision_function(X), atol=1e-4)
    tied = NeuralClassifier(**QUICK, settings=on | {"tie_to_start": 10.0}).fit(X, Y)
    assert not np.array_equal(tied.predict_proba(X), NeuralClassifier(**QUICK, settings=on).fit(X, Y).predict_proba(X))
    labels = np.where(np.arange(120) < 60, Y, -1)
    pairs = NeuralClassifier(**QUICK, learn_unlabelled=True, settings={"pairs": "1:neighbours=2"}).fit(X, labels)
    assert any("60 rows without a target learnt from" in note for note in pairs.notes_)


def test_it_is_kept_and_searched(tmp_path: Path) -> None:
    model = NeuralClassifier(**QUICK, settings={"hidden-noise": np.float64(0.1), "freeze": ("linear1",)}).fit(X, Y)
    assert model.settings_.hidden_noise == 0.1 and model.settings_.freeze == ("linear1",)
    again = NeuralClassifier.load(model.save(tmp_path / "model"))
    assert again.settings == {"hidden-noise": 0.1, "freeze": ["linear1"]}
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(clone(again).fit(X, Y).predict_proba(X), model.predict_proba(X))
    search = GridSearchCV(NeuralClassifier(**QUICK), {"settings": [None, {"label_noise": 1.0}]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"settings": None}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dropout": 0.1}, "parameter of its own"),
        ({"hiden_noise": 0.1}, "hidden_noise"),
        ({"encoding": "latin-1"}, "no setting"),
        ({"hidden_noise": -1.0}, "hidden_noise"),
        ({"hidden_noise": "much"}, "hidden_noise must be number"),
        ([("hidden_noise", 0.1)], "must be a dictionary"),
        ({"initialisation": "spars"}, "sparse"),
        ({"combine": "vote"}, "nobody to vote with"),
    ],
)
def test_what_cannot_be_is_refused(settings: Any, words: str) -> None:
    model = NeuralClassifier(**QUICK, settings=settings)
    with pytest.raises(ConfigError, match=words):
        model.fit(X, Y)
    assert not hasattr(model, "predictor_")
