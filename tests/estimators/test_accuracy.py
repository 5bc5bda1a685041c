"""Accuracy beside scikit-learn's own multilayer perceptron, on data that come with it; seeds fixed."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, KFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina.estimators import NeuralClassifier, NeuralRegressor
from lamina.methodology.train import Trained


@pytest.mark.slow
def test_breast_cancer() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    ours = cross_val_score(NeuralClassifier(random_state=0), x, y, cv=folds).mean()
    theirs = cross_val_score(
        make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=400)), x, y, cv=folds
    )
    assert ours > 0.96 and ours >= theirs.mean() - 0.01


@pytest.mark.slow
def test_diabetes() -> None:
    x, y = load_diabetes(return_X_y=True)
    folds = KFold(3, shuffle=True, random_state=0)
    ours = cross_val_score(NeuralRegressor(random_state=0), x, y, cv=folds).mean()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = cross_val_score(
            make_pipeline(StandardScaler(), MLPRegressor(random_state=0, max_iter=500)), x, y, cv=folds
        )
    assert ours > 0.38 and ours >= theirs.mean() - 0.02


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
