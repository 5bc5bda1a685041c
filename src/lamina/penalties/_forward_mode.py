"""PyTorch's forward mode, where it can be differentiated again.

PyTorch's own forward rules for batch, layer and instance normalisation keep the batch's statistics constant when the
derivative is differentiated once more (torch 2.13: no error, other numbers), the forward rule of a function of its user
(p-norm units) is taken for a constant, and the gated linear unit has no second rule. Inside ``derivative`` these
functions are therefore written out in products and sums.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp  # type: ignore[attr-defined,unused-ignore]
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lamina.nn.units.p_norm import p_norm


def derivative(f: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(x) and J v.

    Returns:
        Both, differentiable.
    """
    _prepare()
    with _WrittenOut():
        pair = jvp(f, (x,), (direction,))
    return pair[0], pair[1]


def second_derivative(
    f: Callable[[Tensor], Tensor], x: Tensor, first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return value, first and second derivative at t = 0 of f(x + t first + ½ t² second).

    Returns:
        f(x), J x' and x'ᵀ H x' + J x'', differentiable.
    """

    def slope(at: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        return derivative(f, at, along)

    _prepare()
    pairs = jvp(slope, (x, first), (first, second))
    return pairs[0][0], pairs[0][1], pairs[1][1]


@cache
def _prepare() -> None:
    # At the first use of its forward mode PyTorch compiles rules of its own, and warns of how it does so.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.square, (torch.zeros(()),), (torch.zeros(()),))


class _WrittenOut(TorchFunctionMode):
    """Puts the functions of the table below in the place of PyTorch's, wherever a network calls them."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _TABLE.get(func, func)(*args, **(kwargs or {}))


def _standardised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)


def _by_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    scaled = x if weight is None else x * weight.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


def _batch_norm(  # noqa: PLR0917 -- as PyTorch calls it
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return _by_channel(_standardised(x, [0, *range(2, x.ndim)], eps), weight, bias)
    scale = torch.rsqrt(running_var + eps)
    return _by_channel(_by_channel(x, scale, -running_mean * scale), weight, bias)


def _instance_norm(  # noqa: PLR0917 -- as PyTorch calls it
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return _batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return _by_channel(_standardised(x, list(range(2, x.ndim)), eps), weight, bias)


def _layer_norm(  # noqa: PLR0917 -- as PyTorch calls it
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    x = _standardised(x, list(range(x.ndim - len(normalized_shape), x.ndim)), eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    content, gate = x.chunk(2, dim)
    return content * torch.sigmoid(gate)


def _p_norm(y: Tensor, p: float, dim: int) -> Tensor:
    least = torch.finfo(y.dtype).tiny
    size = y.abs()
    largest = size.amax(dim, keepdim=True).clamp(min=least)
    total = (size / largest).pow(p).sum(dim).clamp(min=least)  # where all are 0 the slope is taken as 0
    return total.pow(1.0 / p) * largest.squeeze(dim)


_TABLE: dict[Any, Callable[..., Any]] = {
    functional.batch_norm: _batch_norm,
    functional.instance_norm: _instance_norm,
    functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    functional.glu: _glu,
    p_norm: _p_norm,
}
