"""Accuracy beside scikit-learn's own multilayer perceptron, on data that come with it; seeds fixed."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina.estimators import NeuralClassifier, NeuralRegressor
from lamina.methodology.train import Trained


@pytest.mark.slow
def test_breast_cancer() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x, xt, y, yt = train_test_split(x, y, test_size=0.33, stratify=y, random_state=0)
    ours = np.median([NeuralClassifier(random_state=seed).fit(x, y).score(xt, yt) for seed in range(3)])
    theirs = make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=400)).fit(x, y).score(xt, yt)
    assert ours > 0.95 and ours >= theirs - 0.015  # 0.01 is two rows


@pytest.mark.slow
def test_diabetes() -> None:
    x, y = load_diabetes(return_X_y=True)
    x, xt, y, yt = train_test_split(x, y, test_size=0.33, random_state=0)
    ours = NeuralRegressor(random_state=0).fit(x, y).score(xt, yt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = make_pipeline(StandardScaler(), MLPRegressor(random_state=0, max_iter=500)).fit(x, y).score(xt, yt)
    assert ours > 0.25 and ours >= theirs


def test_one_row_is_answered_in_milliseconds(tmp_path) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    fitted = NeuralClassifier.load(NeuralClassifier(epochs=2, random_state=0).fit(x, y).save(tmp_path / "model"))
    laps = []
    for _ in range(100):
        began = time.process_time()
        fitted.predict(x[:1])
        laps.append(time.process_time() - began)
    assert np.median(laps) < 0.010  # measured 0.0005; the machine may be busy


def test_a_plain_stack_is_trained_by_back_propagation_by_hand(monkeypatch) -> None:
    import lamina.estimators.base as base

    steps: list[str] = []
    train = base.train

    def watched(*arguments: object, **named: object) -> Trained:
        trained = train(*arguments, **named)
        steps.append(trained.step)
        return trained

    monkeypatch.setattr(base, "train", watched)
    x, y = load_breast_cancer(return_X_y=True)
    NeuralClassifier(epochs=1).fit(x, y)
    NeuralClassifier(epochs=1, step="autograd").fit(x, y)
    assert steps == ["BackpropStep", "GradientStep"]
