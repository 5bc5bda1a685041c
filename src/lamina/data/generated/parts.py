"""The three parts of a generated set, and what of an example is drawn from which random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.errors import ConfigError

SIDE = 28
"""Pixels of a side of the pictures of Larochelle et al. 2007."""

# Lanes of ``hashed.uniforms`` (the part is its epoch): one for each thing drawn, none of them one of ``Augment``'s.
ORDER = 1 << 40
ANGLE = ORDER + 1
PATCH = ORDER + 2  # and one more
INNER_PATCH = ORDER + 4  # and one more
RECTANGLE = ORDER + 6  # and two more
CLASS = ORDER + 9
PIECES = ORDER + 10
NOISE = 1 << 41  # and those that follow
SHAPE = 1 << 42  # and those that follow


class Parts(NamedTuple):
    """A data set that is divided as it was published.

    Attributes:
        train: What is learnt from. Inputs are (N, 1, 28, 28) float32 from 0 to 1, targets (N,) int64.
        valid: What decides between models.
        test: What is reported.
    """

    train: Batch
    valid: Batch
    test: Batch


def checked_sizes(where: str, *sizes: int) -> None:
    """Refuse parts without examples.

    Raises:
        ConfigError: If a size is below 1.
    """
    if min(sizes) < 1:
        raise ConfigError(
            f"train, valid and test must be at least 1, got {', '.join(map(str, sizes))}",
            where=where,
            mend="leave the sizes out for the published ones",
        )


def in_pieces(n: int, draw: Callable[[Tensor], tuple[Tensor, Tensor]], *, at_once: int = 1_000) -> Batch:
    """Draw examples 0 … n - 1 by pieces, so that what is in between takes little memory.

    Args:
        n: How many.
        draw: Indices (M,) to pictures (M, 1, 28, 28) and targets (M,); what it draws may depend on nothing else.
        at_once: How many at a time.

    Returns:
        All of them.
    """
    inputs = torch.empty(n, 1, SIDE, SIDE)
    targets = torch.empty(n, dtype=torch.int64)
    for indices in torch.split(torch.arange(n), at_once):
        here = slice(int(indices[0]), int(indices[-1]) + 1)
        inputs[here], targets[here] = draw(indices)
    return Batch(inputs, targets)
