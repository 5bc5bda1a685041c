"""Gradient clipping: what PyTorch lacks, the random step where the gradient is too large.

Clipping by element and by norm are ``torch.nn.utils.clip_grad_value_`` and ``torch.nn.utils.clip_grad_norm_``.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError


@torch.no_grad()
def random_step_(parameters: Iterable[Tensor], threshold: float, *, generator: Generator | None = None) -> Tensor:
    """Replace too large a gradient by a random direction of the threshold's length, in place.

        g ← v u / ‖u‖,  u ~ N(0, I)      where ‖g‖ > v, or where ‖g‖ is no number

    The norm is over all parameters together. Unlike clipping, it gets away from places where the gradient overflowed
    and has no direction left. Otherwise clip by norm, which keeps the direction: a random step throws information away.
    Waits for the device once; random numbers are drawn only where a gradient is replaced.

    Args:
        parameters: Those without a gradient are left alone.
        threshold: v, above 0.
        generator: Source of u; None is PyTorch's default generator.

    Returns:
        ‖g‖ as it was.

    Raises:
        ConfigError: If v is not above 0.

    Reference: Goodfellow, Bengio & Courville, Deep Learning, 2016, section 10.11.1.
    """
    if not threshold > 0.0:
        raise ConfigError(f"threshold must be above 0, got {threshold!r}", where="random_step_", mend="use 1.0")
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if gradients and not bool(norm <= threshold):
        for g in gradients:
            where = g.device if generator is None else generator.device
            g.copy_(torch.randn(g.shape, generator=generator, device=where, dtype=g.dtype))
        length = torch.nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, float(threshold / length))
    return norm
