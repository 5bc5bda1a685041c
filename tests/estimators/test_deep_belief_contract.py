"""scikit-learn's own battery for the deep belief network, without an expected failure."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from lamina.estimators.deep_belief import DeepBeliefNetwork


@parametrize_with_checks([DeepBeliefNetwork((16, 8), pretrain_epochs=1, epochs=40, learning_rate=3e-2)])
def test_check_estimator(estimator, check):
    check(estimator)
