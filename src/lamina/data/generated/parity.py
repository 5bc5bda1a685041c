"""Exclusive or, and the parity of n bits: the truth table, and examples drawn from it."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.generated.parts import NOISE, PIECES
from lamina.data.images.augmentation.hashed import normals, uniforms
from lamina.errors import ConfigError

MOST_BITS = 20


def all_bits(n: int) -> Tensor:
    """Return the ``(2^n, n)`` rows of n bits, 0 and 1, the last bit changing fastest."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def parity(bits: Tensor) -> Tensor:
    """Return 1 where an odd number of the ``(N, n)`` bits is set, else 0; of two bits this is exclusive or."""
    return bits.sum(-1) % 2


def parity_examples(n: int, *, bits: int = 4, noise: float = 0.0, seed: int = 0) -> Batch:
    """Draw rows of the truth table of parity, each with the same probability, its bits blurred.

        b_k ∈ {0, 1} with probability ½,   y = b_1 ⊕ … ⊕ b_bits,   x = b + N(0, noise² I)

    No affine rule is right more often than by chance, however many bits but one are known. Without noise the best rule
    never errs; with it, a bit rounded is wrong with probability q = Φ(-1 / (2 noise)), and rounding all of them, which
    is the best rule, errs with (1 - (1 - 2q)^bits) / 2.

    Args:
        n: How many.
        bits: Of a row, at most 20; 2 is exclusive or.
        noise: Standard deviation of what is added to each bit, at least 0.
        seed: Any whole number. Example i is a function of (seed, i) alone.

    Returns:
        Inputs (n, bits) float32, targets (n,) int64, 1 for odd.

    Raises:
        ConfigError: If a number is out of range.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 6.1 (exclusive or).
    """
    if n < 1 or not 1 <= bits <= MOST_BITS or not 0 <= noise < math.inf:
        raise ConfigError(
            f"n must be at least 1, bits from 1 to {MOST_BITS} and noise at least 0, got {n}, {bits} and {noise}",
            where="parity_examples",
            mend="try bits=4",
        )
    indices = torch.arange(n)
    drawn = (uniforms(indices, 0, seed, range(PIECES, PIECES + bits)) < 0.5).T
    inputs = drawn.float()
    return Batch(inputs + noise * normals(indices, 0, seed, NOISE, bits), parity(inputs).long())


def xor(n: int, *, noise: float = 0.1, seed: int = 0) -> Batch:
    """Draw points around the corners of a square, of which opposite ones are of one class: parity of two bits.

    Args:
        n: How many.
        noise: See ``parity_examples``.
        seed: See ``parity_examples``.

    Returns:
        Inputs (n, 2) float32, targets (n,) int64.

    Raises:
        ConfigError: If a number is out of range.
    """  # noqa: DOC502
    return parity_examples(n, bits=2, noise=noise, seed=seed)
