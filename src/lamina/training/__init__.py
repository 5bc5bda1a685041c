"""Training: the loop, steps, callbacks, checkpoints."""

from lamina.training.backprop import BackpropStep
from lamina.training.callback import Callback
from lamina.training.choose import choose_step
from lamina.training.fit import fit, full_state
from lamina.training.gradient_step import GradientStep
from lamina.training.history import History
from lamina.training.objective import Loss, Objective, Supervised
from lamina.training.run import Run
from lamina.training.step import Step

__all__ = [
    "BackpropStep",
    "Callback",
    "GradientStep",
    "History",
    "Loss",
    "Objective",
    "Run",
    "Step",
    "Supervised",
    "choose_step",
    "fit",
    "full_state",
]
