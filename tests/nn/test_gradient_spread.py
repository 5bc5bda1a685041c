"""The spread of what goes back, against products of matrices, and what becomes of it over depth."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.initialisers import initialise
from lamina.nn import LowRankLinear, data_driven_scale, gradient_spread


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_I09_back_propagation_by_hand() -> None:
    net = nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), LowRankLinear(6, 4, 2), nn.Tanh(), nn.Linear(4, 3))
    net = net.double()
    x = torch.randn(50, 5, generator=seeded(), dtype=torch.float64)
    before = copy.deepcopy(net.state_dict())
    found = gradient_spread(net, lambda y: y.square().sum(1).mean(), x)
    with torch.no_grad():
        (w1, b1), (w3, b3) = ((net[k].weight, net[k].bias) for k in (0, 4))
        w2, b2 = net[2].u @ net[2].v, net[2].bias  # type: ignore[union-attr, operator]
        z1 = x @ w1.T + b1  # type: ignore[union-attr, operator]
        h2 = torch.tanh(z1.relu() @ w2.T + b2)
        d3 = 2.0 * (h2 @ w3.T + b3) / 50  # type: ignore[union-attr, operator]
        d2 = (d3 @ w3) * (1.0 - h2**2)
        d1 = (d2 @ w2) * (z1 > 0)
    assert list(found) == ["0", "2", "4"]
    assert list(found.values()) == pytest.approx([d.std(correction=0).item() for d in (d1, d2, d3)], rel=1e-12)
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(part._forward_hooks for part in net.modules())


def deep(scheme: str) -> tuple[nn.Sequential, Tensor]:
    net = nn.Sequential(*[nn.Linear(100, 100, bias=False) for _ in range(6)])
    initialise(net, scheme, seeded(1))
    return net, torch.randn(300, 100, generator=seeded(2))


def test_I09_a_gradient_fades_by_each_layers_size_and_keeps_through_a_scaled_network() -> None:
    """A linear layer of weights of deviation s multiplies the spread by s √out: by 0.01 · 10 each time."""
    net, x = deep("small")
    c = torch.randn(300, 100, generator=seeded(3))  # independent of the weights, as the derivation has it
    back = list(gradient_spread(net, lambda y: (c * y).sum(), x).values())
    assert [a / b for a, b in pairwise(back)] == pytest.approx([0.1] * 5, rel=0.1)
    data_driven_scale(net, x)
    back = list(gradient_spread(net, lambda y: (c * y).sum(), x).values())
    assert [a / b for a, b in pairwise(back)] == pytest.approx([1.0] * 5, rel=0.15)


def test_I09_shared_unused_and_frozen_layers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            y: Tensor = self.used(self.used(x))
            return y

    net, x = Net().double().requires_grad_(False), torch.randn(20, 3, generator=seeded(), dtype=torch.float64)
    c = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    with torch.no_grad():
        found = gradient_spread(net, lambda y: (y @ c).sum(), x)
    both = torch.cat([c.expand(20, 3), (c @ net.used.weight).expand(20, 3)])
    assert found == {"unused": 0.0, "used": pytest.approx(both.std(correction=0).item(), rel=1e-12)}
    assert gradient_spread(nn.Tanh(), lambda y: y.sum(), x) == {}


def test_I09_what_is_not_finite_is_named() -> None:
    with pytest.raises(ConfigError, match='layer "0"'):
        gradient_spread(nn.Sequential(nn.Linear(2, 2)), lambda y: y.sum() * math.inf, torch.ones(3, 2))
