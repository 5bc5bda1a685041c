"""Energy-based models: restricted Boltzmann machines and their learning."""

from lamina.energy.annealing_path import RBMPath
from lamina.energy.cd_step import ContrastiveDivergenceStep
from lamina.energy.contrastive_divergence import ContrastiveDivergence
from lamina.energy.exact import all_states
from lamina.energy.pseudo_likelihood import pseudo_likelihood
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Binomial, Gaussian, Rectified, Softmax, Units

__all__ = [
    "RBM",
    "Bernoulli",
    "Binomial",
    "ContrastiveDivergence",
    "ContrastiveDivergenceStep",
    "Gaussian",
    "RBMPath",
    "Rectified",
    "Softmax",
    "Units",
    "all_states",
    "pseudo_likelihood",
]
