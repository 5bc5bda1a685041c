"""Derivatives of the networks for vectors and tables, and of the layers that they begin with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradients.case import GradientCase
from lamina.data.spec import VectorSpec
from lamina.nn import MLP, ColumnEmbedding, PixelScaling, Residual, ResidualMLP, linear
from lamina.penalties import L2, Context

NOT_DIFFERENTIABLE: dict[str, str] = {}


def of(module: nn.Module, *inputs: Tensor) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """A module as a function of its parameters and inputs."""
    module = module.double()
    names = [name for name, _ in module.named_parameters()]
    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def function(*arguments: Tensor) -> Tensor:
        given = dict(zip(names, arguments[: len(names)], strict=True))
        result: Tensor = functional_call(module, given, arguments[len(names) :])
        return result

    return function, (*parameters, *inputs)


def points(*shape: int) -> Tensor:
    """Normal numbers that want a gradient."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def seeded() -> torch.Generator:
    """The same weights every time."""
    return torch.Generator().manual_seed(0)


def rows() -> Tensor:
    """Two numbers and two codes a row."""
    return torch.cat([points(4, 2).detach(), torch.tensor([[0.0, 1], [2, 0], [1, 1], [2, 1]])], 1).double()


def penalised() -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Two penalties added and scaled, as functions of the weights."""
    penalty = 0.3 * L2() + 2.0 * L2()
    net = nn.Linear(3, 2).double()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return penalty(Context(self.net, x, self.net(x)))

    return of(Whole(), points(2, 3).detach())


CASES = [
    GradientCase(
        "mlp", ("lamina.nn.MLP",), lambda: of(MLP(3, 2, (5,), "tanh", generator=seeded()), points(4, 3)), True
    ),
    GradientCase(
        "residual-mlp",
        ("lamina.nn.ResidualMLP",),
        lambda: of(
            ResidualMLP(3, 2, 4, 1, activation="tanh", dropout=0.0, generator=seeded()).double().eval(), points(4, 3)
        ),
        second=True,
    ),
    GradientCase("linear", ("lamina.nn.linear",), lambda: of(linear(3, 2, generator=seeded()), points(4, 3)), True),
    GradientCase(
        "residual", ("lamina.nn.Residual",), lambda: of(Residual(linear(3, 3, generator=seeded())), points(4, 3)), True
    ),
    GradientCase(
        "column-embedding",
        ("lamina.nn.ColumnEmbedding",),
        lambda: of(ColumnEmbedding(VectorSpec(2, (3, 2)), generator=seeded()), rows()),
        second=True,
    ),
    GradientCase(
        "pixel-scaling",
        ("lamina.nn.PixelScaling",),
        lambda: of(PixelScaling([0.5], [0.2]), (100 + 10 * points(2, 1, 3, 3)).detach().requires_grad_()),
        True,
    ),
    GradientCase("l2-and-sums", ("lamina.penalties.L2", "lamina.penalties.WeightedSum"), penalised, True),
]
