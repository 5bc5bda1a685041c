"""Restarts: a forced plateau, which start is kept in the end, and several starts compared."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, nn

from lamina.errors import ConfigError, DivergedError
from lamina.likelihoods import Categorical
from lamina.nn import MLP
from lamina.training import Callback, GradientStep, Run, Supervised, fit, full_state
from lamina.training.restart import Restart, multi_start, start_generator
from lamina.training.state import copy_state, flatten_state, unflatten_state
from training.problems import blobs, stream, weights_of


def build(generator: Generator) -> nn.Module:
    return MLP(5, 3, (8,), generator=generator)


def step_for(model: nn.Module) -> GradientStep:
    return GradientStep(model, Supervised(Categorical(3)), torch.optim.Adam(model.parameters(), 0.01))


def dead() -> GradientStep:
    """A network whose hidden units are all dead: it can learn only the frequencies of the classes."""
    model = build(start_generator(0, 99))
    with torch.no_grad():
        model.linear1.weight.zero_()
        model.linear1.bias.fill_(-1.0)
    return step_for(model)


class Script(Callback):
    """Records a figure from a list."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch(self, run: Run) -> None:
        run.history.current["error"] = self.values[run.epoch - 1]


class After(Callback):
    """Weights and optimizer ages after every epoch, behind the restarts."""

    def __init__(self, callbacks: list[Callback]) -> None:
        self.callbacks, self.weights, self.ages, self.states = callbacks, [], [], []

    def on_epoch(self, run: Run) -> None:
        self.weights.append(weights_of(run.step.model))
        state = run.step.optimizer.state_dict()["state"]
        self.ages.append(int(state[0]["step"]) if state else 0)
        self.states.append(copy_state(full_state(run, self.callbacks)))


def fresh(start: int) -> torch.Tensor:
    return weights_of(build(start_generator(7, start)))


def test_O28_a_forced_plateau_is_left_and_a_start_that_learns_is_not() -> None:
    with_restarts, without = dead(), dead()
    restart = Restart(build, epochs=4, fall=0.3, restarts=2, seed=7)
    history = fit(with_restarts, stream(), max_epochs=30, callbacks=[restart])
    plain = fit(without, stream(), max_epochs=30)
    assert restart.count == 1
    assert history.series("restarts")[:9] == [0, 0, 0, 1, 1, 1, 1, 1, pytest.approx(math.nan, nan_ok=True)]
    assert history.series("loss")[-1] < 0.3 < 0.9 < plain.series("loss")[-1]
    fine = step_for(build(start_generator(0, 1)))
    untouched = step_for(build(start_generator(0, 1)))
    fit(fine, stream(), max_epochs=30, callbacks=[Restart(build, epochs=4, fall=0.3, seed=7)])
    fit(untouched, stream(), max_epochs=30)
    assert torch.equal(weights_of(fine.model), weights_of(untouched.model))


def test_O28_by_script_fresh_weights_and_a_fresh_optimizer_at_the_right_epochs() -> None:
    #            start 0: 1 -> 0.9    start 1: 2 -> 1.5     start 2: 1 -> 0.5 passes     after that nothing counts
    script = Script([1.0, 0.95, 0.9, 2.0, 1.9, 1.5, 1.0, 0.9, 0.5, 9.0, 9.0])
    restart = Restart(build, "error", epochs=3, fall=0.4, restarts=5, seed=7)
    after = After([script, restart])
    step = step_for(build(start_generator(0, 1)))
    step.optimizer.param_groups[0]["lr"] = 0.02
    fit(step, stream(), max_epochs=11, callbacks=[script, restart, after])
    assert torch.equal(after.weights[2], fresh(1)) and torch.equal(after.weights[5], fresh(2))
    n = len(stream())
    assert after.ages == [n, 2 * n, 0, n, 2 * n, 0, n, 2 * n, 3 * n, 4 * n, 5 * n]
    assert restart.count == 2 and step.optimizer.param_groups[0]["lr"] == 0.02


def test_O28_when_all_fail_the_best_goes_on() -> None:
    script = Script([1.0, 0.9, 1.0, 0.8, 1.0, 0.85, 1.0])
    restart = Restart(build, "error", epochs=2, fall=0.5, restarts=2, seed=7)
    after = After([script, restart])

    class Before(Callback):
        """Weights before the restarts change them."""

        def __init__(self) -> None:
            self.kept: dict[int, torch.Tensor] = {}

        def on_epoch(self, run: Run) -> None:
            self.kept[run.epoch] = weights_of(run.step.model)

    before = Before()
    fit(step_for(build(start_generator(0, 1))), stream(), max_epochs=7, callbacks=[script, before, restart, after])
    assert torch.equal(after.weights[5], before.kept[4])  # the second start had 0.8
    assert after.ages[5] == 2 * len(stream())


def test_O28_no_number_is_a_failure_at_once() -> None:
    script = Script([1.0, math.nan, 1.0, 0.1, 0.1])
    restart = Restart(build, "error", epochs=2, fall=0.5, restarts=2, seed=7)
    after = After([script, restart])
    fit(step_for(build(start_generator(0, 1))), stream(), max_epochs=5, callbacks=[script, restart, after])
    assert torch.equal(after.weights[1], fresh(1)) and restart.count == 1


def test_O28_resumed_anywhere_is_uninterrupted() -> None:
    values = [1.0, 0.9, 1.0, 0.8, 1.0, 0.85, 1.0]

    def callbacks() -> list[Callback]:
        return [Script(values), Restart(build, "error", epochs=2, fall=0.5, restarts=2, seed=7)]

    watched = callbacks()
    whole, after = step_for(build(start_generator(0, 1))), After(watched)
    fit(whole, stream(), max_epochs=7, callbacks=[*watched, after])
    for saved in after.states[:6]:
        resumed = step_for(build(start_generator(0, 2)))
        state = unflatten_state(*flatten_state(saved), where="test")
        fit(resumed, stream(), max_epochs=7, callbacks=callbacks(), state=state)
        assert torch.equal(weights_of(whole.model), weights_of(resumed.model))


def test_O28_several_starts_keep_the_best() -> None:
    figures = iter([0.5, math.nan, 0.2, 0.4])
    trained = []

    def train(model: nn.Module) -> float:
        trained.append(model)
        return next(figures)

    found = multi_start(build, train, 4, seed=7)
    assert found.best == 2 and found.model is trained[2]
    assert found.values == pytest.approx((0.5, math.nan, 0.2, 0.4), nan_ok=True)
    for start, model in enumerate(trained):
        assert torch.equal(weights_of(model), fresh(start))  # each start can be made again by itself
    assert len({float(weights_of(m).sum()) for m in trained}) == 4


def test_O28_several_starts_in_earnest() -> None:
    data, held_out = blobs(), blobs(60, 0)

    def train(model: nn.Module) -> float:
        fit(step_for(model), stream(data), max_epochs=2)
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(held_out.inputs), held_out.targets))  # type: ignore[arg-type]

    found = multi_start(build, train, 3)
    assert found.values[found.best] == min(found.values)
    with torch.no_grad():
        again = nn.functional.cross_entropy(found.model(held_out.inputs), held_out.targets)  # type: ignore[arg-type]
    assert float(again) == found.values[found.best]


def test_wrong_arguments_and_no_winner_are_said() -> None:
    for bad in ({"epochs": 1}, {"fall": 0.0}, {"restarts": -1}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            Restart(build, **bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n must"):
        multi_start(build, lambda model: 0.0, 0)
    with pytest.raises(DivergedError, match="none of 2"):
        multi_start(build, lambda model: math.nan, 2)
