"""scikit-learn's own battery, without an expected failure."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from lamina.estimators import NeuralClassifier, NeuralRegressor

FEW = 25
ESTIMATORS = [NeuralClassifier(epochs=FEW, learning_rate=1e-2), NeuralRegressor(epochs=FEW, learning_rate=1e-2)]


@parametrize_with_checks(ESTIMATORS)
def test_check_estimator(estimator, check):
    check(estimator)
