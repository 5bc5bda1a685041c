"""Training: the loop, steps, callbacks, checkpoints."""

from lamina.training.after_step import AfterStep, NormConstraint, ProximalStep
from lamina.training.averaged_weights import AveragedWeights
from lamina.training.backprop import BackpropStep
from lamina.training.bold_driver import BoldDriverByEpoch
from lamina.training.callback import Callback
from lamina.training.choose import choose_step
from lamina.training.closure_step import ClosureStep
from lamina.training.fit import fit, full_state
from lamina.training.gradient_step import GradientStep
from lamina.training.greedy import GreedyLayer, LayerLearner, encoded, pretrain_greedy
from lamina.training.hidden_layers import HiddenLayer, hidden_layers
from lamina.training.history import History
from lamina.training.hogwild import hogwild
from lamina.training.layerwise import pretrain_layerwise
from lamina.training.momentum_schedule import MomentumSchedule
from lamina.training.objective import Loss, Objective, Supervised
from lamina.training.pairwise import PairwiseSemiSupervised, Siamese
from lamina.training.range_test import RangeTest, learning_rate_range_test
from lamina.training.restart import MultiStart, Restart, multi_start
from lamina.training.run import Run
from lamina.training.semi_supervised import SemiSupervised
from lamina.training.step import Step
from lamina.training.step_cost import StepCost, StepCostMonitor, step_cost
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
    "AveragedWeights",
    "BackpropStep",
    "BoldDriverByEpoch",
    "Callback",
    "ClosureStep",
    "GradientStep",
    "GreedyLayer",
    "HiddenLayer",
    "History",
    "LayerLearner",
    "Loss",
    "MomentumSchedule",
    "MultiStart",
    "NormConstraint",
    "Objective",
    "PairwiseSemiSupervised",
    "ProximalStep",
    "RangeTest",
    "Restart",
    "Run",
    "SemiSupervised",
    "Siamese",
    "Step",
    "StepCost",
    "StepCostMonitor",
    "Supervised",
    "Transfer",
    "choose_step",
    "depth_factors",
    "encoded",
    "fit",
    "freeze",
    "full_state",
    "hidden_layers",
    "hogwild",
    "initialise_from",
    "layers_by_depth",
    "learning_rate_groups",
    "learning_rate_range_test",
    "multi_start",
    "pretrain_greedy",
    "pretrain_layerwise",
    "step_cost",
    "unfreeze",
]
