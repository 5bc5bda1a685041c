"""Connections, normalisation, noise and dropout: where they are differentiated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from gradients.case import GradientCase
from lamina.nn.connections import Gate, Highway, HighwayRecurrent, LowRankLinear, SkipConnections
from lamina.nn.mask_dropout import MaskDropout
from lamina.nn.noise import GaussianNoise, MultiplicativeNoise, WeightNoise
from lamina.nn.normalisation import BatchNorm, weight_norm

Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def layer(make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> Callable[[], Made]:
    """A module whose parameters are arguments; made anew for each call, so that its noise is the same each time."""

    def made() -> Made:
        names = [name for name, _ in make().named_parameters()]
        parameters = [numbers(*p.shape, seed=i + 9) for i, p in enumerate(make().parameters())]

        def function(*values: Tensor) -> Tensor:
            inputs, weights = values[: len(shapes)], values[len(shapes) :]
            out = functional_call(make().double(), dict(zip(names, weights, strict=True)), inputs)
            return torch.cat([part.flatten() for part in out]) if isinstance(out, tuple) else out

        return function, (*(numbers(*shape, seed=i) for i, shape in enumerate(shapes)), *parameters)

    return made


def seeded() -> Generator:
    return Generator().manual_seed(0)


def smooth(features: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, features), nn.Tanh())


def gated(x: Tensor, h: Tensor, v: Tensor, *values: Tensor) -> Tensor:
    gate = Gate(3, 4, 2).double()
    names = [name for name, _ in gate.named_parameters()]
    out: Tensor = functional_call(gate, dict(zip(names, values, strict=True)), (x, h), {"value": v})
    return out


CASES: list[GradientCase] = [
    GradientCase("low-rank", ("lamina.nn.LowRankLinear",), layer(lambda: LowRankLinear(5, 4, 2), (3, 5)), second=True),
    GradientCase("gate", ("lamina.nn.Gate",), layer(lambda: Gate(3, 4, 2), (2, 3), (2, 2)), second=True),
    GradientCase(
        "gated-value",
        ("lamina.nn.Gate",),
        lambda: (
            gated,
            (numbers(2, 3), numbers(2, 2), numbers(2, 4), numbers(4, 3), numbers(4), numbers(4, 2, seed=1)),
        ),
        second=True,
    ),
    GradientCase("highway", ("lamina.nn.Highway",), layer(lambda: Highway(3, smooth(3)), (4, 3)), second=True),
    GradientCase(
        "highway-recurrent",
        ("lamina.nn.HighwayRecurrent",),
        layer(lambda: HighwayRecurrent(2), (2, 3, 2), (2, 2)),
        second=True,
    ),
    GradientCase(
        "skips-summed",
        ("lamina.nn.SkipConnections",),
        layer(lambda: SkipConnections([smooth(3), smooth(3), smooth(3)], [(0, 2), (0, 3), (1, 3)]), (2, 3)),
        second=True,
    ),
    GradientCase(
        "skips-concatenated",
        ("lamina.nn.SkipConnections",),
        layer(lambda: SkipConnections([smooth(2), smooth(4), nn.Identity()], [(0, 2), (1, 4)], "concat"), (3, 2)),
        second=True,
    ),
    GradientCase("batch-norm", ("lamina.nn.BatchNorm",), layer(lambda: BatchNorm(2), (5, 2)), second=True),
    GradientCase(
        "batch-norm-unbiased",
        ("lamina.nn.BatchNorm",),
        layer(lambda: BatchNorm(2, unbiased=True), (3, 2, 2)),
        second=True,
    ),
    GradientCase("layer-norm", ("torch.nn.LayerNorm",), layer(lambda: nn.LayerNorm(4), (3, 4)), second=True),
    GradientCase(
        "weight-norm", ("lamina.nn.weight_norm",), layer(lambda: weight_norm(nn.Linear(3, 2)), (4, 3)), second=True
    ),
    GradientCase(
        "gaussian-noise", ("lamina.nn.GaussianNoise",), layer(lambda: GaussianNoise(0.5, seeded()), (3, 4)), second=True
    ),
    GradientCase(
        "multiplicative-noise",
        ("lamina.nn.MultiplicativeNoise",),
        layer(lambda: MultiplicativeNoise(0.5, seeded()), (3, 4)),
        second=True,
    ),
    GradientCase(
        "weight-noise",
        ("lamina.nn.WeightNoise",),
        layer(lambda: WeightNoise(smooth(3), 0.5, generator=seeded()), (2, 3)),
        second=True,
    ),
    GradientCase(
        "weight-noise-recurrent",
        ("lamina.nn.WeightNoise",),
        layer(lambda: WeightNoise(nn.GRU(2, 2, batch_first=True), 0.5, generator=seeded()), (2, 3, 2)),
    ),
    GradientCase(
        "mask-dropout",
        ("lamina.nn.MaskDropout",),
        layer(lambda: MaskDropout(keep=0.5, generator=seeded()), (3, 4)),
        second=True,
    ),
]

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.nn.Count": "a record of whole numbers",
    "lamina.nn.LayerCount": "a record of whole numbers",
    "lamina.nn.average_shared_gradients": "changes gradients on purpose: its result is not the derivative of the loss",
    "lamina.nn.count": "whole numbers",
    "lamina.nn.geometric_mean_dropout": "a prediction, made without gradient",
    "lamina.nn.insert_noise": "builds a chain of modules",
    "lamina.nn.label_noise": "class codes",
    "lamina.nn.monte_carlo_dropout": "a prediction, made without gradient",
}
