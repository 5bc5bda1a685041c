"""Chooses the step: hand-written back-propagation where the stack allows it, autograd elsewhere."""

from __future__ import annotations

from typing import Literal

from torch import nn

from lamina.errors import ConfigError
from lamina.training.backprop import BackpropStep, OptimizerFactory, parameter_groups
from lamina.training.gradient_step import GradientStep, Precision
from lamina.training.objective import Objective
from lamina.training.step import Step


def choose_step(
    model: nn.Module,
    objective: Objective,
    make_optimizer: OptimizerFactory,
    *,
    kind: Literal["auto", "autograd", "backprop"] = "auto",
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    precision: Precision = "float32",
    compile_model: bool = False,
    capture: bool = False,
) -> Step:
    """Return a ``BackpropStep`` for a plain stack on the CPU, a ``GradientStep`` for anything else.

    Args:
        model: On its device.
        objective: What to make small.
        make_optimizer: Makes the optimizer from parameter groups: weights with ``weight_decay``, biases without.
        kind: ``auto`` chooses; the others insist.
        weight_decay: As the optimizer understands it.
        clip_norm: See the steps.
        clip_value: See the steps.
        accumulate: Only autograd.
        precision: Only autograd.
        compile_model: Only autograd.
        capture: Only autograd.

    Returns:
        The step.

    Raises:
        ConfigError: If ``backprop`` is insisted on and cannot be.
    """
    reason = BackpropStep.supports(model, objective)
    if accumulate > 1 or precision != "float32" or compile_model or capture:
        reason = "accumulate, precision, compile and capture need autograd"
    if kind == "backprop" and reason is not None:
        raise ConfigError(f"back-propagation by hand is not possible: {reason}", where="step", mend="use step=auto")
    if kind != "autograd" and reason is None:
        return BackpropStep(
            model, objective, make_optimizer, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value
        )
    return GradientStep(
        model,
        objective,
        make_optimizer(parameter_groups(model.parameters(), weight_decay)),
        clip_norm=clip_norm,
        clip_value=clip_value,
        accumulate=accumulate,
        precision=precision,
        compile_model=compile_model,
        capture=capture,
    )
