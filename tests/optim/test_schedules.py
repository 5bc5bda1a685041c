"""Schedules: tables of values, and PyTorch's schedulers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    StepLR,
)

from lamina.errors import ConfigError
from lamina.optim.schedules import (
    by_name,
    cosine,
    cosine_restarts,
    exponential,
    inverse_time,
    linear,
    step_decay,
    warmed_up,
)
from optim.problems import Quadratic


def rates(make: type[LRScheduler], steps: int, **options: object) -> list[float]:
    """PyTorch's rate before each update, for a first rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_W36_E28_linear_decay_to_one_per_cent_until_tau_and_constant_afterwards() -> None:
    """ε_τ is 1 % of ε_0, τ = 300 of 400 passes of 10 updates."""
    tau, total = 3000, 4000
    for k in (0, 1, 750, 1500, 2999, 3000, 3001, 3999, 4000):
        alpha = min(k, tau) / tau
        assert linear(k / total, until=tau / total) == pytest.approx((1 - alpha) * 1.0 + alpha * 0.01, abs=1e-12)
    assert linear(0.9, until=0.75) == linear(0.75, until=0.75) == 0.01
    assert [linear(p, floor=0.5, until=0.5) for p in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.75, 0.5, 0.5]


@pytest.mark.parametrize("steps", [10, 40, 100])
def test_step_decay_is_pytorchs(steps: int) -> None:
    ours = [step_decay(k / steps, 0.3, every=10 / steps) for k in range(steps)]
    assert ours == pytest.approx(rates(StepLR, steps, step_size=10, gamma=0.3), rel=1e-12)
    ours = [step_decay(k / steps, 0.1, (3 / steps, 7 / steps)) for k in range(steps)]
    assert ours == pytest.approx(rates(MultiStepLR, steps, milestones=[3, 7], gamma=0.1), rel=1e-12)


def test_step_decay_falls_where_division_would_round_down() -> None:
    assert step_decay(0.3, 0.5, every=0.1) == 0.125  # 0.3 / 0.1 is 2.9999999999999996


def test_exponential_is_pytorchs() -> None:
    ours = [exponential(k / 40, 0.05) for k in range(40)]
    assert ours == pytest.approx(rates(ExponentialLR, 40, gamma=0.05 ** (1 / 40)), rel=1e-12)


@pytest.mark.parametrize(("first", "growth", "cycles"), [(10, 2, 3), (7, 1, 4), (5, 3, 3)])
def test_cosine_restarts_are_pytorchs(first: int, growth: int, cycles: int) -> None:
    steps = first * sum(growth**i for i in range(cycles))
    ours = [cosine_restarts(k / steps, cycles, growth, 0.1) for k in range(steps)]
    expected = rates(CosineAnnealingWarmRestarts, steps, T_0=first, T_mult=growth, eta_min=0.1)
    assert ours == pytest.approx(expected, rel=1e-9)
    assert cosine_restarts(1.0, cycles, growth, 0.1) == pytest.approx(0.1)
    assert ours.count(1.0) == cycles


def test_inverse_time_ends_at_its_floor_and_falls_as_one_over_t() -> None:
    assert [inverse_time(p, 0.2) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 1 / 3, 0.2])
    factors = [inverse_time(p) for p in (0.0, 0.1, 0.2, 0.4)]
    inverse = [1 / f for f in factors]
    assert [b - a for a, b in pairwise(inverse)] == pytest.approx([9.9, 9.9, 19.8])


def test_warm_up_is_a_rise_and_then_the_whole_schedule() -> None:
    warm = warmed_up(cosine, 0.2)
    assert [warm(p) for p in (0.0, 0.05, 0.1)] == [0.0, 0.25, 0.5]
    for p in (0.2, 0.3, 0.77, 1.0):
        assert warm(p) == pytest.approx(cosine(p, warmup=0.2), abs=1e-12)
    half = warmed_up(lambda progress: 0.5 + progress, 0.5)
    assert [half(p) for p in (0.25, 0.5, 1.0)] == [0.25, 0.5, 1.5]
    assert warmed_up(linear, 0.0)(0.3) == linear(0.3)
    with pytest.raises(ConfigError, match="share"):
        warmed_up(linear, 1.0)


def test_every_name_is_a_schedule_of_factors() -> None:
    names = ("constant", "linear", "cosine", "one-cycle", "step", "exponential", "inverse-time", "cosine-restarts")
    for name in (*names, "warm-cosine", "warm-linear"):
        values = [by_name(name)(k / 50) for k in range(51)]
        assert all(0.0 <= v <= 1.0 and math.isfinite(v) for v in values), name
        assert max(values) > 0.9, name
    with pytest.raises(ConfigError, match="no schedule"):
        by_name("sine")


def test_falling_rates_let_noisy_descent_arrive_and_a_constant_one_does_not() -> None:
    """Robbins & Monro: with Σε = ∞ and Σε² < ∞ the noise is averaged away."""
    ends = {}
    for name in ("constant", "inverse-time", "linear"):
        problem, generator = Quadratic([1.0] * 20, [3.0] * 20), torch.Generator().manual_seed(0)
        for k in range(2000):
            noise = torch.randn(20, generator=generator, dtype=torch.float64)
            with torch.no_grad():
                problem.theta.sub_(0.5 * by_name(name)(k / 2000) * (problem.theta + noise))
        ends[name] = problem.value()
    assert ends["inverse-time"] < 0.05 * ends["constant"] and ends["linear"] < 0.1 * ends["constant"]
