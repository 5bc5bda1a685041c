"""Layers that PyTorch lacks, as plain modules, and networks for vectors and tables."""

from lamina.nn.activations import ACTIVATIONS, POOLING_UNITS
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
from lamina.nn.column_embedding import ColumnEmbedding, TableShape, embedding_width
from lamina.nn.connections.gate import Gate
from lamina.nn.connections.highway import Highway
from lamina.nn.connections.highway_recurrent import HighwayRecurrent
from lamina.nn.connections.low_rank import LowRankLinear
from lamina.nn.connections.skips import SkipConnections
from lamina.nn.count import Count, LayerCount, count
from lamina.nn.data_driven_scale import data_driven_scale
from lamina.nn.dropout_inference import geometric_mean_dropout, monte_carlo_dropout
from lamina.nn.ensemble import Ensemble, ensemble_error
from lamina.nn.gradient_spread import gradient_spread
from lamina.nn.hints import with_hints, without_hints
from lamina.nn.linear import linear
from lamina.nn.mask_dropout import MaskDropout
from lamina.nn.mlp import MLP, ResidualMLP
from lamina.nn.noise.gaussian_noise import GaussianNoise
from lamina.nn.noise.insert import insert_noise
from lamina.nn.noise.label_noise import label_noise
from lamina.nn.noise.multiplicative_noise import MultiplicativeNoise
from lamina.nn.noise.weight_noise import WeightNoise
from lamina.nn.normalisation.batch_norm import BatchNorm
from lamina.nn.normalisation.weight_norm import weight_norm
from lamina.nn.pixels import PixelScaling
from lamina.nn.residual import Residual
from lamina.nn.shared_gradients import average_shared_gradients
from lamina.nn.units.heaviside import Heaviside
from lamina.nn.units.maxout import Maxout, MaxPoolUnits
from lamina.nn.units.noisy_relu import NoisyReLU
from lamina.nn.units.p_norm import PNorm, PNormPoolUnits
from lamina.nn.units.rbf import RBF
from lamina.nn.units.scaled_sigmoid import ScaledSigmoid
from lamina.nn.units.scaled_tanh import ScaledTanh
from lamina.nn.units.soft_maxout import SoftMaxout, SoftMaxPoolUnits
from lamina.nn.units.softmax_selector import SoftmaxSelector

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "POOLING_UNITS",
    "RBF",
    "BatchNorm",
    "ColumnEmbedding",
    "Count",
    "Ensemble",
    "ExtremeLearningMachine",
    "Gate",
    "GaussianNoise",
    "Heaviside",
    "Highway",
    "HighwayRecurrent",
    "LayerCount",
    "LogisticDerivatives",
    "LowRankLinear",
    "MaskDropout",
    "MaxPoolUnits",
    "Maxout",
    "MultiplicativeNoise",
    "NoisyReLU",
    "PNorm",
    "PNormPoolUnits",
    "Perceptron",
    "PerceptronFit",
    "PixelScaling",
    "PolynomialBasis",
    "Residual",
    "ResidualMLP",
    "ScaledSigmoid",
    "ScaledTanh",
    "SingleLayerPerceptron",
    "SkipConnections",
    "SoftMaxPoolUnits",
    "SoftMaxout",
    "SoftmaxSelector",
    "TableShape",
    "WeightNoise",
    "approximate",
    "approximate_plane",
    "average_shared_gradients",
    "boolean_network",
    "count",
    "data_driven_scale",
    "delta_rule",
    "elastic_net",
    "embedding_width",
    "ensemble_error",
    "geometric_mean_dropout",
    "gradient_spread",
    "insert_noise",
    "label_noise",
    "least_squares_classifier",
    "linear",
    "linear_regression",
    "logistic_derivatives",
    "logistic_regression",
    "monte_carlo_dropout",
    "parity_network",
    "perceptron_rule",
    "signed_targets",
    "weight_norm",
    "with_hints",
    "without_hints",
    "xor_network",
]
