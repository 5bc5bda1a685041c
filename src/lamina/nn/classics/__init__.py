"""The smallest learners and the networks that can be written down: what came before, and lies under, deep networks."""

from lamina.nn.classics.basis_expansion import PolynomialBasis
from lamina.nn.classics.delta_rule import SingleLayerPerceptron, delta_rule
from lamina.nn.classics.elastic_net import elastic_net
from lamina.nn.classics.extreme_learning_machine import ExtremeLearningMachine
from lamina.nn.classics.least_squares_classifier import least_squares_classifier, signed_targets
from lamina.nn.classics.linear_regression import linear_regression
from lamina.nn.classics.logistic_regression import LogisticDerivatives, logistic_derivatives, logistic_regression
from lamina.nn.classics.perceptron import Perceptron, PerceptronFit, perceptron_rule
from lamina.nn.classics.threshold_networks import boolean_network, parity_network, xor_network
from lamina.nn.classics.universal_approximation import approximate, approximate_plane

__all__ = [
    "ExtremeLearningMachine",
    "LogisticDerivatives",
    "Perceptron",
    "PerceptronFit",
    "PolynomialBasis",
    "SingleLayerPerceptron",
    "approximate",
    "approximate_plane",
    "boolean_network",
    "delta_rule",
    "elastic_net",
    "least_squares_classifier",
    "linear_regression",
    "logistic_derivatives",
    "logistic_regression",
    "parity_network",
    "perceptron_rule",
    "signed_targets",
    "xor_network",
]
