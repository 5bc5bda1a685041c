"""Penalties: terms added to an objective."""

from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Context, Penalty, WeightedSum
from lamina.penalties.conditional_entropy import ConditionalEntropy
from lamina.penalties.contractive import Contractive
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from lamina.penalties.double_backprop import DoubleBackprop
from lamina.penalties.elastic_net import ElasticNet
from lamina.penalties.image_tangents import image_tangents
from lamina.penalties.information_flow import InformationFlow, information_flow
from lamina.penalties.l1 import L1
from lamina.penalties.l2 import L2
from lamina.penalties.manifold_tangent import ManifoldTangentProp, ManifoldTangents
from lamina.penalties.per_layer import PerLayerDecay
from lamina.penalties.sparse_representation import SparseRepresentation
from lamina.penalties.tangent_prop import TangentProp
from lamina.penalties.tying import Tying, TyingTo
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from lamina.penalties.weight_elimination import WeightElimination

__all__ = [
    "L1",
    "L2",
    "Adversarial",
    "ConditionalEntropy",
    "Context",
    "Contractive",
    "CurvatureSmoothing",
    "DoubleBackprop",
    "ElasticNet",
    "InformationFlow",
    "ManifoldTangentProp",
    "ManifoldTangents",
    "Penalty",
    "PerLayerDecay",
    "SparseRepresentation",
    "TangentProp",
    "Tying",
    "TyingTo",
    "VirtualAdversarial",
    "WeightElimination",
    "WeightedSum",
    "image_tangents",
    "information_flow",
]
