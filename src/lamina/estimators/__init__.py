"""scikit-learn estimators: the same training as ``lamina fit``, as objects for pipelines and searches."""

from lamina.estimators.classifier import NeuralClassifier
from lamina.estimators.regressor import NeuralRegressor

__all__ = ["NeuralClassifier", "NeuralRegressor"]
