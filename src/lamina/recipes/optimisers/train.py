"""One training with an optimiser, and the two kinds of job: a trial and a measurement."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods.base import Likelihood
from lamina.optim.bold_driver import BoldDriver
from lamina.recipes.optimisers.problems import PROBLEMS, load_parts
from lamina.recipes.optimisers.table import optimiser
from lamina.recipes.recipe import Result
from lamina.training.callback import Callback
from lamina.training.closure_step import ClosureStep
from lamina.training.evaluation import outputs_of
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.objective import Supervised
from lamina.training.run import Run


def trial(*, name: str, setting: dict[str, Any], problem: str, epochs: int, seed: int) -> Result:
    """Train once to judge a setting; the test part is not looked at.

    Args:
        name: Of the optimiser.
        setting: One of its candidates.
        problem: Of ``PROBLEMS``.
        epochs: Passes over the training part.
        seed: Decides the starting weights and the order.

    Returns:
        ``valid_loss``, the least after any epoch, nats.
    """
    return {"valid_loss": _train(name, setting, problem, epochs, seed).best}


def measurement(*, name: str, setting: dict[str, Any], problem: str, epochs: int, seed: int) -> Result:
    """Train once with the setting that was chosen, and look at the test part.

    Args:
        name: Of the optimiser.
        setting: The chosen one.
        problem: Of ``PROBLEMS``.
        epochs: Passes over the training part.
        seed: Decides the starting weights and the order.

    Returns:
        ``train_loss`` at the end and ``test_loss`` after the epoch with the least validation loss, nats an example;
        ``curve``, rows of processor seconds and training loss, one an epoch, the start first; ``seconds``.
    """
    watched = _train(name, setting, problem, epochs, seed)
    return {
        "train_loss": watched.curve[-1][1],
        "test_loss": watched.test,
        "curve": watched.curve,
        "seconds": watched.curve[-1][0],
    }


@dataclass
class Watch(Callback):
    """Looks at the losses after each epoch; the processor time of looking does not count.

    Attributes:
        parts: Training, validation and test part.
        likelihood: What the outputs mean.
        curve: Seconds of training and training loss, at the start and after each epoch.
        best: Least validation loss so far, infinite where none was finite.
        test: Test loss after the epoch with the least validation loss.
    """

    parts: tuple[Batch, Batch, Batch]
    likelihood: Likelihood
    curve: list[list[float]] = field(default_factory=list)
    best: float = math.inf
    test: float = math.inf
    _start: float = 0.0

    def on_start(self, run: Run) -> None:
        """Look for the first time, and start the clock."""
        self._start = time.process_time()
        self.on_epoch(run)

    def on_epoch(self, run: Run) -> None:
        """Note the losses; end a run that has diverged."""
        began = time.process_time()
        train, valid, test = (mean_loss(run.step.model, part, self.likelihood) for part in self.parts)
        self.curve.append([began - self._start, train])
        if valid < self.best:
            self.best, self.test = valid, test
        if not math.isfinite(train):
            run.stopping = "the loss is not finite"
        self._start += time.process_time() - began


class _Driven(Callback):
    """Tells a bold driver the loss after each update."""

    def __init__(self, driver: BoldDriver, train: Batch, likelihood: Likelihood) -> None:
        self.driver, self.train, self.likelihood = driver, train, likelihood

    def on_start(self, run: Run) -> None:
        """Tell the first loss."""
        self.on_step(run)

    def on_step(self, run: Run) -> None:
        """Tell the loss of the present weights."""
        self.driver.step(mean_loss(run.step.model, self.train, self.likelihood))


def mean_loss(network: nn.Module, part: Batch, likelihood: Likelihood) -> float:
    """Return the mean negative log-likelihood, nats an example.

    Args:
        network: Gives outputs.
        part: Examples.
        likelihood: What the outputs mean.

    Returns:
        A number that may not be finite.
    """
    assert part.targets is not None
    outputs: Tensor = outputs_of(network, part.inputs)
    return -likelihood.log_prob(outputs, part.targets).mean().item()


def _train(name: str, setting: dict[str, Any], problem: str, epochs: int, seed: int) -> Watch:
    one, task, parts = optimiser(name), PROBLEMS[problem], load_parts(problem)
    network = task.network(torch.Generator().manual_seed(seed))
    # K-FAC and others that draw take the default generator: it is set here and put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        optimizer = one.make(network, **setting)
        objective = Supervised(task.likelihood)
        step = (ClosureStep if one.kind == "closure" else GradientStep)(network, objective, optimizer)
        watch = Watch((parts.train, parts.valid, parts.test), task.likelihood)
        callbacks: list[Callback] = [watch]
        if one.driver is not None:
            callbacks.insert(0, _Driven(one.driver(optimizer), parts.train, task.likelihood))
        size = parts.train.size if one.whole else one.batch or task.batch
        fit(step, InMemory(parts.train, size, seed=seed), max_epochs=epochs, callbacks=callbacks)
    return watch
