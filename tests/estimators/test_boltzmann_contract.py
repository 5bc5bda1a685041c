"""scikit-learn's own battery for the Boltzmann machines, without an expected failure."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from lamina.estimators.boltzmann import BernoulliRBM, GaussianRBM

pytestmark = pytest.mark.filterwarnings("ignore:X lies from:UserWarning")


@parametrize_with_checks([BernoulliRBM(8), GaussianRBM(8), BernoulliRBM(8, persistent=True, momentum=0.5)])
def test_check_estimator(estimator, check):
    check(estimator)
