"""Tied layers are the transposed maps of the layers whose weights they use."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lamina.autoencoders import TiedLinear, transposed_convolution
from lamina.errors import ConfigError

G = torch.Generator


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=G().manual_seed(seed), dtype=torch.float64)


def test_U06_tied_linear_is_the_transpose_and_untied_computes_the_same() -> None:
    layer = nn.Linear(5, 3).double()
    tied = TiedLinear(layer)
    with torch.no_grad():
        tied.bias.copy_(normal(5))
    h = normal(4, 3, seed=1)
    torch.testing.assert_close(tied(h), h @ layer.weight + tied.bias)
    own = tied.untied()
    torch.testing.assert_close(own(h), tied(h))
    with torch.no_grad():
        layer.weight.mul_(2.0)
    torch.testing.assert_close(tied(h) - tied.bias, 2.0 * (own(h) - tied.bias))


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), (7, 8)),
        (nn.Conv2d(2, 4, (3, 2), stride=(3, 2), dilation=(1, 2), groups=2), (9, 8)),
        (nn.Conv2d(1, 3, 5, padding="same"), (6, 5)),
        (nn.Conv2d(1, 3, 3, padding="valid"), (6, 5)),
        (nn.Conv1d(2, 3, 4, stride=3), (12,)),
        (nn.Conv3d(1, 2, 2, stride=2), (4, 5, 2)),
    ],
)
def test_U06_transposed_convolution_is_the_adjoint_of_the_convolution(layer: Any, size: tuple[int, ...]) -> None:
    layer = layer.double()
    x = normal(2, layer.in_channels, *size)
    a = layer(x) - layer.bias.reshape(1, -1, *[1] * len(size))
    h = normal(*a.shape, seed=1)
    tied = transposed_convolution(layer, size)
    assert tied.weight is layer.weight
    back = tied(h)
    assert back.shape == x.shape
    torch.testing.assert_close((back * x).sum(), (h * a).sum())  # ⟨Wᵀh, x⟩ = ⟨h, Wx⟩
    own = transposed_convolution(layer, size, channels=5 * layer.groups, tied=False, generator=G().manual_seed(3))
    assert own(normal(2, 5 * layer.groups, *a.shape[2:])).shape == x.shape
    assert not any(p is layer.weight for p in own.parameters())


def test_refuses() -> None:
    with pytest.raises(ConfigError, match="cannot be shared"):
        TiedLinear(weight_norm(nn.Linear(3, 2)))
    with pytest.raises(ConfigError, match="nothing to tie"):
        transposed_convolution(nn.Conv2d(1, 3, 3), (6, 6), channels=2)
    for layer in (nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular"), nn.Conv2d(1, 3, 2, padding="same")):
        with pytest.raises(ConfigError, match="no transposed convolution"):
            transposed_convolution(layer, (6, 6))
