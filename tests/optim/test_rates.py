"""Rates of convergence measured on quadratics whose condition number is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lamina.optim.nesterov import NesterovMomentum
from optim.problems import Quadratic

MU = 1.0


def problem(kappa: float, n: int = 12) -> Quadratic:
    """Curvatures from µ = 1 to L = κ, and a start with something in every direction."""
    return Quadratic(torch.logspace(0, math.log10(kappa), n, dtype=torch.float64).tolist(), [1.0] * n)


def steps_to(error: float, q: Quadratic, optimizer: torch.optim.Optimizer) -> int:
    for k in range(1, 200_000):
        optimizer.step(q)
        if q.value() < error:
            return k
    raise AssertionError("never came there")


@pytest.mark.parametrize("kappa", [10.0, 100.0, 1000.0])
def test_O32_E31_descent_keeps_the_bound(kappa: float) -> None:
    """L(θ_k) - L* ≤ (L/2) ((κ-1)/(κ+1))^{2k} ‖θ_0 - θ*‖² at α = 2/(L + µ); κ, not k, and µ, not 1."""
    q = problem(kappa)
    start = float((q.theta.detach() ** 2).sum())
    optimizer = torch.optim.SGD([q.theta], 2.0 / (kappa + MU))
    ratio = (kappa - 1) / (kappa + 1)
    values = []
    for k in range(1, 400):
        optimizer.step(q)
        values.append(q.value())
        assert values[-1] <= 0.5 * kappa * ratio ** (2 * k) * start * (1 + 1e-9)
    if kappa > 10:  # the slope is the bound's own: it cannot be had lower
        slope = (values[-1] / values[-101]) ** (1 / 100)
        assert slope == pytest.approx(ratio**2, rel=1e-3)
    wrong = problem(kappa)  # α = 2/(L + 1) is the same for µ = 1; with L alone in 2/L the stiffest direction swings
    other = torch.optim.SGD([wrong.theta], 2.0 / kappa)
    for _ in range(400):
        other.step(wrong)
    assert abs(wrong.theta[-1].item()) == pytest.approx(1.0, rel=1e-9)


def test_O32_updates_grow_with_kappa_for_descent_and_with_its_root_for_momentum() -> None:
    """Slope of log(updates) over log(κ): 1 for descent, ½ for heavy ball and Nesterov."""
    kappas = [20.0, 200.0, 1000.0]
    updates: dict[str, list[int]] = {"descent": [], "heavy ball": [], "nesterov": []}
    for kappa in kappas:
        root = math.sqrt(kappa)
        q = problem(kappa)
        updates["descent"].append(steps_to(1e-8, q, torch.optim.SGD([q.theta], 2 / (kappa + MU))))
        q = problem(kappa)
        ball = torch.optim.SGD([q.theta], 4 / (root + 1) ** 2, momentum=((root - 1) / (root + 1)) ** 2)
        updates["heavy ball"].append(steps_to(1e-8, q, ball))
        q = problem(kappa)
        accelerated = NesterovMomentum([q.theta], 1 / kappa, (root - 1) / (root + 1))
        updates["nesterov"].append(steps_to(1e-8, q, accelerated))
    for name, slope in {"descent": 1.0, "heavy ball": 0.5, "nesterov": 0.5}.items():
        measured = math.log(updates[name][-1] / updates[name][0]) / math.log(kappas[-1] / kappas[0])
        assert measured == pytest.approx(slope, abs=0.08), (name, updates)
    assert updates["descent"][-1] > 10 * updates["nesterov"][-1]


def test_O32_updates_grow_with_the_logarithm_of_the_accuracy() -> None:
    counts = []
    for error in (1e-4, 1e-8, 1e-12):
        q = problem(100.0)
        counts.append(steps_to(error, q, torch.optim.SGD([q.theta], 2 / 101)))
    assert counts[2] - counts[1] == pytest.approx(counts[1] - counts[0], rel=0.05)


def excess(rate: float, power: float, k: int, runs: int = 4000) -> float:
    """Mean of ½ w² after k updates w ← w - rate / t^power (w + noise), over many runs at once."""
    generator = torch.Generator().manual_seed(0)
    w = torch.zeros(runs, dtype=torch.float64)
    for t in range(1, k + 1):
        w -= rate / t**power * (w + torch.randn(runs, generator=generator, dtype=torch.float64))
    return 0.5 * w.square().mean().item()


def test_O32_stochastic_descent_falls_as_one_over_k_where_the_loss_is_strongly_convex() -> None:
    """With ε_t = 1/t the iterate is minus the mean of the noise: excess ½ σ²/k exactly."""
    for k in (50, 200, 800):
        assert excess(1.0, 1.0, k) * k == pytest.approx(0.5, rel=0.1)


def test_O32_stochastic_descent_falls_as_one_over_root_k_where_it_is_not() -> None:
    """Loss |w|, subgradients with noise, ε_t ∝ 1/√t: the mean iterate's loss falls as 1/√k."""
    generator, runs = torch.Generator().manual_seed(0), 500
    w = torch.full((runs,), 3.0, dtype=torch.float64)
    found = {}
    for t in range(1, 6401):
        rate = 1.0 / math.sqrt(t)
        w -= rate * (torch.sign(w) + torch.randn(runs, generator=generator, dtype=torch.float64))
        if t in (100, 400, 1600, 6400):
            found[t] = w.abs().mean().item()
    slope = math.log(found[6400] / found[100]) / math.log(64)
    assert slope == pytest.approx(-0.5, abs=0.06)


def test_O32_a_constant_rate_ends_in_a_ball_of_the_noise() -> None:
    """w ← (1-ε) w - ε ξ has variance ε/(2-ε) in the long run."""
    for rate in (0.1, 0.5):
        generator = torch.Generator().manual_seed(1)
        w = torch.full((4000,), 5.0, dtype=torch.float64)
        for _ in range(200):
            w -= rate * (w + torch.randn(4000, generator=generator, dtype=torch.float64))
        assert w.var().item() == pytest.approx(rate / (2 - rate), rel=0.1)


def test_O33_descent_is_the_minimum_of_the_bound_with_curvature_L() -> None:
    """argmin_δ h + ∇hᵀδ + (L/2) ‖δ‖² = -∇h/L, and the bound holds: h falls by at least ‖∇h‖²/(2L)."""
    lipschitz = 30.0
    q = problem(lipschitz, 5)
    value, gradient = q().item(), q.theta.grad.clone()  # type: ignore[union-attr]
    before = q.theta.detach().clone()
    torch.optim.SGD([q.theta], 1.0 / lipschitz).step()
    delta = q.theta.detach() - before

    def bound(d: Tensor) -> Tensor:
        return value + gradient @ d + 0.5 * lipschitz * d @ d

    assert torch.allclose(gradient + lipschitz * delta, torch.zeros(5).double(), atol=1e-12)
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            other = delta + scale * torch.randn(5, generator=generator, dtype=torch.float64)
            assert bound(other) > bound(delta)
            assert q.loss(before + other) <= bound(other) + 1e-12  # an upper bound everywhere
    assert q.value() <= value - float(gradient @ gradient) / (2 * lipschitz) + 1e-12
    # It is loose where the curvature is below L: there Newton's step is κ times as long.
    assert delta[0].item() == pytest.approx(-before[0].item() / lipschitz)
