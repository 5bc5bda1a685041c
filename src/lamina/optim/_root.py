"""The small number that keeps a division by a root of zero finite, in the root or beside it."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from lamina.errors import ConfigError

Epsilon = Literal["inside", "outside"]
Some = list[Tensor] | tuple[Tensor, ...]


def check_epsilon(optimizer: Optimizer) -> None:
    """Check where every group has its δ.

    Raises:
        ConfigError: If ``epsilon`` is neither "inside" nor "outside".
    """
    for group in optimizer.param_groups:
        if group["epsilon"] not in get_args(Epsilon):
            raise ConfigError(
                f'epsilon must be "inside" or "outside", got {group["epsilon"]!r}',
                where=type(optimizer).__name__,
                mend='use "outside", as PyTorch does',
            )


def over_root(numerators: Some, squares: Some, eps: float, epsilon: str) -> list[Tensor]:
    """Return s / √(δ + r), δ inside the root, or s / (δ + √r), δ outside."""
    if epsilon == "inside":
        roots = torch._foreach_add(squares, eps)
        torch._foreach_sqrt_(roots)
    else:
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, eps)
    return list(torch._foreach_div(numerators, roots))
