"""Every first-order optimiser of the room in one table, and small problems for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.optim.adagrad import AdaGrad
from lamina.optim.adam import Adam
from lamina.optim.delta_bar_delta import DeltaBarDelta
from lamina.optim.nesterov import NesterovMomentum
from lamina.optim.quickprop import QuickProp
from lamina.optim.rmsprop_nesterov import RMSPropNesterov

Make = Callable[..., Optimizer]

FIRST_ORDER: dict[str, Make] = {
    "delta-bar-delta": lambda params, lr=0.05, **more: DeltaBarDelta(params, lr, **more),
    "quickprop": lambda params, lr=0.05, **more: QuickProp(params, lr, **({"mu": 1.75} | more)),
    "nesterov": lambda params, lr=0.05, **more: NesterovMomentum(params, lr, **more),
    "rmsprop-nesterov": lambda params, lr=0.01, **more: RMSPropNesterov(params, lr, **more),
    "rmsprop-nesterov-outside": lambda params, lr=0.01, **more: RMSPropNesterov(params, lr, epsilon="outside", **more),
    "adagrad": lambda params, lr=0.1, **more: AdaGrad(params, lr, **more),
    "adagrad-outside": lambda params, lr=0.1, **more: AdaGrad(params, lr, epsilon="outside", **more),
    "adam": lambda params, lr=0.02, **more: Adam(params, lr, **more),
    "adam-outside": lambda params, lr=0.02, **more: Adam(params, lr, epsilon="outside", **more),
}

GRADIENTS = [0.5, -1.5, 2.0, 0.1, -0.3, 0.0, 4.0, 4.0, 3.0, -0.2]


def path(make: Callable[[list[Tensor]], Optimizer], gradients: Iterable[float] = GRADIENTS) -> list[float]:
    """Where a parameter goes from 1 when it is told these gradients, in float64."""
    theta = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = make([theta])
    found = []
    for g in gradients:
        theta.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        found.append(theta.item())
    return found


class Quadratic:
    """L(θ) = ½ Σ h_i (θ_i - c_i)², as a closure and by hand."""

    def __init__(self, curvature: list[float], start: list[float], minimum: list[float] | None = None) -> None:
        self.h = torch.tensor(curvature, dtype=torch.float64)
        self.c = torch.tensor(minimum or [0.0] * len(curvature), dtype=torch.float64)
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def loss(self, theta: Tensor) -> Tensor:
        """The loss at a point."""
        return 0.5 * (self.h * (theta - self.c) ** 2).sum()

    def value(self) -> float:
        """The loss where the weights are."""
        return self.loss(self.theta.detach()).item()

    def __call__(self) -> Tensor:
        """The closure."""
        self.theta.grad = None
        loss = self.loss(self.theta)
        loss.backward()
        return loss.detach()


def network(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A little network."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def state_of(optimizer: Optimizer) -> list[Any]:
    """All tensors and numbers of an optimizer's state, in order."""
    state = optimizer.state_dict()["state"]
    return [value for key in sorted(state) for _, value in sorted(state[key].items())]
