"""Hidden units: where they are differentiated."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradients.case import GradientCase
from lamina.nn import units

Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Float64 numbers away from the kinks at 0, with a gradient."""
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (z + 0.1 * z.sign()).requires_grad_()


def plain(unit: nn.Module, *shape: int) -> Callable[[], Made]:
    """A unit without parameters."""
    return lambda: (unit, (numbers(*shape),))


def layer(make: Callable[[], nn.Module], in_features: int) -> Callable[[], Made]:
    """A layer whose parameters are arguments."""

    def made() -> Made:
        module = make().double()
        names = [name for name, _ in module.named_parameters()]
        parameters = [numbers(*p.shape, seed=i + 1) for i, p in enumerate(module.parameters())]

        def function(x: Tensor, *values: Tensor) -> Tensor:
            out: Tensor = functional_call(module, dict(zip(names, values, strict=True)), (x,))
            return out

        return function, (numbers(3, in_features), *parameters)

    return made


def noisy(std: float | None) -> Callable[[], Made]:
    """The same noise at every call."""
    return lambda: (lambda z: units.NoisyReLU(std, torch.Generator().manual_seed(0))(z), (numbers(4, 5),))


CASES: list[GradientCase] = [
    GradientCase("scaled-sigmoid", ("lamina.nn.ScaledSigmoid",), plain(units.ScaledSigmoid(0.7), 4, 3), second=True),
    GradientCase("scaled-tanh", ("lamina.nn.ScaledTanh",), plain(units.ScaledTanh(), 4, 3), second=True),
    GradientCase("noisy-relu", ("lamina.nn.NoisyReLU",), noisy(0.5), second=True),
    GradientCase("noisy-relu-of-the-paper", ("lamina.nn.NoisyReLU",), noisy(None), second=True),
    GradientCase(
        "softmax-selector",
        ("lamina.nn.SoftmaxSelector",),
        lambda: (units.SoftmaxSelector(0.7), (numbers(2, 3), numbers(2, 3, 4, seed=1))),
        second=True,
    ),
    GradientCase("max-pool-units", ("lamina.nn.MaxPoolUnits",), plain(units.MaxPoolUnits(3), 2, 6), second=True),
    GradientCase(
        "max-pool-units-of-channels", ("lamina.nn.MaxPoolUnits",), plain(units.MaxPoolUnits(2, 1), 2, 4, 3), second=True
    ),
    GradientCase("maxout", ("lamina.nn.Maxout",), layer(lambda: units.Maxout(4, 3, 3), 4), second=True),
    GradientCase(
        "soft-max-pool-units", ("lamina.nn.SoftMaxPoolUnits",), plain(units.SoftMaxPoolUnits(3), 2, 6), second=True
    ),
    GradientCase("soft-maxout", ("lamina.nn.SoftMaxout",), layer(lambda: units.SoftMaxout(4, 3, 3), 4), second=True),
    *(
        GradientCase(
            f"{p:g}-norm-pool-units",
            ("lamina.nn.PNormPoolUnits",),
            plain(units.PNormPoolUnits(3, p), 2, 6),
            second=True,
        )
        for p in (1.0, 1.5, 2.0, 3.0, math.inf)
    ),
    GradientCase("p-norm", ("lamina.nn.PNorm",), layer(lambda: units.PNorm(4, 3, 3), 4), second=True),
    GradientCase("3-norm", ("lamina.nn.PNorm",), layer(lambda: units.PNorm(4, 3, 3, 3.0), 4), second=True),
    GradientCase("rbf", ("lamina.nn.RBF",), layer(lambda: units.RBF(4, 3, 2.0), 4), second=True),
]

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.nn.Heaviside": "a step; with straight_through its gradient is by definition not its derivative",
}
