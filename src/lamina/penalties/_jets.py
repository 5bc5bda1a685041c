"""Derivatives along directions, forwards through a network: first ones along several, second ones along one.

A chain of layers is taken layer by layer. An affine layer maps the value and its derivatives by one and the same
product, the rows one below the other and the bias added to the values alone; whatever else there is, the functions
between the layers above all, goes through PyTorch's forward mode. Nothing is kept from one call to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.func import vmap  # type: ignore[attr-defined,unused-ignore]

from lamina.penalties._forward_mode import derivative, second_derivative

_SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def first_order(f: nn.Module, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(x) and its derivatives J v_k along K directions, ``(N, ...)`` and ``(K, N, ...)``.

    Returns:
        Both, differentiable in the parameters and in x.
    """
    for layer in chain(f):
        if is_affine(layer):
            stack = layer_without_bias(layer, torch.cat([x.unsqueeze(0), directions]).flatten(0, 1))
            stack = stack.reshape(-1, len(x), *stack.shape[1:])
            x, directions = with_bias(layer, stack[0]), stack[1:]
        elif len(directions) == 1:
            x, moved = derivative(layer, x, directions[0])
            directions = moved.unsqueeze(0)
        else:
            x, directions = _along_all(layer, x, directions)
    return x, directions


def second_order(f: nn.Module, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return f(x), J v and d²f(x + t v)/dt² at t = 0, each ``(N, ...)``.

    Returns:
        All three, differentiable in the parameters and in x.
    """
    first: Tensor = direction
    second: Tensor | None = None  # nothing bends before the first layer that is not affine
    for layer in chain(f):
        if is_affine(layer):
            parts = [x, first] if second is None else [x, first, second]
            pieces = layer_without_bias(layer, torch.cat(parts)).tensor_split(len(parts))
            x, first = with_bias(layer, pieces[0]), pieces[1]
            second = None if second is None else pieces[2]
        else:
            x, first, second = _bend(layer, x, first, second)
    return x, first, torch.zeros_like(x) if second is None else second


def second_on_values(f: nn.Module, values: Sequence[Tensor], direction: Tensor) -> Tensor:
    """Return d²f(x + t v)/dt² at t = 0 for a chain whose units' outputs at x are known: a sweep less.

    Args:
        f: Affine layers, and Tanh or Sigmoid.
        values: ``(N, ...)``, what each Tanh or Sigmoid gives at x, the first unit's first.
        direction: v, as x.

    Returns:
        ``(N, ...)``, differentiable in the parameters and the values.
    """
    known = iter(values)
    first: Tensor = direction
    second: Tensor | None = None
    for layer in chain(f):
        if not is_affine(layer):
            first, second = _bent(layer, next(known), first, second)
        elif second is None:
            first = layer_without_bias(layer, first)
        else:
            first, second = layer_without_bias(layer, torch.cat([first, second])).tensor_split(2)
    return torch.zeros_like(first) if second is None else second


def chain(f: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of a chain within chains, or a module that is none, itself."""
    if is_chain(f):
        for layer in f:  # children() would leave out a layer that stands in the chain twice
            yield from chain(layer)
    else:
        yield f


def is_chain(f: nn.Module) -> TypeGuard[nn.Sequential]:
    """Return whether a module does nothing but call its layers in turn."""
    plain = isinstance(f, nn.Sequential) and type(f).forward is nn.Sequential.forward
    return plain and not (f._forward_hooks or f._forward_pre_hooks)


def is_affine(layer: nn.Module) -> bool:
    """Return whether a layer is one of PyTorch's affine ones, unchanged and not watched by a hook."""
    return type(layer) in _AFFINE + _SHAPES and not (layer._forward_hooks or layer._forward_pre_hooks)


def layer_without_bias(layer: nn.Module, x: Tensor) -> Tensor:
    """Return W x.

    Returns:
        The linear part of an affine layer.
    """
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(x, layer.weight)
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return layer._conv_forward(x, layer.weight, None)  # type: ignore[no-any-return]
    return layer(x)  # type: ignore[no-any-return]


def with_bias(layer: nn.Module, x: Tensor) -> Tensor:
    """Return W x + b for W x.

    Returns:
        The output of an affine layer.
    """
    bias: Tensor | None = getattr(layer, "bias", None)
    if bias is not None:
        x = x + (bias if isinstance(layer, nn.Linear) else bias.reshape(-1, *[1] * (x.ndim - 2)))
    return x


def _along_all(layer: nn.Module, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    def one(direction: Tensor) -> tuple[Tensor, Tensor]:
        return derivative(layer, x, direction)

    # One draw for all directions: they are derivatives of one function.
    along_all: Callable[[Tensor], tuple[Tensor, Tensor]] = vmap(one, out_dims=(None, 0), randomness="same")  # type: ignore[arg-type]
    return along_all(directions)


def _bend(layer: nn.Module, x: Tensor, first: Tensor, second: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if type(layer) in (nn.Tanh, nn.Sigmoid) and not (layer._forward_hooks or layer._forward_pre_hooks):
        value: Tensor = layer(x)
        return value, *_bent(layer, value, first, second)
    return second_derivative(layer, x, first, torch.zeros_like(first) if second is None else second)


def _bent(layer: nn.Module, value: Tensor, first: Tensor, second: Tensor | None) -> tuple[Tensor, Tensor]:
    # g'(a) a' and g'(a) a'' + g''(a) a'² from g(a): a third of the passes over memory that nested forward modes make.
    if isinstance(layer, nn.Tanh):
        slope, ratio = torch.addcmul(torch.ones_like(value), value, value, value=-1.0), -2.0 * value
    else:
        slope, ratio = torch.addcmul(value, value, value, value=-1.0), 1.0 - 2.0 * value  # g''/g'
    moved = slope * first
    bent = ratio * moved * first
    return moved, bent if second is None else torch.addcmul(bent, slope, second)
