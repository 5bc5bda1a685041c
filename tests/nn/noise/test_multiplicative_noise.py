"""Multiplicative noise: mean one, its variance, and that it matches dropout's."""

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.noise import MultiplicativeNoise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_R14_the_mean_is_kept_and_the_deviation_scales_with_the_unit() -> None:
    x = torch.tensor([1.0, -3.0, 0.0], dtype=torch.float64).repeat(100_000, 1)
    y = MultiplicativeNoise(0.5, seeded())(x)
    assert (y.mean(0) - x[0]).abs().max() < 5 * 0.5 * 3 / math.sqrt(100_000)
    torch.testing.assert_close(y.std(0), torch.tensor([0.5, 1.5, 0.0], dtype=torch.float64), rtol=0.02, atol=0)


def test_R14_has_the_mean_and_variance_of_dropouts_mask() -> None:
    ones = torch.ones(200_000, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mask = nn.Dropout(0.2)(ones)
    noise = MultiplicativeNoise.like_dropout(0.2, seeded())(ones)
    assert noise.mean().item() == pytest.approx(mask.mean().item(), abs=0.01)
    assert noise.var().item() == pytest.approx(mask.var().item(), abs=0.01)
    assert MultiplicativeNoise.like_dropout(0.2).std == pytest.approx(0.5)


def test_R14_no_noise_and_evaluation_are_the_identity() -> None:
    x = torch.randn(3, 4)
    assert MultiplicativeNoise(0.0)(x) is x
    assert MultiplicativeNoise(2.0).eval()(x) is x
    assert torch.equal(MultiplicativeNoise(1.0, seeded())(x), MultiplicativeNoise(1.0, seeded())(x))


def test_R14_gradient_is_the_mask() -> None:
    x = torch.full((50,), 2.0, dtype=torch.float64, requires_grad=True)
    y = MultiplicativeNoise(1.0, seeded())(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, y.detach() / 2)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="std"):
        MultiplicativeNoise(-1.0)
    with pytest.raises(ConfigError, match="drop"):
        MultiplicativeNoise.like_dropout(1.0)
