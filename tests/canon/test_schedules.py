"""Courses of the learning rate: a table of values by hand, and PyTorch's schedulers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from lamina import optim

STEPS = 40


def rates(scheduler: LRScheduler) -> list[float]:
    """The rate before each update."""
    found = []
    for _ in range(STEPS):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def sgd() -> torch.optim.Optimizer:
    """An optimiser with rate 1 and nothing to do."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def test_linear_decay_to_one_per_cent() -> None:
    assert [optim.linear(a / 4) for a in range(5)] == pytest.approx([1, 0.7525, 0.505, 0.2575, 0.01], abs=1e-15)


def test_cosine_is_pytorchs() -> None:
    expected = rates(CosineAnnealingLR(sgd(), T_max=STEPS))
    assert [optim.cosine(k / STEPS) for k in range(STEPS)] == pytest.approx(expected, abs=1e-12)


def test_cosine_warms_up_in_a_straight_line() -> None:
    assert [optim.cosine(p, warmup=0.2) for p in (0.05, 0.1, 0.2)] == pytest.approx([0.25, 0.5, 1.0])
    assert optim.cosine(0.6, warmup=0.2) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


def test_one_cycle_is_pytorchs() -> None:
    # PyTorch counts to STEPS - 1 and puts its peak one step earlier: total_steps and pct_start are chosen to agree
    scheduler = OneCycleLR(
        sgd(), max_lr=1.0, total_steps=STEPS + 1, pct_start=11 / 41, div_factor=25, final_div_factor=400,
        cycle_momentum=False,
    )  # fmt: skip
    expected = rates(scheduler)
    assert [optim.one_cycle(k / STEPS) for k in range(STEPS)] == pytest.approx(expected, abs=1e-12)


def test_the_beginning_of_a_schedule_is_its_first_part() -> None:
    first = optim.beginning(lambda progress: 10.0 + progress, 0.4)
    assert [first(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([10.0, 10.2, 10.4])


def test_a_recorded_schedule_is_a_step_function() -> None:
    steps = optim.recorded([0.25, 0.5, 1.0], [1.0, 0.3, 0.1])
    assert [steps(p) for p in (0.0, 0.2, 0.25, 0.4, 0.5, 0.9, 1.0)] == [1.0, 1.0, 0.3, 0.3, 0.1, 0.1, 0.1]
