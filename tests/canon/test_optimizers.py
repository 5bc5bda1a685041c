"""Optimisers that PyTorch has: held to the courses' recursions, written out by hand, and to what they imply."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, Optimizer, RMSprop

from lamina.data.batch import Batch
from lamina.data.stream import InMemory

GRADIENTS = [0.5, -1.5, 2.0, 0.1, -0.3, 0.0, 4.0]


def path(make: Callable[[list[Tensor]], Optimizer]) -> list[float]:
    """Where a parameter goes from 1 when the gradients are the list above."""
    theta = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = make([theta])
    found = []
    for g in GRADIENTS:
        theta.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        found.append(theta.item())
    return found


def test_sgd() -> None:
    theta, expected = 1.0, []
    for g in GRADIENTS:
        theta -= 0.1 * g
        expected.append(theta)
    assert path(lambda p: SGD(p, 0.1)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.99])
def test_momentum_recursion_and_terminal_speed(alpha: float) -> None:
    """v <- alpha v - eps g; under a constant gradient the speed tends to eps g / (1 - alpha)."""
    theta, v, expected = 1.0, 0.0, []
    for g in GRADIENTS:
        v = alpha * v - 0.1 * g
        theta += v
        expected.append(theta)
    assert path(lambda p: SGD(p, 0.1, momentum=alpha)) == pytest.approx(expected, rel=1e-12)
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = SGD([weight], 0.1, momentum=alpha)
    before = 0.0
    for _ in range(5000):
        before = weight.item()
        weight.grad = torch.ones((), dtype=torch.float64)
        optimizer.step()
    assert before - weight.item() == pytest.approx(0.1 / (1 - alpha), rel=1e-9)


def test_adagrad_recursion() -> None:
    theta, r, expected = 1.0, 0.0, []
    for g in GRADIENTS:
        r += g * g
        theta -= 0.1 * g / (1e-7 + math.sqrt(r))
        expected.append(theta)
    assert path(lambda p: Adagrad(p, 0.1, eps=1e-7)) == pytest.approx(expected, rel=1e-12)


def test_rmsprop_recursion() -> None:
    theta, r, rho, expected = 1.0, 0.0, 0.9, []
    for g in GRADIENTS:
        r = rho * r + (1 - rho) * g * g
        theta -= 0.1 * g / (1e-6 + math.sqrt(r))
        expected.append(theta)
    assert path(lambda p: RMSprop(p, 0.1, alpha=rho, eps=1e-6)) == pytest.approx(expected, rel=1e-12)


def test_adam_recursion_and_first_step() -> None:
    theta, s, r, rho1, rho2, expected = 1.0, 0.0, 0.0, 0.9, 0.999, []
    for t, g in enumerate(GRADIENTS, start=1):
        s = rho1 * s + (1 - rho1) * g
        r = rho2 * r + (1 - rho2) * g * g
        theta -= 0.1 * (s / (1 - rho1**t)) / (1e-8 + math.sqrt(r / (1 - rho2**t)))
        expected.append(theta)
    found = path(lambda p: Adam(p, 0.1, eps=1e-8))
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[0] == pytest.approx(1.0 - 0.1, abs=1e-8)  # the first step is -eps sign(g)


def test_the_mean_minibatch_gradient_is_the_full_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 3, generator=generator).double(), torch.randn(60, generator=generator).double()
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def gradient(inputs: Tensor, targets: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(((inputs @ w - targets) ** 2).mean(), w)
        return found

    stream = InMemory(Batch(x, y), batch_size=12, seed=3)
    for epoch in (0, 1):
        found = [gradient(b.inputs, b.targets) for b in stream.batches(epoch)]  # type: ignore[arg-type]
        assert len(found) == 5
        torch.testing.assert_close(torch.stack(found).mean(0), gradient(x, y))
    first, second = (next(stream.batches(epoch)).inputs for epoch in (0, 1))
    assert not torch.equal(first, second)  # shuffled anew each epoch


def test_clipping_by_norm_keeps_the_direction_and_by_value_does_not() -> None:
    g = torch.tensor([3.0, -4.0, 12.0], dtype=torch.float64)  # norm 13
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    weight.grad = g.clone()
    assert nn.utils.clip_grad_norm_([weight], 2.6).item() == pytest.approx(13.0)
    torch.testing.assert_close(weight.grad, g / 5, rtol=1e-6, atol=0)
    weight.grad = g.clone()
    nn.utils.clip_grad_norm_([weight], 20.0)
    torch.testing.assert_close(weight.grad, g, rtol=0, atol=0)
    nn.utils.clip_grad_value_([weight], 3.5)
    assert weight.grad.tolist() == [3.0, -3.5, 3.5]
