"""Derivatives of the preparations by their inputs, where they are given tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradients.case import GradientCase
from lamina.data.preprocessing import (
    GlobalContrast,
    LocalContrast,
    RangeScaling,
    Spectrogram,
    Sphering,
    Standardisation,
)

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.nn.data_driven_scale": "changes weights in place before training; its result is a record",
    "lamina.nn.gradient_spread": "figures of gradients, for a person to read",
    "lamina.data.preprocessing.Shortlist": "codes symbols",
}


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def transformed(preparation: Any, *shape: int, back: bool = False) -> Callable[[], tuple[Any, tuple[Tensor, ...]]]:
    function = preparation.inverse if back else preparation.transform
    return lambda: (function, (numbers(*shape).requires_grad_(),))


TABLE = numbers(9, 3)

CASES: list[GradientCase] = [
    GradientCase(
        "standardisation",
        ("lamina.data.preprocessing.Standardisation",),
        transformed(Standardisation.fit(TABLE), 4, 3),
    ),
    GradientCase("standardisation-back", (), transformed(Standardisation.fit(TABLE), 4, 3, back=True)),
    GradientCase(
        "range-scaling", ("lamina.data.preprocessing.RangeScaling",), transformed(RangeScaling.fit(TABLE), 4, 3)
    ),
    GradientCase("range-scaling-back", (), transformed(RangeScaling.fit(TABLE), 4, 3, back=True)),
    GradientCase(
        "sphering-pca",
        ("lamina.data.preprocessing.Sphering",),
        transformed(Sphering.fit(TABLE, components=2), 4, 3),
    ),
    GradientCase("sphering-pca-back", (), transformed(Sphering.fit(TABLE, components=2), 4, 2, back=True)),
    GradientCase("sphering-zca", (), transformed(Sphering.fit(TABLE, "zca", epsilon=0.1), 4, 3)),
    GradientCase(
        "global-contrast",
        ("lamina.data.preprocessing.GlobalContrast",),
        transformed(GlobalContrast(2.0, 0.5), 2, 2, 3, 3),
        second=True,
    ),
    GradientCase(
        "local-contrast",
        ("lamina.data.preprocessing.LocalContrast",),
        transformed(LocalContrast(3, 1.0, lam=0.1), 2, 2, 4, 3),
        second=True,
    ),
    GradientCase(
        "spectrogram",
        ("lamina.data.preprocessing.Spectrogram",),
        transformed(Spectrogram(16.0, 8, 4, bands=3), 2, 20),
        second=True,
    ),
]
