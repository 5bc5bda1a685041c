"""Train a problem's model: the one path that the command line and the estimators share."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.likelihoods import Bernoulli, Categorical, Heads, Likelihood, for_scoring
from lamina.methodology.bagging import bagged
from lamina.methodology.baseline import model_card
from lamina.methodology.phase import Hooks, Phase, Plan
from lamina.methodology.problem import Problem, likelihood_of
from lamina.methodology.regularise import without_noise
from lamina.methodology.spread import has_learnt_scale, shift_spread, spread_shift
from lamina.methodology.temperature import cool, temperature
from lamina.methodology.trained import Trained
from lamina.nn import without_hints
from lamina.optim.schedules import beginning, by_name, recorded
from lamina.runs.dropout_inference import DropoutInference
from lamina.runs.models import ModelCard
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.callback import Callback
from lamina.training.device import find_device
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Metric, Validation, outputs_of
from lamina.training.history import History
from lamina.training.learning_rate import LearningRate, ReduceOnPlateau
from lamina.training.monitor import Monitor
from lamina.training.signals import StopOnSignal
from lamina.training.stop_below import StopBelow
from lamina.training.threads import choose_threads, flops_per_step, threads, weight_layers

__all__ = ["Hooks", "Trained", "train"]


def train(problem: Problem, settings: Settings, hooks: Hooks | None = None) -> Trained:
    """Train the model that completed settings describe, early-stopped on the validation part.

    The global random state is left as it was found: everything random follows from ``settings.seed``. Settings that do
    not fit one another or the problem are a ``ConfigError``.

    Args:
        problem: What is to be learnt.
        settings: Without an open choice (see ``baseline.complete``).
        hooks: What to tell and keep.

    Returns:
        The trained predictor and how it went.
    """
    hooks = hooks or Hooks()
    with StopOnSignal() if hooks.signals else nullcontext(StopOnSignal()) as signals:
        return _train(problem, settings, hooks, signals)


def _train(problem: Problem, settings: Settings, hooks: Hooks, signals: StopOnSignal) -> Trained:
    device = find_device(settings.device)
    likelihood = likelihood_of(settings, problem.targets)
    card = model_card(settings, problem)
    if len(problem.split.valid) == 0 and (settings.monitor or "valid").startswith("valid"):
        settings = replace(settings, monitor="loss")
    plan = Plan(problem, settings, card, likelihood, device, hooks, signals)
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        n_threads = settings.threads or _threads(card, problem, settings)
        with threads(n_threads):
            trained = _passes(plan) if settings.bag == 1 else bagged(plan, _passes)
    return replace(trained, threads=n_threads)


def _passes(plan: Plan) -> Trained:
    """Train with early stopping, and where it is asked for a second time with the validation part as well.

    Returns:
        What training gave.

    Reference: Goodfellow et al., Deep Learning, 2016, algorithms 7.1 to 7.3.
    """
    problem, settings = plan.problem, plan.settings
    assert settings.epochs is not None and settings.monitor is not None
    first = Phase(plan, problem.split.train)
    early = EarlyStopping(settings.monitor, settings.patience or settings.epochs, mode=_mode(settings.monitor))
    middle = [*_validation(plan, first.examples), _rate(settings), Monitor(), early]
    history = first.run(settings.epochs, None, middle)
    plain = for_scoring(plan.likelihood)
    calibrate = _calibration(plan, first.step.model, plain)
    phases = [first]
    if settings.second_pass in {"retrain", "continue"} and not first.interrupted and early.best_steps:
        phases.append(_second_pass(plan, first, history, early))
    last = phases[-1]

    def predictor(phase: Phase) -> Predictor:
        model = without_noise(phase.step.model)
        model = _own((without_hints(model) if problem.hints else model).cpu())
        calibrate(model)
        facts = dict(problem.facts)
        return Predictor(plan.card, model, problem.preparation, problem.targets, plain, facts, _inference(settings))

    judged = predictor(first)
    return Trained(
        predictor=judged if last is first else predictor(last),
        judged=judged,
        history=history,
        best_epoch=early.best_epoch,
        stopped=last.stopped or first.stopped,
        signal=last.signal,
        threads=1,
        step=type(first.step).__name__,
        updates=sum(phase.updates for phase in phases),
        notes=[note for phase in phases for note in phase.notes],
        pretrained=first.pretrained,
    )


def _inference(settings: Settings) -> DropoutInference | None:
    if settings.dropout_inference == "weight-scaling":
        return None
    return DropoutInference(settings.dropout_inference, settings.dropout_passes, settings.seed)


def _second_pass(plan: Plan, first: Phase, history: History, early: EarlyStopping) -> Phase:
    """Retrain for as many updates, or continue until the validation loss falls to the training loss of the best epoch.

    Returns:
        The phase, trained.
    """
    split, settings = plan.problem.split, plan.settings
    assert settings.epochs is not None
    second = Phase(plan, np.sort(np.concatenate([split.train, split.valid])), "-second")
    if settings.second_pass == "retrain":
        course = _same_course(settings, history, early.best_steps, settings.epochs * len(first.data))
        second.run(math.ceil(early.best_steps / len(second.data)), early.best_steps, [course, Monitor()])
        return second
    second.step.model.load_state_dict(first.step.model.state_dict())
    # A schedule may have come down to nothing by the best epoch; a tenth of the first rate still learns.
    at_best = max(0.1, history.records[early.best_epoch - 1]["learning_rate"] / first.top_rate)
    middle = [
        *_validation(plan, second.examples),
        LearningRate(lambda progress: at_best),
        Monitor(),
        StopBelow("valid_loss", early.best_train_loss),
    ]
    second.run(settings.epochs, None, middle)
    return second


def _calibration(plan: Plan, model: nn.Module, plain: Likelihood) -> Callable[[nn.Module], None]:
    """Learn from the validation part how sure the network may be; decisions and means stay as they are.

    Where sub-networks are averaged nothing is changed: that average has a spread of its own. A scale that the user
    fixed stays, too.

    Returns:
        A function that changes a network's last layer accordingly.
    """
    rows = torch.from_numpy(plan.problem.split.valid)
    if not len(rows) or plan.settings.dropout_inference != "weight-scaling":
        return lambda model: None
    if has_learnt_scale(plain) or isinstance(plain, Categorical | Bernoulli):
        outputs, targets = outputs_of(model, plan.problem.inputs, rows=rows).cpu(), plan.problem.encoded[rows]
        weights = None if plan.problem.weights is None else plan.problem.weights[rows]
        if isinstance(plain, Categorical | Bernoulli):
            return partial(cool, t=temperature(plain, outputs, targets, weights))
        return partial(shift_spread, delta=spread_shift(plain, outputs, targets, weights))
    return lambda model: None


def _rate(settings: Settings) -> Callback:
    if settings.schedule == "plateau":
        watched = settings.monitor or "loss"
        return ReduceOnPlateau(watched, patience=max(3, (settings.patience or 10) // 3), mode=_mode(watched))
    return LearningRate(by_name(settings.schedule or "constant"))


def _same_course(settings: Settings, history: History, steps: int, planned: int) -> Callback:
    """The learning rate's course of the first pass up to its best weights, over as many updates.

    Returns:
        The callback.
    """
    if settings.schedule != "plateau":
        return LearningRate(beginning(by_name(settings.schedule or "constant"), steps / planned))
    records = [record for record in history.records if record["steps"] <= steps]
    top = records[0]["learning_rate"]
    return LearningRate(recorded([r["steps"] / steps for r in records], [r["learning_rate"] / top for r in records]))


def _mode(monitor: str) -> Literal["min", "max"]:
    return "max" if monitor.endswith("accuracy") else "min"


def _validation(plan: Plan, examples: Batch) -> list[Callback]:
    rows = plan.problem.split.valid
    if len(rows) == 0:
        return []
    plain = for_scoring(plan.likelihood)
    return [Validation(examples, plain, metrics_for(plain), rows=torch.from_numpy(rows))]


def metrics_for(likelihood: Likelihood) -> dict[str, Metric]:
    """Return the figures followed on the validation part beside the loss.

    Returns:
        ``accuracy`` for classes, ``rmse`` (of standardised values) for numbers; nothing for several targets.
    """
    if isinstance(likelihood, Heads):
        return {}
    if isinstance(likelihood, Categorical | Bernoulli):
        return {"accuracy": lambda outputs, targets: (likelihood.predict(outputs) == targets).double().mean()}
    return {"rmse": lambda o, t: (likelihood.mean(o).reshape(-1) - t.reshape(-1)).double().square().mean().sqrt()}


def _threads(card: ModelCard, problem: Problem, settings: Settings) -> int:
    assert settings.batch_size is not None
    with torch.device("meta"):
        model = card.build()
    inputs = torch.empty((settings.batch_size, *problem.inputs.shape[1:]), dtype=problem.inputs.dtype, device="meta")
    return choose_threads(flops_per_step(model, inputs) / weight_layers(model))


def _own(model: nn.Module) -> nn.Module:
    """Give every parameter memory of its own: a step may have laid them into one flat vector.

    Returns:
        The same model.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
            parameter.grad = None
    return model.eval()
