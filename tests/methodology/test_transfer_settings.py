"""Slower layers and the tie to a start, as settings: their rates, their pull, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lamina.errors import ConfigError
from lamina.methodology.baseline import model_card
from lamina.methodology.phase import Hooks, Phase, Plan
from lamina.methodology.problem import likelihood_of
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.gradient_step import GradientStep
from lamina.training.signals import StopOnSignal
from lamina.workflows.fit import fit
from methodology.tables import line, problem, settings, trained, write

DATA = line(120)
ALL = {"split": (1.0, 0.0, 0.0), "hidden": "8,8", "dropout": 0.0}


def phase(asked: Settings) -> Phase:
    made, whole = problem(DATA, ["y"], asked)
    card, likelihood = model_card(whole, made), likelihood_of(whole, made.targets)
    plan = Plan(made, whole, card, likelihood, torch.device("cpu"), Hooks(), StopOnSignal())
    return Phase(plan, made.split.train)


def rates(ready: Phase) -> dict[str, float]:
    names = {id(p): name for name, p in ready.step.model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in ready.step.optimizer.param_groups for p in group["params"]}


def test_each_step_down_from_the_output_learns_more_slowly() -> None:
    ready = phase(settings(**ALL, slower=0.5, learning_rate=0.08))
    assert isinstance(ready.step, GradientStep)
    assert ready.top_rate == 0.08
    assert rates(ready) == pytest.approx(
        {f"{layer}.{part}": rate for layer, rate in (("linear1", 0.02), ("linear2", 0.04), ("output", 0.08))
         for part in ("weight", "bias")}
    )  # fmt: skip


def test_layers_are_slowed_by_name_and_decay_stays_with_the_weights() -> None:
    ready = phase(settings(**ALL, slower="linear1=0.1,output.bias=0.5", learning_rate=0.1, weight_decay=0.03))
    found = rates(ready)
    assert found["linear1.weight"] == found["linear1.bias"] == pytest.approx(0.01)
    assert found["output.bias"] == pytest.approx(0.05) and found["output.weight"] == found["linear2.bias"] == 0.1
    decay = {id(p): g["weight_decay"] for g in ready.step.optimizer.param_groups for p in g["params"]}
    assert all(decay[id(p)] == (0.03 if p.ndim > 1 else 0.0) for p in ready.step.model.parameters())


def test_frozen_layers_have_no_rate_and_noise_changes_no_name() -> None:
    ready = phase(settings(**ALL, slower=0.5, freeze="linear1", weight_noise=0.1, learning_rate=0.08))
    assert set(rates(ready)) == {f"module.{n}.{p}" for n in ("linear2", "output") for p in ("weight", "bias")}


def test_a_slower_layer_moves_by_its_factor() -> None:
    """One step of gradient descent: the change is the gradient times the rate."""
    one = {"optimizer": "sgd", "momentum": 0.0, "epochs": 1, "batch_size": 120, "schedule": "constant"}
    one |= {"learning_rate": 0.01, "second_pass": "none"}
    moved = {}
    for name, more in (("plain", {}), ("slow", {"slower": "linear1=0.25"})):
        asked = settings(**ALL, **one, **more)
        before = dict(phase(asked).step.model.named_parameters())
        after = dict(trained(DATA, ["y"], asked).predictor.model.named_parameters())
        moved[name] = {key: after[key].detach() - before[key].detach() for key in after}
    for key, plain in moved["plain"].items():
        factor = 0.25 if key.startswith("linear1") else 1.0
        torch.testing.assert_close(moved["slow"][key], factor * plain, rtol=1e-3, atol=1e-6)
    assert moved["plain"]["linear1.weight"].abs().max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slower": "lineer1=0.5"}, 'no part "lineer1".*did you mean "linear1"'),
        ({"slower": "0.5", "step": "backprop"}, "one learning rate with step=backprop"),
        ({"slower": "0.5", "capture": True}, "one learning rate with capture"),
        ({"tie_to_start": 0.1}, "no start to be tied to"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        problem(DATA, ["y"], settings(**ALL, **changes))
    assert caught.value.mend


@pytest.mark.slow
def test_a_tie_keeps_the_weights_near_their_start(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.csv", DATA), write(tmp_path / "b.csv", line(120, seed=9) | {"y": -DATA["y"]})
    start = fit(str(first), settings=settings(epochs=10), out=str(tmp_path / "start"))
    before = dict(Predictor.load(start.folder).model.named_parameters())
    far = {}
    for tie in (0.0, 0.1, 3.0):
        more = {"start_from": str(start.folder), "tie_to_start": tie, "weight_noise": 1e-6, "learning_rate": 0.01}
        asked = settings(epochs=20, optimizer="sgd", schedule="constant", split=(1.0, 0.0, 0.0), seed=1, **more)
        run = fit(str(second), settings=asked, out=str(tmp_path / f"tie-{tie:g}"))
        after = dict(Predictor.load(run.folder).model.named_parameters())
        far[tie] = float(sum((after[n] - before[n]).detach().square().sum() for n in after))
    assert 10 * far[3.0] < far[0.1] < far[0.0] and far[0.0] > 0.5


@pytest.mark.slow
def test_a_run_with_slower_layers_resumes_with_the_same_bits(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", DATA)
    start = fit(str(source), settings=settings(epochs=2), out=str(tmp_path / "start"))
    more = {"slower": "0.5", "start_from": str(start.folder), "tie_to_start": 0.01, "schedule": "constant"}
    asked = settings(**more, patience=50, epochs=3)
    short = fit(str(source), settings=asked, out=str(tmp_path / "short"))
    longer = asked.with_changes({"epochs": 5}, where="test")
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(source), settings=longer, out=str(tmp_path / "whole"))
    files = [run.folder / "model" / "model.safetensors" for run in (short, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_the_second_pass_goes_on_with_the_rates_of_each_layer(schedule: str) -> None:
    asked = settings(hidden="8", slower="linear1=0.5,output=0.25", second_pass="continue", schedule=schedule, epochs=4)
    assert torch.isfinite(trained(DATA, ["y"], asked).predictor.outputs(torch.zeros(1, 1))).all()
