"""Chooses the step that trains a model."""

from __future__ import annotations

from typing import Literal

from torch import nn

from lamina.errors import ConfigError
from lamina.training.backprop import BackpropStep, OptimizerFactory, parameter_groups
from lamina.training.closure_step import ClosureStep
from lamina.training.gradient_step import GradientStep, Precision
from lamina.training.objective import Objective


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
    closure: bool = False,
) -> BackpropStep | GradientStep | ClosureStep:
    """Return a ``BackpropStep`` where model, objective and options allow one, or else a ``GradientStep``.

    An optimizer that looks at a batch more than once gets a ``ClosureStep``.

    The choice depends on nothing but the arguments, so a resumed run makes it again. Both decay parameters of two or
    more axes and no others.

    Args:
        model: The network, on its device.
        objective: What to make small.
        make_optimizer: Makes an optimizer from parameter groups, which carry their ``weight_decay``.
        kind: ``autograd`` takes ``GradientStep``, ``backprop`` insists on ``BackpropStep``.
        weight_decay: As the optimizer understands it.
        clip_norm: See ``GradientStep``.
        clip_value: See ``GradientStep``.
        accumulate: See ``GradientStep``; above 1 needs it.
        precision: See ``GradientStep``; other than float32 needs it.
        compile_model: See ``GradientStep``; needs it.
        capture: See ``GradientStep``; needs it.
        closure: Whether the optimizer takes a closure.

    Returns:
        The step, with its optimizer.

    Raises:
        ConfigError: If ``kind`` is ``backprop`` and something stands against it, or an option does not go with a
            closure.
    """
    if closure:
        unheard = {
            "step=backprop": kind == "backprop",
            "clip_norm": clip_norm is not None,
            "clip_value": clip_value is not None,
            "accumulate": accumulate > 1,
            f"precision={precision}": precision != "float32",
            "compile": compile_model,
            "capture": capture,
        }
        given = [name for name, on in unheard.items() if on]
        if given:
            raise ConfigError(
                f"{given[0]} does not go with an optimizer that evaluates the loss by itself",
                where="step",
                mend="leave it out, or use optimizer=adamw",
            )
        return ClosureStep(model, objective, make_optimizer(parameter_groups(model.parameters(), weight_decay)))
    if kind != "autograd":
        options = {
            "accumulate": accumulate > 1,
            f"precision={precision}": precision != "float32",
            "compile": compile_model,
            "capture": capture,
        }
        reason = next((f"{name} is set" for name, on in options.items() if on), None)
        reason = reason or BackpropStep.supports(model, objective)
        if reason is None:
            return BackpropStep(
                model, objective, make_optimizer, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value
            )
        if kind == "backprop":
            raise ConfigError(f"backprop cannot train this model: {reason}", where="step", mend="use step=auto")
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
