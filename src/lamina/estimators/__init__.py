"""scikit-learn estimators: the same training as ``lamina fit``, as objects for pipelines and searches."""

from lamina.estimators.boltzmann import BernoulliRBM, GaussianRBM
from lamina.estimators.classifier import NeuralClassifier
from lamina.estimators.deep_belief import DeepBeliefNetwork
from lamina.estimators.regressor import NeuralRegressor

__all__ = ["BernoulliRBM", "DeepBeliefNetwork", "GaussianRBM", "NeuralClassifier", "NeuralRegressor"]
