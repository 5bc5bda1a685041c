"""Patches of a convolution: what each output place sees, so that the layer is an affine map at every place."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad


def patches(module: nn.Module, x: Tensor) -> Tensor:
    """Return (N, T, C · k) for x (N, C, places): T output places, each with its patch in the order of the weight.

    Stride, dilation, padding of every mode and any number of space axes; with groups, channels of a group lie together.
    """
    conv: Any = module
    axes = len(conv.kernel_size)
    x = x.reshape(-1, *x.shape[x.ndim - axes - 1 :])
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    sides = conv._reversed_padding_repeated_twice  # PyTorch's own reading of "same", of numbers and of tuples
    if any(sides):
        x = pad(x, sides, mode=mode)
    for axis, (size, stride, dilation) in enumerate(zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)):
        x = x.unfold(2 + axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    # (N, C, T_1 … T_a, k_1 … k_a)
    n, channels = x.shape[:2]
    order = (0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
    return x.permute(order).reshape(n, -1, channels * _product(conv.kernel_size))


def _product(sizes: tuple[int, ...]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count
