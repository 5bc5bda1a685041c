"""A small network with its loss, and its derivatives by central differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lamina import nn as lamina_nn
from lamina.curvature import AtParameters, loss_at, outputs_at
from lamina.likelihoods import Categorical


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small() -> tuple[nn.Module, Tensor, Tensor]:
    """A network of 27 weights, 10 examples, 3 classes."""
    model = lamina_nn.MLP(2, 3, (4,), activation="tanh", generator=seeded(0)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=seeded(7), dtype=p.dtype))
    x = torch.randn(10, 2, generator=seeded(1), dtype=torch.float64)
    return model, x, torch.arange(10) % 3


def loss() -> AtParameters:
    model, x, y = small()
    return loss_at(model, Categorical(3), x, y)


def outputs() -> AtParameters:
    model, x, _ = small()
    return outputs_at(model, x)


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([t.detach().reshape(-1) for t in tensors.values()])


def unflat(vector: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
    made, start = {}, 0
    for name, t in like.items():
        made[name] = vector[start : start + t.numel()].reshape(t.shape)
        start += t.numel()
    return made


def differences(function: Callable[[Tensor], Tensor], at: Tensor, h: float = 1e-5) -> Tensor:
    """The Jacobian of a function of a vector, one column a component, by central differences."""
    return torch.stack([(function(at + h * e) - function(at - h * e)) / (2 * h) for e in torch.eye(len(at)).to(at)], -1)


def hessian(point: AtParameters) -> Tensor:
    """The matrix of second derivatives: differences of the gradient that ``backward`` gives."""

    def gradient(vector: Tensor) -> Tensor:
        values = {k: v.clone().requires_grad_() for k, v in unflat(vector, point.parameters).items()}
        return flat(dict(enumerate(torch.autograd.grad(point.function(values), list(values.values())))))  # type: ignore[arg-type]

    return differences(gradient, flat(point.parameters))
