"""The highway layer against NumPy and its two limits."""

import numpy as np
import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.connections import Highway


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_C25_mixes_transform_and_input() -> None:
    layer = Highway(4, generator=seeded()).double()
    x = torch.randn(6, 4, generator=seeded(1), dtype=torch.float64)
    wt, bt, wg, bg = (
        p.detach().numpy()
        for p in (
            layer.transform[0].weight,
            layer.transform[0].bias,
            layer.gate.feed.weight,
            layer.gate.feed.bias,
        )
    )
    t = np.maximum(x.numpy() @ wt.T + bt, 0)
    g = 1 / (1 + np.exp(-(x.numpy() @ wg.T + bg)))
    np.testing.assert_allclose(layer(x).detach(), g * t + (1 - g) * x.numpy(), rtol=1e-12, atol=1e-12)


def test_C25_limits_are_the_input_and_the_plain_layer() -> None:
    plain = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    x = torch.randn(3, 5, 4, generator=seeded())
    assert torch.equal(Highway(4, plain, gate_bias=-1e4)(x), x)
    assert torch.equal(Highway(4, plain, gate_bias=1e4)(x), plain(x))


def test_C25_carries_at_the_start() -> None:
    layer = Highway(8, generator=seeded())
    assert layer.gate.feed.bias.tolist() == [-2.0] * 8
    deep = nn.Sequential(*(Highway(8, gate_bias=-4.0, generator=seeded(k)) for k in range(50))).double()
    x = torch.randn(20, 8, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(deep(x).sum(), x)
    assert gradient.norm() > 0.1 * 20**0.5  # fifty layers further back it has not vanished


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="transform gives"):
        Highway(4, nn.Linear(4, 3))(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="in_features"):
        Highway(0)
