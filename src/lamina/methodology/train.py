"""Train a problem's default model: the one path that the command line and the estimators share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from lamina.data.batch import Batch
from lamina.data.images.augment import Augment
from lamina.data.stream import InMemory
from lamina.errors import ConfigError, MachineError
from lamina.io import Generations
from lamina.likelihoods import Bernoulli, Categorical, Heads, Likelihood, replace_smoothing
from lamina.methodology.baseline import model_card
from lamina.methodology.problem import Problem, likelihood_for
from lamina.optim.schedules import beginning, by_name, recorded
from lamina.penalties import L2
from lamina.runs.models import ModelCard
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.callback import Callback
from lamina.training.checkpoint import Checkpoint, read_checkpoint
from lamina.training.choose import choose_step
from lamina.training.divergence import DivergenceGuard
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Metric, Validation
from lamina.training.fit import fit
from lamina.training.history import History
from lamina.training.journal import Journal
from lamina.training.learning_rate import LearningRate, ReduceOnPlateau
from lamina.training.monitor import Monitor
from lamina.training.objective import Supervised
from lamina.training.progress import Progress
from lamina.training.run import Run
from lamina.training.signals import StopOnSignal
from lamina.training.step import Step
from lamina.training.stop_below import StopBelow
from lamina.training.tensorboard import TensorBoard
from lamina.training.threads import choose_threads, flops_per_step, threads
from lamina.training.time_limit import TimeLimit


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        predictor: The network with the best weights, ready to predict.
        history: A record an epoch.
        best_epoch: Epoch of the best weights; 0 if none was better than the start.
        stopped: Why training ended, or None when all epochs were made.
        signal: Number of the signal that ended it, 0 if none.
        threads: CPU threads used.
        step: Name of the step's class.
        updates: Updates made by this call.
        notes: What the guard had to do.
    """

    predictor: Predictor
    history: History
    best_epoch: int
    stopped: str | None
    signal: int
    threads: int
    step: str
    updates: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to know and to have kept while training goes on.

    Attributes:
        progress: As ``Progress`` calls it; None shows nothing.
        say: Receives a line when the divergence guard goes back.
        folder: The run folder: history, checkpoints and event files go there; None keeps nothing.
        resume: Go on from the folder's newest whole checkpoint.
        signals: Whether SIGINT and SIGTERM end the run cleanly.
        facts: Kept with each checkpoint.
    """

    progress: Callable[[Run, float, float, float | None], None] | None = None
    say: Callable[[str], None] = lambda text: None
    folder: Path | None = None
    resume: bool = False
    signals: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def train(problem: Problem, settings: Settings, hooks: Hooks | None = None) -> Trained:
    """Train the model that completed settings describe, early-stopped on the validation part.

    The global random state is left as it was found: everything random follows from ``settings.seed``.

    Args:
        problem: What is to be learnt.
        settings: Without an open choice (see ``baseline.complete``).
        hooks: What to tell and keep.

    Returns:
        The trained predictor and how it went.

    Raises:
        ConfigError: If the settings do not fit one another or the problem.
    """
    hooks = hooks or Hooks()
    device = find_device(settings.device)
    likelihood = likelihood_for(problem.targets, settings.smoothing)
    card = model_card(settings, problem, likelihood.n_outputs)
    if len(problem.split.valid) == 0 and settings.monitor.startswith("valid"):
        settings = replace(settings, monitor="loss")
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(settings.seed)
        n_threads = settings.threads or _threads(card, problem, settings)
        with threads(n_threads):
            trained = _phases(problem, settings, hooks, device, card, likelihood)
    return replace(trained, threads=n_threads)


def _phases(
    problem: Problem, settings: Settings, hooks: Hooks, device: torch.device, card: ModelCard, likelihood: Likelihood
) -> Trained:
    """Early-stopped training, and where it is asked for the second pass over training and validation part."""
    assert settings.epochs is not None
    first = _Phase(problem, settings, hooks, device, card, likelihood, problem.split.train, "")
    early = EarlyStopping(settings.monitor, settings.patience or settings.epochs, mode=_mode(settings.monitor))
    history = first.run(
        settings.epochs, None, [_validation(problem, first.data.data, likelihood), *first.rate(), Monitor(), early]
    )
    last = first
    if settings.second_pass != "none" and not first.interrupted and early.best_steps:
        everything = np.sort(np.concatenate([problem.split.train, problem.split.valid]))
        last = _Phase(problem, settings, hooks, device, card, likelihood, everything, "-second")
        if settings.second_pass == "retrain":
            epochs = math.ceil(early.best_steps / len(last.data))
            last.run(epochs, early.best_steps, [same_course(settings, history, early.best_steps, first), Monitor()])
        else:
            last.step.model.load_state_dict(first.step.model.state_dict())
            below = StopBelow("valid_loss", early.best_train_loss)
            at_best = history.records[early.best_epoch - 1]["learning_rate"] / (settings.learning_rate or 1e-3)
            rate = LearningRate(lambda progress: at_best)
            last.run(settings.epochs, None, [_validation(problem, last.data.data, likelihood), rate, Monitor(), below])
    model = last.step.model.cpu()
    plain = replace_smoothing(likelihood, 0.0)
    predictor = Predictor(card, _own(model), problem.preparation, problem.targets, plain, dict(problem.facts))
    phases = [first] if last is first else [first, last]
    return Trained(
        predictor=predictor,
        history=history,
        best_epoch=early.best_epoch,
        stopped=last.stopped or first.stopped,
        signal=last.signal,
        threads=1,
        step=type(first.step).__name__,
        updates=sum(phase.updates for phase in phases),
        notes=[note for phase in phases for note in phase.notes],
    )


def same_course(settings: Settings, history: History, steps: int, first: _Phase) -> Callback:
    """Return the learning rate's course of the first pass up to its best weights, for as many updates.

    Returns:
        The callback.
    """
    if settings.schedule != "plateau":
        schedule = by_name(settings.schedule or "constant")
        assert settings.epochs is not None
        return LearningRate(beginning(schedule, steps / (settings.epochs * len(first.data))))
    records = [record for record in history.records if record["steps"] <= steps]
    top = records[0]["learning_rate"]
    ends, factors = [r["steps"] / steps for r in records], [r["learning_rate"] / top for r in records]
    return LearningRate(recorded(ends, factors))


class _Phase:
    """One call of ``fit`` with everything around it: data, model, step, callbacks, checkpoints."""

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        hooks: Hooks,
        device: torch.device,
        card: ModelCard,
        likelihood: Likelihood,
        rows: np.ndarray,
        suffix: str,
    ) -> None:
        assert settings.batch_size is not None
        self.settings, self.hooks, self.suffix = settings, hooks, suffix
        generator = torch.Generator().manual_seed(settings.seed)
        pixels = None
        if problem.pictures:
            statistics = problem.preparation
            pixels = (statistics.mean.tolist(), statistics.std.tolist())  # type: ignore[union-attr]
        model = card.build(generator, pixels).to(device)
        objective = Supervised(likelihood, settings.l2 * L2() if settings.l2 else None)
        self.step: Step = choose_step(
            model,
            objective,
            lambda groups: make_optimizer(groups, settings, device),
            kind=settings.step,
            weight_decay=settings.weight_decay or 0.0,
            clip_norm=settings.clip_norm,
            clip_value=settings.clip_value,
            accumulate=settings.accumulate,
            precision=settings.precision,
            compile_model=settings.compile,
            capture=settings.capture,
        )
        augment = None
        if settings.augment and problem.pictures:
            change = default_augmentation(problem)
            augment = lambda inputs, indices, epoch: change(inputs, indices, epoch, settings.seed)  # noqa: E731
        self.data = InMemory(
            resident(problem.examples, device),
            settings.batch_size,
            rows=torch.from_numpy(rows),
            seed=settings.seed,
            augment=augment,
            device=device,
        )
        self.signal = self.updates = 0
        self.interrupted = False
        self.stopped: str | None = None
        self.notes: list[str] = []

    def rate(self) -> list[Callback]:
        """Return the callback of the learning-rate schedule."""
        if self.settings.schedule == "plateau":
            patience = max(3, (self.settings.patience or 10) // 3)
            return [ReduceOnPlateau(self.settings.monitor, patience=patience)]
        return [LearningRate(by_name(self.settings.schedule or "constant"))]

    def run(self, max_epochs: int, max_steps: int | None, middle: Sequence[Callback]) -> History:
        """Train with the callbacks every phase has around those of its own."""
        hooks, settings = self.hooks, self.settings
        signals = StopOnSignal()
        callbacks: list[Callback] = [DivergenceGuard(say=self._note), *middle]
        if hooks.progress is not None:
            callbacks.append(Progress(hooks.progress))
        if settings.minutes is not None:
            callbacks.append(TimeLimit(settings.minutes))
        if hooks.signals:
            callbacks.append(signals)
        watch = _Outcome()
        callbacks.append(watch)
        state = None
        if hooks.folder is not None:
            if settings.tensorboard:
                callbacks.append(TensorBoard(hooks.folder / f"tensorboard{self.suffix}"))
            generations = Generations(hooks.folder / f"checkpoint{self.suffix}")
            callbacks.append(Journal(hooks.folder / f"history{self.suffix}.jsonl"))
            callbacks.append(Checkpoint(generations, callbacks, hooks.facts, seconds=settings.checkpoint_seconds))
            if hooks.resume:
                newest = generations.latest()
                for message in generations.messages:
                    self._note(message)
                if newest is not None:
                    state = read_checkpoint(newest, callbacks)
                    if max_epochs > newest.meta["max_epochs"]:
                        state["run"]["stopping"] = None
        history = fit(
            self.step, self.data, max_epochs=max_epochs, max_steps=max_steps, callbacks=callbacks, state=state
        )
        self.signal, self.updates = signals.received, watch.updates
        self.stopped, self.interrupted = watch.stopping, watch.interrupted
        return history

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.hooks.say(text)


class _Outcome(Callback):
    """Notes why the run ended and how many updates it made."""

    stopping: str | None = None
    interrupted = False
    updates = 0

    def on_start(self, run: Run) -> None:
        self._first = run.steps

    def on_end(self, run: Run) -> None:
        self.stopping, self.interrupted = run.stopping, run.interrupted
        self.updates = run.steps - self._first


def _mode(monitor: str) -> Any:
    return "max" if monitor.endswith(("accuracy", "auc")) else "min"


def _validation(problem: Problem, examples: Batch, likelihood: Likelihood) -> Callback:
    if len(problem.split.valid) == 0:
        return Callback()
    plain = replace_smoothing(likelihood, 0.0)
    rows = torch.from_numpy(problem.split.valid)
    return Validation(examples, plain, metrics_for(plain), rows=rows)


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


def default_augmentation(problem: Problem) -> Augment:
    """Return random shifts by about a fifteenth of the side, and mirror images for coloured pictures.

    Returns:
        The augmentation.
    """
    spec: Any = problem.spec
    side = min(spec.height, spec.width)
    return Augment(shift=max(1, round(side / 15)), flip=spec.channels == 3)


def resident(batch: Batch, device: torch.device) -> Batch:
    """Move the examples to the device where they fit into half of its free memory, else leave them where they are.

    Returns:
        The same examples.
    """
    if device.type != "cuda":
        return batch
    free, _ = torch.cuda.mem_get_info(device)
    size = sum(part.numel() * part.element_size() for part in batch if part is not None)
    return batch.to(device) if size < free // 2 else batch


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes a GPU where there is one.

    Returns:
        The device.

    Raises:
        MachineError: If the machine has no such device.
        ConfigError: If the name is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f'"{name}" is no device', where="--device", mend="use auto, cpu, cuda, cuda:0 or mps"
        ) from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "the CPU only"
        raise MachineError(
            f"this machine has no {name}; PyTorch found {found}", where="--device", mend="use --device auto"
        )
    return device


def make_optimizer(groups: Any, settings: Settings, device: torch.device) -> Optimizer:
    """Return PyTorch's optimiser of the settings over parameter groups.

    Returns:
        The optimiser.
    """
    rate, momentum = settings.learning_rate or 1e-3, settings.momentum
    capture: dict[str, Any] = {"capturable": True} if settings.capture else {}
    lr: Any = torch.tensor(rate, device=device) if settings.capture else rate
    if settings.optimizer == "adamw":
        return AdamW(groups, lr=lr, weight_decay=settings.weight_decay or 0.0, fused=True, **capture)
    if settings.optimizer == "adam":
        return Adam(groups, lr=lr, fused=True, **capture)
    if settings.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=momentum, fused=True)
    if settings.optimizer == "rmsprop":
        return RMSprop(groups, lr=rate, momentum=momentum)
    return Adagrad(groups, lr=rate)


def _threads(card: ModelCard, problem: Problem, settings: Settings) -> int:
    assert settings.batch_size is not None
    with torch.device("meta"):
        model = card.build()
    inputs = torch.empty((settings.batch_size, *problem.inputs.shape[1:]), dtype=problem.inputs.dtype, device="meta")
    return choose_threads(flops_per_step(model, inputs))


def _own(model: nn.Module) -> nn.Module:
    """Give every parameter memory of its own: a step may have laid them into one flat vector."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
            parameter.grad = None
    return model.eval()
