"""RMSProp with Nesterov momentum against the recursion by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.rmsprop_nesterov import RMSPropNesterov


def gradient(x: float) -> float:
    """Of log cosh(x - 1) + x⁴/4."""
    return math.tanh(x - 1) + x**3


def recursion(epsilon: str, alpha: float = 0.8, rho: float = 0.9, lr: float = 0.05, eps: float = 0.01) -> list[float]:
    x, v, r, found = 2.0, 0.0, 0.0, []
    for _ in range(30):
        g = gradient(x + alpha * v)
        r = rho * r + (1 - rho) * g * g
        v = alpha * v - lr * g / (math.sqrt(eps + r) if epsilon == "inside" else eps + math.sqrt(r))
        x = x + v  # not x + Δx (E20)
        found.append(x)
    return found


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("epsilon", ["inside", "outside"])
def test_O12_E20_recursion(epsilon: str, closed: bool) -> None:
    x = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = RMSPropNesterov([x], 0.05, 0.8, rho=0.9, eps=0.01, epsilon=epsilon)  # type: ignore[arg-type]

    def closure() -> torch.Tensor:
        x.grad = None
        value = torch.log(torch.cosh(x - 1)) + x**4 / 4
        value.backward()
        return value.detach()

    found = []
    for _ in range(30):
        if closed:
            optimizer.step(closure)
            found.append(x.item())
        else:
            closure()
            optimizer.step()
            with optimizer.at_rest():
                found.append(x.item())
    assert found == pytest.approx(recursion(epsilon), rel=1e-12)
    other = "outside" if epsilon == "inside" else "inside"
    assert found != pytest.approx(recursion(other), rel=1e-3)


@pytest.mark.parametrize("epsilon", ["inside", "outside"])
def test_without_momentum_it_is_plain_rmsprop(epsilon: str) -> None:
    """Outside the root it is PyTorch's; inside, the recursion of the courses."""
    gradients = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = (nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(2))
    optimizer = RMSPropNesterov([ours], 0.05, 0.0, rho=0.9, eps=0.01, epsilon=epsilon)  # type: ignore[arg-type]
    reference = torch.optim.RMSprop([theirs], 0.05, alpha=0.9, eps=0.01)
    w, r = np.zeros(5), np.zeros(5)
    for g in gradients:
        ours.grad, theirs.grad = g.clone(), g.clone()
        optimizer.step()
        reference.step()
        r = 0.9 * r + 0.1 * g.numpy() ** 2
        w = w - 0.05 * g.numpy() / np.sqrt(0.01 + r)
    expected = theirs.detach().numpy() if epsilon == "outside" else w
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [{"momentum": 1.0}, {"rho": 1.0}, {"eps": -1.0}, {"epsilon": "beside"}])
def test_bad_options_are_named(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        RMSPropNesterov([nn.Parameter(torch.zeros(1))], **bad)  # type: ignore[arg-type]
