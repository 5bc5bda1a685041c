"""Additive noise: its statistics, its two modes, and the ridge penalty that it is for a linear model."""

import copy
import math

import numpy as np
import pytest
import torch

from lamina.errors import ConfigError
from lamina.nn.noise import GaussianNoise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("std", [math.sqrt(0.1), 2.0])
def test_R09_noise_has_mean_zero_and_the_given_deviation(std: float) -> None:
    x = torch.full((200, 1000), 3.0, dtype=torch.float64)
    e = GaussianNoise(std, seeded())(x) - x
    n = e.numel()
    assert abs(e.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(e.var().item() / std**2 - 1) < 5 * math.sqrt(2 / n)
    assert abs((e**4).mean().item() / std**4 - 3) < 5 * math.sqrt(96 / n)  # Gaussian, not another of that variance
    assert abs((e[:, 1:] * e[:, :-1]).mean().item()) < 5 * std**2 / math.sqrt(n)


def test_R10_no_noise_and_evaluation_are_the_identity() -> None:
    x = torch.randn(3, 4)
    assert GaussianNoise(0.0)(x) is x
    assert GaussianNoise(5.0).eval()(x) is x


def test_R09_on_a_linear_model_it_is_ridge_in_expectation() -> None:
    """argmin_w E ‖y - (X + σE) w‖² solves (XᵀX + N σ² I) w = Xᵀy: least squares on many noisy copies tends to it."""
    generator, std, n = seeded(), 0.7, 30
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64) + torch.randn(n, generator=generator).double()
    layer, copies = GaussianNoise(std, generator), 20_000
    noisy = layer(x.repeat(copies, 1))
    found = torch.linalg.lstsq(noisy, y.repeat(copies)[:, None]).solution[:, 0].numpy()
    xs, ys = x.numpy(), y.numpy()
    ridge = np.linalg.solve(xs.T @ xs + n * std**2 * np.eye(4), xs.T @ ys)
    plain = np.linalg.lstsq(xs, ys, rcond=None)[0]
    assert np.abs(found - ridge).max() < 0.02
    assert np.abs(plain - ridge).max() > 0.5
    # The loss itself: E (y - wᵀ(x + σe))² = (y - wᵀx)² + σ²‖w‖².
    w = torch.tensor([0.3, 1.0, -2.0, 0.1], dtype=torch.float64)
    losses = (y.repeat(copies) - noisy @ w).square()
    expected = (y - x @ w).square().mean() + std**2 * w.square().sum()
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(len(losses))


def test_generator_decides_and_gradient_is_one() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    state = torch.get_rng_state()
    first, second = (GaussianNoise(1.0, seeded(1))(x) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(gradient, torch.ones(3, 4))
    layer = copy.deepcopy(GaussianNoise(1.0, seeded(1)))
    assert torch.equal(layer(x), first) and not torch.equal(layer(x), first)
    assert GaussianNoise(1.0, seeded())(torch.zeros(2, device="meta")).is_meta
    with torch.random.fork_rng():
        torch.manual_seed(7)
        a = GaussianNoise(1.0)(x)
        torch.manual_seed(7)
        assert torch.equal(GaussianNoise(1.0)(x), a)


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf")])
def test_refusals(std: float) -> None:
    with pytest.raises(ConfigError, match="std must be"):
        GaussianNoise(std)
