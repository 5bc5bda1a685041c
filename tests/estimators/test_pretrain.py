"""Pre-training as a parameter of the estimators: stored, told, reported, refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression

from lamina.errors import ConfigError
from lamina.estimators import NeuralClassifier, NeuralRegressor

X, Y = make_classification(120, 5, n_informative=3, n_redundant=0, random_state=1)
QUICK = {"epochs": 2, "hidden": (8, 6), "random_state": 0, "threads": 1, "second_pass": "none"}


def test_the_layers_of_a_classifier_learn_first(tmp_path, capsys) -> None:
    plain = NeuralClassifier(**QUICK, activation="sigmoid").fit(X, Y)
    model = clone(NeuralClassifier(**QUICK, activation="sigmoid", pretrain="rbm:epochs=3", verbose=True)).fit(X, Y)
    assert not np.array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert model.notes_[0].startswith("pre-training, rbm: 2 layers, 3 epochs each; inputs do not all lie from 0 to 1")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["linear1"] * 3 + ["linear2"] * 3 + ["epoch"] * 2
    page = model.report(tmp_path / "report.html").read_text()
    assert 'id="pretraining"' in page and 'id="l2-weights-title"' in page
    again = NeuralClassifier.load(model.save(tmp_path / "model"))
    assert again.get_params()["pretrain"] == "rbm:epochs=3"
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert 'id="pretraining"' not in plain.report(tmp_path / "plain.html").read_text()


def test_a_regressor_takes_it_too_and_words_are_checked() -> None:
    x, y = make_regression(120, 5, n_informative=3, random_state=1)
    model = NeuralRegressor(**QUICK, pretrain="denoising:epochs=1:noise=gaussian").fit(x, y)
    assert model.settings_.pretrain == "denoising:epochs=1:noise=gaussian"
    with pytest.raises(ConfigError, match='NeuralRegressor: there is no pre-training "autoencoders"; did you mean'):
        NeuralRegressor(**QUICK, pretrain="autoencoders").fit(x, y)
    with pytest.raises(ConfigError, match="sigmoid units, and activation is relu") as caught:
        NeuralClassifier(**QUICK, pretrain="rbm").fit(X, Y)
    assert "activation=sigmoid" in caught.value.mend
