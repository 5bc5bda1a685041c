"""A convolution whose starting weights are a pure function of a generator."""

import torch
from torch import Generator, nn

from lamina.initialisers import Scheme, fill


def convolution(  # noqa: PLR0917 -- the order of lamina.nn.linear, with kernel and stride between
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    start: Scheme = "he",
    generator: Generator | None = None,
    *,
    bias: bool = True,
) -> nn.Conv2d:
    """Build ``torch.nn.Conv2d``, half-padded, with weights by a scheme and biases zero; nothing global is drawn.

    Args:
        inputs: Maps before.
        outputs: Maps after.
        kernel: Side of the kernels, odd.
        stride: Places between them.
        start: As ``lamina.nn.linear`` has it.
        generator: Source of the weights; None is PyTorch's default generator.
        bias: Whether each map adds one.

    Returns:
        The layer, on the current default device.
    """
    layer: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d,
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=bias,
        device=torch.get_default_device(),
    )
    fill(layer.weight, start, generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
