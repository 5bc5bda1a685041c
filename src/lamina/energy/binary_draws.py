"""Draws of 0 and 1 with given probabilities: sixteen random bits a unit, the bits below these shared by its rows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

_LEVELS = 2**16
_PARTS = {torch.float32: 2**8, torch.float64: 2**37}  # of a level, as many as a threshold near 2^15 can tell apart


@torch.no_grad()
def draw_binary(
    p: Tensor, generator: Generator | None = None, *, out: Tensor | None = None, space: Tensor | None = None
) -> Tensor:
    """Draw x_ni = 1 with probability p_ni, else 0.

        x_ni = [k_ni + r_i < 2^16 p_ni],   k uniform on 0 … 2^16 - 1,   r uniform on [0, 1)

    On the CPU, where random numbers cost more than all else here, each k is a quarter of a 64-bit draw, and one r
    serves a whole column: a third of the time of a uniform number each, and a quarter of that of ``torch.bernoulli``.
    P(x = 1) is p to 2^-24 in single precision and to 2^-53 in double, as with a uniform number of that type, and 0 and
    1 are kept. Units of a row are independent; two rows of a unit share r, which gives them a covariance of 2^-34 at
    most. On other devices, and in other types, each unit has a uniform number of its own.

    Args:
        p: ``(..., n)``, probabilities.
        generator: On p's device; None is PyTorch's default generator.
        out: Contiguous, for the result; may be ``p``.
        space: Of p's shape, to work in; may be ``p`` if that is needed no more, but not ``out``.

    Returns:
        ``(..., n)``, of p's type.
    """
    out = p.new_empty(p.shape) if out is None else out
    parts = _PARTS.get(p.dtype)
    if p.device.type != "cpu" or parts is None:
        uniform = torch.empty_like(out) if out is p else out
        return torch.lt(uniform.uniform_(generator=generator), p, out=out)
    words = torch.empty(-(-p.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    # Read with a sign the bits are k - 2^15, which is compared with 2^16 p - 2^15 - r.
    below = p.new_empty(p.shape[-1:]).random_(parts, generator=generator).mul_(-1.0 / parts).sub_(_LEVELS // 2)
    threshold = torch.add(below, p, alpha=_LEVELS, out=p.new_empty(p.shape) if space is None else space)
    out.copy_(words.view(torch.int16)[: p.numel()].view(p.shape))
    return torch.lt(out, threshold, out=out)
