"""Nesterov momentum against the recursion by hand, PyTorch's variant, and the rate of convergence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.optim.nesterov import NesterovMomentum
from lamina.optim.schedules import sutskever_momentum
from optim.problems import Quadratic, network

LR = 0.03


def loss(theta: Tensor) -> Tensor:
    """Not a quadratic, so that the place of the gradient matters."""
    return (theta[0] ** 4).sum() + 2.0 * torch.cos(theta[1]) + theta[0] * theta[1] ** 2


def gradient(x: float, y: float) -> tuple[float, float]:
    """The loss's, by hand."""
    return 4 * x**3 + y**2, -2.0 * math.sin(y) + 2 * x * y


def recursion(n: int, momenta: list[float]) -> list[tuple[float, float]]:
    """v <- a v - e grad(t + a v), t <- t + v, with another a at each step."""
    x, y, vx, vy, found = 0.7, -0.4, 0.0, 0.0, []
    for k in range(n):
        a = momenta[k]
        gx, gy = gradient(x + a * vx, y + a * vy)
        vx, vy = a * vx - LR * gx, a * vy - LR * gy
        x, y = x + vx, y + vy
        found.append((x, y))
    return found


def problem() -> tuple[nn.Parameter, NesterovMomentum]:
    theta = nn.Parameter(torch.tensor([0.7, -0.4], dtype=torch.float64))
    return theta, NesterovMomentum([theta], LR, 0.9)


def differentiate(theta: nn.Parameter) -> Tensor:
    theta.grad = None
    value = loss(theta)
    value.backward()
    return value.detach()


SCHEDULE = [0.5] * 5 + [0.8] * 5 + [0.9] * 5 + [0.3] * 5


@pytest.mark.parametrize("momenta", [[0.9] * 20, SCHEDULE])
def test_O04_with_a_closure_the_gradient_is_at_the_look_ahead_and_the_parameters_are_theta(
    momenta: list[float],
) -> None:
    theta, optimizer = problem()
    found = []
    for a in momenta:
        optimizer.param_groups[0]["momentum"] = a
        optimizer.step(lambda: differentiate(theta))
        found.append(tuple(theta.tolist()))
    assert found == [pytest.approx(pair, rel=1e-13) for pair in recursion(20, momenta)]


@pytest.mark.parametrize("momenta", [[0.9] * 20, SCHEDULE])
def test_O04_without_a_closure_the_parameters_stand_at_the_look_ahead(momenta: list[float]) -> None:
    theta, optimizer = problem()
    found = []
    for a in momenta:
        optimizer.set_momentum(a)
        differentiate(theta)
        optimizer.step()
        with optimizer.at_rest():
            found.append(tuple(theta.tolist()))
    assert found == [pytest.approx(pair, rel=1e-12) for pair in recursion(20, momenta)]
    stands = theta.detach().clone()
    velocity = optimizer.state[theta]["velocity"]
    torch.testing.assert_close(stands, torch.tensor(found[-1], dtype=torch.float64) + momenta[-1] * velocity)
    with optimizer.at_rest():
        assert not torch.equal(theta, stands)
    assert torch.equal(theta, stands)  # to the bit
    optimizer.rest()
    assert tuple(theta.tolist()) == pytest.approx(found[-1], rel=1e-12)


def test_O04_the_two_ways_may_alternate() -> None:
    theta, optimizer = problem()
    for k in range(20):
        if k % 3:
            optimizer.step(lambda: differentiate(theta))
            if k % 3 == 2:
                optimizer.look_ahead()  # before a step without a closure
        else:
            differentiate(theta)
            optimizer.step()
    optimizer.rest()
    assert tuple(theta.tolist()) == pytest.approx(recursion(20, [0.9] * 20)[-1], rel=1e-12)


def test_O04_changing_the_momentum_moves_only_those_that_look_ahead() -> None:
    theta, optimizer = problem()
    for _ in range(3):
        optimizer.step(lambda: differentiate(theta))
    before = theta.detach().clone()
    optimizer.set_momentum(0.5)
    assert torch.equal(theta, before)
    optimizer.look_ahead()
    optimizer.set_momentum(0.2)
    torch.testing.assert_close(theta.detach(), before + 0.2 * optimizer.state[theta]["velocity"])
    optimizer.rest()
    torch.testing.assert_close(theta.detach(), before)


def test_O04_gradient_taken_at_rest_makes_a_step_of_ordinary_momentum() -> None:
    theta, optimizer = problem()
    twin = nn.Parameter(theta.detach().clone())
    plain = torch.optim.SGD([twin], LR, momentum=0.9)
    for _ in range(10):
        optimizer.rest()
        differentiate(theta)
        optimizer.step()
        differentiate(twin)
        plain.step()
    with optimizer.at_rest():
        torch.testing.assert_close(theta, twin, rtol=1e-12, atol=1e-13)


def test_O04_pytorchs_parameters_are_our_look_ahead_while_the_rate_is_constant() -> None:
    theta, optimizer = problem()
    twin = nn.Parameter(theta.detach().clone())
    torchs = torch.optim.SGD([twin], LR, momentum=0.9, nesterov=True)
    for k in range(30):
        for group in optimizer.param_groups + torchs.param_groups:
            group["lr"] = LR if k < 20 else LR / 2
        differentiate(theta), differentiate(twin)
        optimizer.step(), torchs.step()
        if k < 20:
            torch.testing.assert_close(theta, twin, rtol=1e-12, atol=1e-13)
            velocity, buffer = optimizer.state[theta]["velocity"], torchs.state[twin]["momentum_buffer"]
            torch.testing.assert_close(velocity, -LR * buffer, rtol=1e-11, atol=1e-13)
    assert not torch.allclose(theta, twin, rtol=1e-5)  # a velocity keeps its length when the rate changes


def test_O04_weights_that_others_change_stay_changed() -> None:
    """A projection between the steps moves θ; the velocity goes on."""
    theta, optimizer = problem()
    differentiate(theta)
    optimizer.step()
    with optimizer.at_rest():
        before = theta.detach().clone()
    with torch.no_grad():
        theta.add_(1.0)
    with optimizer.at_rest():
        torch.testing.assert_close(theta.detach(), before + 1.0)


@pytest.mark.parametrize("kappa", [100.0, 2500.0])
def test_O04_accelerated_rate_on_a_quadratic(kappa: float) -> None:
    """With ε = 1/L and α = (√κ - 1)/(√κ + 1) the error falls by 1 - 1/√κ a step: √κ times sooner than descent."""
    root = math.sqrt(kappa)
    problem = Quadratic([1.0, math.sqrt(kappa), kappa], [1.0, 1.0, 1.0])
    optimizer = NesterovMomentum([problem.theta], 1.0 / kappa, (root - 1) / (root + 1))
    first = problem.value() + 0.5 * float((problem.theta.detach() ** 2).sum())
    for k in range(1, 300):
        optimizer.step(problem)
        assert problem.value() <= first * (1 - 1 / root) ** k * (1 + 1e-9) + 1e-20
    descent = Quadratic([1.0, math.sqrt(kappa), kappa], [1.0, 1.0, 1.0])
    sgd = torch.optim.SGD([descent.theta], 1.0 / kappa)
    for _ in range(299):
        sgd.step(descent)
    assert problem.value() < 1e-2 * descent.value()


def test_sutskevers_momentum_by_its_formula() -> None:
    for t in (0, 1, 249, 250, 499, 500, 749, 2000, 12_500, 10**6):
        formula = min(1 - 2 ** (-1 - math.log2(t // 250 + 1)), 0.995)
        assert sutskever_momentum(t, 0.995) == pytest.approx(formula, abs=1e-15)
    assert [sutskever_momentum(t) for t in (0, 249, 250, 750)] == [0.5, 0.5, 0.75, 0.875]


def test_a_closure_that_fails_leaves_nothing_moved_for_those_at_rest() -> None:
    model = network()
    optimizer = NesterovMomentum(model.parameters(), 0.1)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = model(x).square().sum()
        value.backward()
        return value.detach()

    optimizer.step(closure)
    before = [p.detach().clone() for p in model.parameters()]

    def fail() -> Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        optimizer.step(fail)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_bad_momentum_is_named() -> None:
    with pytest.raises(ConfigError, match="momentum"):
        NesterovMomentum([nn.Parameter(torch.zeros(1))], 0.1, 1.0)
