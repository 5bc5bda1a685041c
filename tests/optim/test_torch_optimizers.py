"""PyTorch's optimisers that the courses name and the canon's other tests leave out, against recursions by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.nn import MLP
from lamina.training.transfer import depth_factors, learning_rate_groups
from optim.problems import GRADIENTS, Quadratic, path


def test_O10_adadelta_recursion() -> None:
    """Zeiler 2012, algorithm 1: the units of the step are those of the weights."""
    w, r, d, rho, eps, expected = 1.0, 0.0, 0.0, 0.9, 1e-6, []
    for g in GRADIENTS:
        r = rho * r + (1 - rho) * g * g
        step = math.sqrt(d + eps) / math.sqrt(r + eps) * g
        d = rho * d + (1 - rho) * step * step
        w -= 1.0 * step
        expected.append(w)
    assert path(lambda p: torch.optim.Adadelta(p, 1.0, rho=rho, eps=eps)) == pytest.approx(expected, rel=1e-12)


def test_rprop_recursion() -> None:
    """Only the sign counts: × 1.2 while it stays, × 0.5 when it flips, and then no move (no backtracking)."""
    w, size, before, expected = 1.0, 0.1, 0.0, []
    for g in GRADIENTS:
        if before * g > 0:
            size = min(size * 1.2, 50.0)
        elif before * g < 0:
            size, g = max(size * 0.5, 1e-6), 0.0
        w -= size * (0 if g == 0 else math.copysign(1, g))
        before = g
        expected.append(w)
    assert path(lambda p: torch.optim.Rprop(p, 0.1)) == pytest.approx(expected, rel=1e-12)


def test_O03_the_two_courses_write_the_same_momentum() -> None:
    """Δ = ηg + αΔ₋₁, θ -= Δ is v = αv - εg, θ += v; PyTorch's buffer is v / -ε, which parts when the rate changes."""
    a, b, delta, v = 1.0, 1.0, 0.0, 0.0
    for g in GRADIENTS:
        delta = 0.1 * g + 0.9 * delta
        a -= delta
        v = 0.9 * v - 0.1 * g
        b += v
    assert a == pytest.approx(b, rel=1e-12)
    assert path(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))[-1] == pytest.approx(a, rel=1e-12)


@pytest.mark.parametrize(("alpha", "times"), [(0.5, 2.0), (0.9, 10.0), (0.99, 100.0)])
def test_W21_terminal_speed_of_momentum(alpha: float, times: float) -> None:
    """Under a constant gradient the speed tends to ε‖g‖/(1 - α): 2, 10, 100 times that of descent."""
    weight, g = nn.Parameter(torch.zeros(2, dtype=torch.float64)), torch.tensor([3.0, 4.0], dtype=torch.float64)
    optimizer = torch.optim.SGD([weight], 0.1, momentum=alpha)
    for _ in range(3000):
        before = weight.detach().clone()
        weight.grad = g
        optimizer.step()
    assert float((weight.detach() - before).norm()) == pytest.approx(times * 0.1 * 5.0, rel=1e-9)


def test_E30_momentum_does_not_multiply_the_rate_twice() -> None:
    """Course 004's summary writes θ ← θ + αV with α in V already; the detailed page has θ ← θ + V, as PyTorch does."""
    v = -0.1 * GRADIENTS[0]
    second = 0.9 * v - 0.1 * GRADIENTS[1]
    found = path(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    assert found[:2] == pytest.approx([1.0 + v, 1.0 + v + second], rel=1e-12)
    assert found[0] != pytest.approx(1.0 + 0.1 * v, rel=1e-3)


def test_O27_per_layer_rates_are_parameter_groups() -> None:
    """Smaller rates for higher layers, and each weight moves by its own rate times its gradient."""
    net = MLP(4, 3, (6, 5), generator=torch.Generator().manual_seed(0)).double()
    factors = {"linear1": 1.0, "linear2": 0.5, "output": 0.25}
    optimizer = torch.optim.SGD(learning_rate_groups(net, 0.2, factors))
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).double()
    net(x).square().sum().backward()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer.step()
    for name, p in net.named_parameters():
        assert p.grad is not None
        rate = 0.2 * factors[name.split(".")[0]]
        torch.testing.assert_close(p.detach(), before[name] - rate * p.grad, rtol=1e-12, atol=1e-15)
    assert depth_factors(net, 0.5)["linear1"] == 0.25  # the other direction, for fine-tuning


def test_O01_batch_descent_at_a_fixed_rate_arrives_at_the_minimum() -> None:
    problem = Quadratic([1.0, 7.0], [2.0, -1.0], [0.5, 3.0])
    optimizer = torch.optim.SGD([problem.theta], 0.2)
    for k in range(1, 100):
        optimizer.step(problem)
        for i, h in enumerate((1.0, 7.0)):
            start = (2.0 - 0.5, -1.0 - 3.0)[i]
            assert problem.theta[i].item() - problem.c[i].item() == pytest.approx(start * (1 - 0.2 * h) ** k, abs=1e-12)
