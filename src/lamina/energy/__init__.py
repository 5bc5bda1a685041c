"""Energy-based and deep generative models: Boltzmann machines, belief networks, and their learning."""

from lamina.energy.annealing_path import RBMPath
from lamina.energy.binary_draws import BinaryDraws, draw_binary
from lamina.energy.cd_step import ContrastiveDivergenceStep
from lamina.energy.contrastive_divergence import ContrastiveDivergence
from lamina.energy.deep_belief import DeepBeliefNetwork, tied_machine
from lamina.energy.deep_belief_greedy import pretrain_deep_belief
from lamina.energy.deep_boltzmann import DeepBoltzmannMachine
from lamina.energy.deep_boltzmann_greedy import pretrain_deep_boltzmann
from lamina.energy.deep_boltzmann_path import DeepBoltzmannPath
from lamina.energy.directed import DirectedLayers
from lamina.energy.exact import all_states
from lamina.energy.joined_units import Joined
from lamina.energy.mean_field_learning import MeanFieldLearning
from lamina.energy.pseudo_likelihood import pseudo_likelihood
from lamina.energy.rbm import RBM
from lamina.energy.rbm_layer import RBMLayer
from lamina.energy.sigmoid_belief import SigmoidBeliefNetwork
from lamina.energy.stochastic_layer import StochasticLayer
from lamina.energy.tempering import Tempered, parallel_tempering
from lamina.energy.units import Bernoulli, Binomial, Gaussian, Rectified, Softmax, Units
from lamina.energy.up_down import UpDown
from lamina.energy.variational import VariationalBound, variational_bound
from lamina.energy.wake_sleep import WakeSleep

__all__ = [
    "RBM",
    "Bernoulli",
    "BinaryDraws",
    "Binomial",
    "ContrastiveDivergence",
    "ContrastiveDivergenceStep",
    "DeepBeliefNetwork",
    "DeepBoltzmannMachine",
    "DeepBoltzmannPath",
    "DirectedLayers",
    "Gaussian",
    "Joined",
    "MeanFieldLearning",
    "RBMLayer",
    "RBMPath",
    "Rectified",
    "SigmoidBeliefNetwork",
    "Softmax",
    "StochasticLayer",
    "Tempered",
    "Units",
    "UpDown",
    "VariationalBound",
    "WakeSleep",
    "all_states",
    "draw_binary",
    "parallel_tempering",
    "pretrain_deep_belief",
    "pretrain_deep_boltzmann",
    "pseudo_likelihood",
    "tied_machine",
    "variational_bound",
]
