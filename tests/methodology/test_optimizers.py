"""Every optimiser that a setting can name, from the settings to the checkpoint on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.io import Generations
from lamina.likelihoods import Categorical, Gaussian
from lamina.methodology.phase import make_optimizer
from lamina.optim.registry import OPTIMIZERS, read_optimizer
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training import ClosureStep, Run, Step, Supervised, choose_step, fit
from lamina.training.callback import Callback
from lamina.training.checkpoint import Checkpoint, read_checkpoint
from lamina.workflows.fit import fit as fit_source
from training.problems import blobs, network, weights_of
from workflows.made import QUICK, people

CPU = torch.device("cpu")
OPTIONS = {
    "quickprop": "quickprop:mu=1.75",
    "newton": "newton:damping=1:curvature=gauss-newton",
    "trust-region": "trust-region:curvature=gauss-newton",
}
LINES = [OPTIONS.get(name, name) for name in OPTIMIZERS]
LINES += ["adam:epsilon=inside", "adagrad:epsilon=inside", "sgd:nesterov=true", "lbfgs:memory=1:damping=0.2"]


def numbers(batch: Batch) -> Batch:
    """The same inputs with a number to predict."""
    return batch._replace(targets=batch.inputs.sum(1))


def step_of(line: str, seed: int = 0) -> Step:
    settings = Settings().with_changes({"optimizer": line}, where="test")
    model, choice = network(seed), read_optimizer(line).choice
    rate = None if choice.finds_rate else choice.rate or 1e-2
    settings = settings.with_changes({} if rate is None else {"learning_rate": rate}, where="test")
    if choice.least_squares:
        model[-1] = nn.Linear(16, 1)
    return choose_step(
        model,
        Supervised(Gaussian(scale=0.5) if choice.least_squares else Categorical(3)),
        lambda groups: make_optimizer(groups, model, settings, CPU),
        closure=choice.closure,
    )


def stream(line: str) -> InMemory:
    choice = read_optimizer(line).choice
    if choice.least_squares:
        return InMemory(numbers(blobs(40)), 4, seed=0)
    return InMemory(blobs(150), 150 if line.startswith("quickprop") else 50, seed=0)


class StopAt(Callback):
    """Ends a run as a signal does."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self, run: Run) -> None:
        if run.steps == self.steps:
            run.stopping, run.interrupted = "enough", True


def saved(step: Step, line: str, folder: Path, stop: int | None = None, state: Any = None) -> Generations:
    generations, callbacks = Generations(folder), []
    if stop is not None:
        callbacks.append(StopAt(stop))
    callbacks.append(Checkpoint(generations, callbacks, {}, seconds=1e9))
    fit(step, stream(line), max_epochs=3, callbacks=callbacks, state=state)
    return generations


@pytest.mark.parametrize("line", LINES)
def test_learns_and_goes_on_from_its_checkpoint_on_disk_to_the_same_bits(line: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = step_of(line)
    history = fit(whole, stream(line), max_epochs=3)
    losses = history.series("loss")
    assert losses[-1] < losses[0]
    torch.manual_seed(0)
    cut = step_of(line)
    newest = saved(cut, line, tmp_path, stop=len(stream(line)) + 1).latest()
    assert newest is not None
    rest = step_of(line, seed=1)
    fit(rest, stream(line), max_epochs=3, state={**read_checkpoint(newest, [StopAt(0)]), "callbacks": []})
    assert torch.equal(weights_of(rest.model), weights_of(whole.model))


def test_those_that_look_twice_get_a_closure_step() -> None:
    assert {name for name in OPTIMIZERS if isinstance(step_of(OPTIONS.get(name, name)), ClosureStep)} == {
        name for name, choice in OPTIMIZERS.items() if choice.closure
    }


def test_options_reach_the_optimizer() -> None:
    assert step_of("lbfgs:memory=3").optimizer.memory == 3  # type: ignore[attr-defined]
    assert step_of("sgd:nesterov=true").optimizer.param_groups[0]["nesterov"] is True
    settings = Settings().with_changes({"optimizer": "kfac", "learning_rate": 0.5}, where="test")
    model = network()
    assert make_optimizer(model.parameters(), model, settings, CPU).param_groups[0]["lr"] == 0.5
    assert make_optimizer(
        model.parameters(), model, settings.with_changes({"optimizer": "nesterov", "momentum": 0.7}, where=""), CPU
    ).param_groups[0]["momentum"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("adem", "no optimizer.*adam"),
        ("lbfgs:memry=3", "memry.*memory"),
        ("lbfgs:memory=many", "must be a number"),
        ("lbfgs:memory=1.5", "whole number"),
        ("kfac:fisher=guessed", "one of"),
        ("lbfgs:line_search=none", "one of"),
        ("lbfgs:memory=0", "memory"),
        ("adam:eps=-1", "epsilon"),
        ("sgd:lr=0.1", "no option"),
        ("adam:eps=1:eps=2", "twice"),
    ],
)
def test_wrong_lines_are_refused_where_they_are_read(line: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Settings().with_changes({"optimizer": line}, where="--set optimizer")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "people.csv"
    people(path, 120)
    return path


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"optimizer": "lbfgs", "weight_decay": 0.1}, "no weight decay"),
        ({"optimizer": "lbfgs", "momentum": 0.5}, "no momentum"),
        ({"optimizer": "hessian-free", "clip_norm": 1.0}, "clip_norm does not go"),
        ({"optimizer": "kfac", "step": "backprop"}, "step=backprop does not go"),
        ({"optimizer": "extended-kalman"}, "least squares"),
    ],
)
def test_what_would_not_be_heard_is_refused(changes: dict[str, Any], match: str, table: Path, tmp_path: Path) -> None:
    settings = QUICK.with_changes({"epochs": 2, "importance": "false", **changes}, where="test")
    with pytest.raises(ConfigError, match=match):
        fit_source(str(table), settings=settings, out=str(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("line", ["lbfgs", "kfac", "hessian-free:damping=1", "nesterov"])
def test_a_run_of_the_command_line_is_chosen_for_it_and_loads(line: str, table: Path, tmp_path: Path) -> None:
    settings = Settings().with_changes({"epochs": 5, "optimizer": line, "importance": "false"}, where="test")
    result = fit_source(str(table), settings=settings, out=str(tmp_path / "run"))
    model = Predictor.load(result.folder).model
    assert all(bool(p.isfinite().all()) for p in model.parameters())
