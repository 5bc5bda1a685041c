"""Training: the loop, steps, callbacks, checkpoints."""

from lamina.training.after_step import AfterStep, NormConstraint, ProximalStep
from lamina.training.backprop import BackpropStep
from lamina.training.callback import Callback
from lamina.training.choose import choose_step
from lamina.training.fit import fit, full_state
from lamina.training.gradient_step import GradientStep
from lamina.training.history import History
from lamina.training.layerwise import pretrain_layerwise
from lamina.training.objective import Loss, Objective, Supervised
from lamina.training.pairwise import PairwiseSemiSupervised, Siamese
from lamina.training.run import Run
from lamina.training.semi_supervised import SemiSupervised
from lamina.training.step import Step
from lamina.training.transfer import (
    Transfer,
    depth_factors,
    freeze,
    initialise_from,
    layers_by_depth,
    learning_rate_groups,
    unfreeze,
)

__all__ = [
    "AfterStep",
    "BackpropStep",
    "Callback",
    "GradientStep",
    "History",
    "Loss",
    "NormConstraint",
    "Objective",
    "PairwiseSemiSupervised",
    "ProximalStep",
    "Run",
    "SemiSupervised",
    "Siamese",
    "Step",
    "Supervised",
    "Transfer",
    "choose_step",
    "depth_factors",
    "fit",
    "freeze",
    "full_state",
    "initialise_from",
    "layers_by_depth",
    "learning_rate_groups",
    "pretrain_layerwise",
    "unfreeze",
]
