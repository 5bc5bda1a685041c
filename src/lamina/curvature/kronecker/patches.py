"""Patches of a convolution: what each output place sees, so that the layer is an affine map at every place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad


def patches(module: nn.Module, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Return (N, T, C · k) for x (N, C, places): T output places, each with its patch in the order of the weight.

    Stride, dilation, padding of every mode and any number of space axes; with groups, channels of a group lie together.
    Of a transposed convolution x is what comes out, or the gradient by it: the T places are those that go in, each with
    the patch that it is spread over.

    Args:
        module: The convolution.
        x: Without an axis of examples it is taken for one.
        size: Places along each axis; None is all that fit.

    Returns:
        The patches.
    """
    conv: Any = module
    axes = len(conv.kernel_size)
    x = x.reshape(-1, *x.shape[x.ndim - axes - 1 :])
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    sides = conv._reversed_padding_repeated_twice  # PyTorch's own reading of "same", of numbers and of tuples
    if any(sides):
        x = pad(x, sides, mode=mode)
    for axis, (kernel, stride, dilation) in enumerate(zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)):
        x = x.unfold(2 + axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        if size is not None:  # padding of a transposed convolution's outputs can make room for one more
            x = x.narrow(2 + axis, 0, size[axis])
    # (N, C, T_1 … T_a, k_1 … k_a)
    n, channels = x.shape[:2]
    order = (0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
    return x.permute(order).reshape(n, -1, channels * _product(conv.kernel_size))


def _product(sizes: tuple[int, ...]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count
