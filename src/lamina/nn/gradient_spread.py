"""The spread of what goes back through a network: each layer's gradient on a batch of data."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.connections.low_rank import LowRankLinear
from lamina.nn.data_driven_scale import AFFINE, probing


def gradient_spread(module: nn.Module, loss: Callable[[Any], Tensor], *inputs: Any) -> dict[str, float]:
    """Return the standard deviation of the loss's gradient by each weight layer's outputs, over a batch.

        s_k = std of ∂L/∂y_k over all examples, places and units,   y_k = W_k x_k + b_k

    The other half of ``data_driven_scale``, which sees to the signal on its way up: where s falls or grows by a factor
    from layer to layer, so does it over the whole depth, and the layers cannot learn at one rate. Nothing is changed,
    for weights that a layer's gradient would want alter the signal of all layers above: start from another scheme
    (``"orthogonal"``, or ``"he_fan_out"`` before ReLU), add normalisation or connections past layers, and look again.

    Affine, bilinear and convolutional layers and ``LowRankLinear``. The pass is that of ``data_driven_scale``, without
    dropout; parameters' ``grad``, buffers and modes stay as they are.

    Args:
        module: The network.
        loss: Of what ``module`` gives, a scalar. A mean over N examples makes every s N times smaller than the
            gradient of one example's loss: compare layers, not sizes.
        *inputs: What ``module`` takes: a batch.

    Returns:
        s by the layer's name, in the order of the pass; of a layer used several times over all its uses; 0 where
        nothing comes back.

    Raises:
        ConfigError: If a gradient is not finite.

    Reference: Glorot & Bengio, "Understanding the Difficulty of Training Deep Feedforward Neural Networks", AISTATS
    2010, section 4.2.1; Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 8.4.
    """
    places: list[tuple[str, Tensor]] = []

    def noting(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(layer: nn.Module, given: Any, y: Tensor) -> Tensor:
            y = y if y.requires_grad else y.detach().requires_grad_()
            places.append((name, y))
            return y.clone()  # what follows may write into its inputs

        return hook

    with probing(module), ExitStack() as stack, torch.enable_grad():
        for name, layer in module.named_modules():
            if isinstance(layer, (*AFFINE, LowRankLinear)):
                stack.callback(layer.register_forward_hook(noting(name)).remove)
        value = loss(module(*inputs))
        found = torch.autograd.grad(value, [y for _, y in places], allow_unused=True) if places else ()
    parts: dict[str, list[Tensor]] = {}
    for (name, y), gradient in zip(places, found, strict=True):
        parts.setdefault(name, []).append((torch.zeros_like(y) if gradient is None else gradient).flatten().double())
    spread = {name: torch.cat(some).std(correction=0).item() for name, some in parts.items()}
    for name, s in spread.items():
        if not math.isfinite(s):
            raise ConfigError(
                f'the gradient by the outputs of layer "{name}" is not finite',
                where="gradient_spread",
                mend="start from smaller weights, and look for infinite numbers in the batch",
            )
    return spread
