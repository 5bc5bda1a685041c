"""One call of the loop with everything around it: data, model, step, callbacks, checkpoints."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.data.batch import Batch
from lamina.data.images import ImagePreparation
from lamina.data.images.augment import Augment
from lamina.data.noisy_labels import NoisyLabels
from lamina.data.semi_supervised import LabelledAndUnlabelled
from lamina.data.spec import ImageSpec
from lamina.data.stream import Augmentation, InMemory, Stream, gather
from lamina.data.tables.targets import ClassTarget
from lamina.io import Generations
from lamina.likelihoods import Heads, Likelihood
from lamina.methodology.manifold import with_encoders
from lamina.methodology.pairs import pairwise_objective, stream_of_pairs
from lamina.methodology.pretraining import Show, Watch, reads_unit_pixels
from lamina.methodology.problem import Problem, likelihood_for
from lamina.methodology.regularise import after_each_update, noisy, optimizer_groups, penalty_of, tied
from lamina.methodology.start import start
from lamina.nn import with_hints
from lamina.optim.registry import read_optimizer
from lamina.runs.lines import read_augmentation, read_pairs
from lamina.runs.models import ModelCard
from lamina.runs.settings import Settings
from lamina.training.callback import Callback
from lamina.training.checkpoint import Checkpoint, read_checkpoint
from lamina.training.choose import choose_step
from lamina.training.device import resident
from lamina.training.divergence import DivergenceGuard
from lamina.training.fit import fit
from lamina.training.history import History
from lamina.training.journal import Journal
from lamina.training.objective import Objective, Supervised
from lamina.training.progress import Progress
from lamina.training.run import Run
from lamina.training.signals import StopOnSignal
from lamina.training.step import Step
from lamina.training.tensorboard import TensorBoard
from lamina.training.time_limit import TimeLimit


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to know and to have kept while training goes on.

    Attributes:
        progress: As ``Progress`` calls it; None shows nothing.
        layer_progress: The same while layers are pre-trained, with the layer in words before.
        say: Receives a line when the divergence guard goes back.
        folder: The run folder: history, checkpoints and event files go there; None keeps nothing.
        resume: Go on from the folder's newest whole checkpoint.
        signals: Whether SIGINT and SIGTERM end the run cleanly.
        facts: Kept with each checkpoint.
    """

    progress: Callable[[Run, float, float, float | None], None] | None = None
    layer_progress: Show | None = None
    say: Callable[[str], None] = lambda text: None
    folder: Path | None = None
    resume: bool = False
    signals: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, how.

    Attributes:
        problem: What is to be learnt.
        settings: Without an open choice.
        card: What the network is built from.
        likelihood: Reads its outputs.
        device: Where it computes.
        hooks: What to tell and keep.
        signals: Listens for what ends the run, if anything does.
        suffix: Stands behind the names of its files, where several networks are trained.
    """

    problem: Problem
    settings: Settings
    card: ModelCard
    likelihood: Likelihood
    device: torch.device
    hooks: Hooks
    signals: StopOnSignal
    suffix: str = ""


class Phase:
    """A freshly built network, trained on some of the examples.

    Args:
        plan: What is trained and how.
        rows: Which examples it learns from.
        suffix: Stands behind the names of the phase's files.
    """

    def __init__(self, plan: Plan, rows: np.ndarray, suffix: str = "") -> None:
        self.plan, self.suffix = plan, plan.suffix + suffix
        problem, settings, device = plan.problem, plan.settings, plan.device
        pixels = None
        if isinstance(problem.preparation, ImagePreparation) and not reads_unit_pixels(settings):
            pixels = (problem.preparation.mean.tolist(), problem.preparation.std.tolist())
        model = plan.card.build(torch.Generator().manual_seed(settings.seed), pixels).to(device)
        self.notes: list[str] = []
        self.examples = resident(problem.examples, device)
        self._clean = self._stream(torch.from_numpy(rows))
        self.data = self._labels(self._clean)
        likelihood = _with_hints(model, problem, plan.likelihood, settings.seed)
        copied, self.pretrained = start(
            model,
            self._starting(),
            likelihood,
            self.data,
            self.note,
            every=self._every_input(torch.from_numpy(rows)),
            spec=problem.spec,
            watch=self._watch(),
        )
        trained = noisy(model, settings)
        penalty = with_encoders(penalty_of(settings), model, self._clean, settings.seed)
        self.penalty = tied(penalty, settings, model, trained, copied)
        self.step: Step = choose_step(
            trained,
            self._objective(likelihood),
            lambda groups: make_optimizer(optimizer_groups(model, settings, groups), trained, settings, device),
            kind="autograd" if settings.slower else settings.step,
            weight_decay=settings.weight_decay or 0.0,
            clip_norm=settings.clip_norm,
            clip_value=settings.clip_value,
            accumulate=settings.accumulate,
            precision=settings.precision,
            compile_model=settings.compile,
            capture=settings.capture,
            closure=read_optimizer(settings.optimizer).choice.closure,
        )
        # Of the fastest layers; some optimisers find their own and have none.
        self.top_rate = float(self.step.optimizer.param_groups[0].get("lr") or settings.learning_rate or 1e-3)
        self.signal = self.updates = 0
        self.interrupted = False
        self.stopped: str | None = None

    def _starting(self) -> Settings:
        # A second pass that continues takes the weights of the first one.
        settings = self.plan.settings
        continues = self.suffix != self.plan.suffix and settings.second_pass == "continue"
        return replace(settings, pretrain=None) if continues else settings

    def _watch(self) -> Watch:
        hooks = self.plan.hooks
        return Watch(
            say=self.note,
            show=hooks.layer_progress,
            signals=self.plan.signals if hooks.signals else None,
            folder=None if hooks.folder is None else hooks.folder / f"pretraining{self.suffix}",
            resume=hooks.resume,
            again="" if hooks.folder is None else f"lamina fit --resume {shlex.quote(str(hooks.folder))}",
        )

    def _every_input(self, rows: Tensor) -> Stream:
        """Return what learning without targets sees: each row once an epoch, with a target or without."""
        problem, settings = self.plan.problem, self.plan.settings
        if problem.unlabelled is None or settings.pretrain is None:
            return self._clean
        assert settings.batch_size is not None
        labelled = self.examples.inputs[rows.to(self.examples.inputs.device)]
        both = torch.cat([labelled, problem.unlabelled.to(labelled.device)])
        return InMemory(Batch(both), settings.batch_size, seed=settings.seed, device=self.plan.device)

    def _stream(self, rows: Tensor) -> Stream:
        problem, settings, device = self.plan.problem, self.plan.settings, self.plan.device
        examples = self.examples if problem.hinted is None else resident(problem.taught, device)
        assert settings.batch_size is not None
        pairs = read_pairs(settings.pairs)
        if pairs is not None:
            assert problem.unlabelled is not None
            labelled = gather(examples, rows.to(examples.inputs.device))
            free = problem.unlabelled.to(examples.inputs.device)
            size = settings.batch_size
            data, self._counts = stream_of_pairs(
                labelled, free, problem.spec, pairs, batch_size=size, seed=settings.seed
            )
            return data
        if problem.unlabelled is not None:
            free = problem.unlabelled.to(examples.inputs.device)
            steps = math.ceil(len(rows) / settings.batch_size)
            return LabelledAndUnlabelled(
                gather(examples, rows.to(examples.inputs.device)),
                free,
                n_labelled=settings.batch_size,
                n_unlabelled=min(settings.batch_size, math.ceil(len(free) / steps)),
                seed=settings.seed,
                augment=self._augmentation(),
                device=device,
            )
        return InMemory(
            examples,
            settings.batch_size,
            rows=rows,
            seed=settings.seed,
            augment=self._augmentation(),
            device=device,
        )

    def _augmentation(self) -> Augmentation | None:
        """Return the random changes of pictures that the settings ask for, or None."""
        settings, spec = self.plan.settings, self.plan.problem.spec
        if not settings.augment or not isinstance(spec, ImageSpec):
            return None
        line = settings.augmentation
        change = default_augmentation(spec) if line is None else read_augmentation(line)
        return lambda inputs, indices, epoch: change(inputs, indices, epoch, settings.seed)

    def _labels(self, data: Stream) -> Stream:
        settings, target = self.plan.settings, self.plan.problem.targets[0]
        if not settings.label_noise:
            return data
        assert isinstance(target, ClassTarget)
        return NoisyLabels(data, settings.label_noise, len(target.classes), seed=settings.seed)

    def _objective(self, likelihood: Likelihood) -> Objective:
        pairs = read_pairs(self.plan.settings.pairs)
        if pairs is None:
            return Supervised(likelihood, self.penalty)
        return pairwise_objective(likelihood, self.penalty, pairs, self._counts)

    def run(self, max_epochs: int, max_steps: int | None, middle: Sequence[Callback]) -> History:
        """Train.

        Args:
            max_epochs: Epochs in all.
            max_steps: Updates in all, or None.
            middle: The callbacks of this phase; the guard stands before them, what keeps and shows after them.

        Returns:
            The history.
        """
        hooks, settings = self.plan.hooks, self.plan.settings
        signals, outcome = self.plan.signals, _Outcome()
        callbacks: list[Callback] = [*after_each_update(settings), DivergenceGuard(say=self.note), *middle]
        if hooks.progress is not None:
            callbacks.append(Progress(hooks.progress))
        if settings.minutes is not None:
            callbacks.append(TimeLimit(settings.minutes))
        if hooks.signals:
            callbacks.append(signals)
        callbacks.append(outcome)
        state = None
        if hooks.folder is not None:
            if settings.tensorboard:
                callbacks.append(TensorBoard(hooks.folder / f"tensorboard{self.suffix}"))
            generations = Generations(hooks.folder / f"checkpoint{self.suffix}")
            callbacks.append(Journal(hooks.folder / f"history{self.suffix}.jsonl"))
            facts = {**hooks.facts, "max_epochs": max_epochs}
            callbacks.append(Checkpoint(generations, callbacks, facts, seconds=settings.checkpoint_seconds))
            state = self._saved(generations, callbacks, max_epochs) if hooks.resume else None
        with nullcontext() if self.penalty is None else self.penalty.watch(self.step.model):
            history = fit(
                self.step, self.data, max_epochs=max_epochs, max_steps=max_steps, callbacks=callbacks, state=state
            )
        self.signal, self.updates = signals.received, outcome.updates
        self.stopped, self.interrupted = outcome.stopping, outcome.interrupted
        return history

    def _saved(self, generations: Generations, callbacks: Sequence[Callback], max_epochs: int) -> dict[str, Any] | None:
        newest = generations.latest()
        for message in generations.messages:
            self.note(message)
        if newest is None:
            if not self.suffix:
                self.note("there is no checkpoint to go on from: training begins anew")
            return None
        state = read_checkpoint(newest, callbacks)
        if max_epochs > newest.meta["max_epochs"]:
            state["run"]["stopping"] = None  # more epochs were asked for than the run that stopped was given
        return state

    def note(self, text: str) -> None:
        """Say something and keep it."""
        self.notes.append(text)
        self.plan.hooks.say(text)


def _with_hints(model: nn.Module, problem: Problem, likelihood: Likelihood, seed: int) -> Likelihood:
    """Give the network outputs for the hints, if there are any.

    Returns:
        What reads its outputs while it is trained.
    """
    if not problem.hints:
        return likelihood
    hints = likelihood_for(problem.hints)
    every = [part for one in (likelihood, hints) for part in (one.likelihoods if isinstance(one, Heads) else (one,))]
    with_hints(model, hints.n_outputs, generator=torch.Generator().manual_seed(seed + 2))
    return Heads(tuple(every), tuple(target.name for target in (*problem.targets, *problem.hints)))


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


def default_augmentation(spec: ImageSpec) -> Augment:
    """Return random shifts by about a fifteenth of the side, and mirror images for coloured pictures.

    Returns:
        The augmentation.
    """
    return Augment(shift=max(1, round(min(spec.height, spec.width) / 15)), flip=spec.channels == 3)


def make_optimizer(groups: Any, model: nn.Module, settings: Settings, device: torch.device) -> Optimizer:
    """Return the optimiser of the settings over parameter groups of a network.

    Returns:
        The optimiser.
    """
    line = read_optimizer(settings.optimizer)
    choice, rate = line.choice, settings.learning_rate
    more: dict[str, Any] = {}
    if rate is not None or not choice.finds_rate:
        more["lr"] = torch.tensor(rate or 1e-3, device=device) if settings.capture else rate or 1e-3
        if choice.takes("momentum"):
            more["momentum"] = settings.momentum
    if settings.capture and choice.takes("capturable"):
        more["capturable"] = True
    return line.make(groups, model, **more)
