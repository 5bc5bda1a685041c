"""Small smooth networks and contexts for the penalties that differentiate by the inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamina.likelihoods import Categorical
from lamina.likelihoods.base import Likelihood
from lamina.penalties.base import Context


def smooth_network(inputs: int = 4, outputs: int = 3, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, outputs))
    return layers.double()


def normalised_network(inputs: int = 4, outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, outputs)).double()


def context_of(
    model: nn.Module, x: Tensor, targets: Tensor | None = None, likelihood: Likelihood | None = None,
    weights: Tensor | None = None,
) -> Context:  # fmt: skip
    outputs = model(x)
    return Context(model, x, outputs, targets, likelihood or Categorical(outputs.shape[1]), weights)


def rows(n: int = 5, size: int = 4, seed: int = 3) -> Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def codes(n: int = 5, classes: int = 3, seed: int = 4) -> Tensor:
    return torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(seed))


class Wrapped(nn.Module):
    """A network that is no chain, so that nothing of its graph is recognised."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


def parameter_gradients(value: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters()), materialize_grads=True))
