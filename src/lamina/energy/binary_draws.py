"""Draws of 0 and 1 with given probabilities: sixteen random bits a unit, the bits below these shared by its rows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

_LEVELS = 2**16
_PARTS = {torch.float32: 2**8, torch.float64: 2**37}  # of a level, as many as a threshold near 2^15 can tell apart


class BinaryDraws:
    """Draws x_ni = 1 with probability p_ni, else 0, for arrays of one shape, again and again in the same memory.

        x_ni = [k_ni + r_i < 2^16 p_ni],   k uniform on 0 … 2^16 - 1,   r uniform on [0, 1)

    On the CPU, where random numbers cost more than all else here, each k is a quarter of a 64-bit draw, and one r
    serves a whole column: a third of the time of a uniform number each, and a quarter of that of ``torch.bernoulli``.
    P(x = 1) is p to 2^-24 in single precision and to 2^-53 in double, as with a uniform number of that type, and 0 and
    1 are kept. Units of a row are independent; two rows of a unit share r, which gives them a covariance of 2^-34 at
    most. On other devices, and in other types, each unit has a uniform number of its own.

    Args:
        like: ``(..., n)``, of the shape, type and device.
    """

    def __init__(self, like: Tensor) -> None:
        parts = _PARTS.get(like.dtype) if like.device.type == "cpu" else None
        self._words: Tensor | None = None
        if parts is not None:
            self._words = torch.empty(-(-like.numel() // 4), dtype=torch.int64)
            self._k = self._words.view(torch.int16)[: like.numel()].view(like.shape)
            self._below = like.new_empty(like.shape[-1:])
            # Drawn between these, and rounded to whole parts, are -2^15 - r.
            self._ends = 1.0 / parts - _LEVELS // 2 - 1, float(-_LEVELS // 2)

    def __call__(self, p: Tensor, generator: Generator | None, out: Tensor, space: Tensor) -> Tensor:
        """Draw once; where p may want a gradient, under ``torch.no_grad``.

        Args:
            p: Probabilities.
            generator: On p's device; None is PyTorch's default generator.
            out: For the result; may be ``p``.
            space: To work in; may be ``p`` if that is needed no more, but not ``out``.

        Returns:
            ``out``.
        """
        if self._words is None:
            uniform = (out if space is p else space).uniform_(generator=generator)
            return torch.lt(uniform, p, out=out)
        self._words.random_(-(2**63), None, generator=generator)
        self._below.uniform_(*self._ends, generator=generator)
        # Read with a sign the bits are k - 2^15, which is compared with 2^16 p - 2^15 - r.
        torch.add(self._below, p, alpha=_LEVELS, out=space)
        return torch.lt(out.copy_(self._k), space, out=out)


@torch.no_grad()
def draw_binary(p: Tensor, generator: Generator | None = None, *, spend: bool = False) -> Tensor:
    """Draw 1 with probability p, else 0, once: see ``BinaryDraws``.

    Args:
        p: ``(..., n)``, probabilities.
        generator: On p's device; None is PyTorch's default generator.
        spend: Whether p is needed no more, and may be written over.

    Returns:
        ``(..., n)``, of p's type.
    """
    out = p.new_empty(p.shape)
    return BinaryDraws(p)(p, generator, out, p if spend else p.new_empty(p.shape))
