"""Hidden units that PyTorch lacks, or has in another form than the courses."""

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
    "RBF",
    "Heaviside",
    "MaxPoolUnits",
    "Maxout",
    "NoisyReLU",
    "PNorm",
    "PNormPoolUnits",
    "ScaledSigmoid",
    "ScaledTanh",
    "SoftMaxPoolUnits",
    "SoftMaxout",
    "SoftmaxSelector",
]
