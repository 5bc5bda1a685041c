"""The stopwatch by a clock that the test moves, and the schedules that follow it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods.gaussian import Gaussian
from lamina.recipes.martens2010.contestants import CONTESTANTS, CosineByTime, SutskeverMomentum, contestant
from lamina.recipes.martens2010.problems import PROBLEMS, autoencoder
from lamina.recipes.martens2010.stopwatch import Stopwatch
from lamina.training.callback import Callback
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.objective import Supervised


class Clock:
    """Moves by hand: ``step`` seconds an update, ``look`` seconds a look."""

    def __init__(self, step: float, look: float) -> None:
        self.now, self.step, self.look = 100.0, step, look

    def __call__(self) -> float:
        return self.now


class Worked(Callback):
    """Lets an update take its time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step(self, run: Any) -> None:
        self.clock.now += self.clock.step


def run(
    step: float, look: float, seconds: float, looks: int, losses: list[float] | None = None
) -> tuple[Stopwatch, int]:
    """Train a line with the clock; return the watch and the number of updates."""
    clock = Clock(step, look)
    seen = iter(losses) if losses is not None else None

    def figures(model: nn.Module) -> tuple[float, ...]:
        clock.now += look
        return (next(seen) if seen is not None else 1.0, 2.0)

    watch = Stopwatch(seconds, looks, figures, clock)
    network = nn.Linear(1, 1)
    train = GradientStep(network, Supervised(Gaussian(1, scale=1.0)), torch.optim.SGD(network.parameters(), lr=0.01))
    data = InMemory(Batch(torch.ones(4, 1), torch.ones(4)), 2)
    counted: list[int] = []
    counter = type("Counter", (Callback,), {"on_end": lambda self, run: counted.append(run.steps)})()
    fit(train, data, max_epochs=10_000, callbacks=[Worked(clock), watch, counter])
    return watch, counted[0]


def test_looks_are_spread_evenly_and_their_time_does_not_count() -> None:
    watch, updates = run(step=1.0, look=50.0, seconds=20.0, looks=5)
    assert [row[:2] for row in watch.curve] == [(0.0, 0.0), (5.0, 5.0), (10.0, 10.0), (15.0, 15.0), (20.0, 20.0)]
    assert updates == 20


def test_steps_longer_than_the_time_between_looks_are_looked_at_once_each() -> None:
    watch, updates = run(step=8.0, look=1.0, seconds=20.0, looks=11)
    assert [row[0] for row in watch.curve] == [0.0, 8.0, 16.0, 24.0]  # the step in which time runs out is finished
    assert updates == 3


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    watch, updates = run(step=1.0, look=0.0, seconds=20.0, looks=5, losses=[1.0, float("nan"), 1.0])
    assert updates == 5
    assert len(watch.curve) == 2


@pytest.mark.parametrize(
    ("steps", "used", "expected"),
    [(0, 0.0, 0.5), (249, 0.0, 0.5), (250, 0.0, 0.75), (1_000, 0.0, 0.9), (100_000, 89.0, 0.99), (100_000, 90.0, 0.9),
     (0, 95.0, 0.5)],
)  # fmt: skip
def test_momentum_grows_with_the_updates_and_is_taken_back_at_the_end(steps: int, used: float, expected: float) -> None:
    groups: list[dict[str, float]] = [{}, {}]
    watch: Any = SimpleNamespace(used=used, seconds=100.0)
    state: Any = SimpleNamespace(steps=steps, step=SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups)))
    SutskeverMomentum(0.99, watch).on_step(state)
    assert groups == [{"momentum": pytest.approx(expected)}] * 2


def test_cosine_falls_with_the_time_used() -> None:
    groups = [{"lr": 0.4}]
    watch: Any = SimpleNamespace(used=0.0, seconds=100.0)
    state: Any = SimpleNamespace(step=SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups)))
    schedule = CosineByTime(watch)
    schedule.on_start(state)
    for used, expected in ((0.0, 0.4), (50.0, 0.2), (100.0, 0.0), (120.0, 0.0)):
        watch.used = used
        schedule.on_step(state)
        assert groups[0]["lr"] == pytest.approx(expected, abs=1e-12)


def test_every_contestant_has_a_batch_for_each_problem_and_builds_for_the_whole_network() -> None:
    network = autoencoder((12, 8, 3), torch.Generator().manual_seed(0))
    for one in CONTESTANTS:
        assert set(one.batch) == set(PROBLEMS)
        assert contestant(one.name) is one
        built = one.build(network, "digits", torch.Generator().manual_seed(0))
        held = {id(p) for group in built.param_groups for p in group["params"]}
        assert held == {id(p) for p in network.parameters()}
