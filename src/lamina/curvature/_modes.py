"""Forward and reverse mode with types: PyTorch annotates its own for their forms with auxiliary outputs only."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor


def pullback(function: Callable[..., Tensor], *arguments: Any) -> tuple[Tensor, Callable[[Tensor], tuple[Any, ...]]]:
    """Return f(arguments), and the map from a cotangent of it to one cotangent an argument."""
    return cast(tuple[Tensor, Callable[[Tensor], tuple[Any, ...]]], torch.func.vjp(function, *arguments))


def pushforward(function: Callable[[Any], Any], argument: Any, tangent: Any) -> Any:
    """Return how f moves when its argument moves along the tangent."""
    load_forward_mode()
    return torch.func.jvp(function, (argument,), (tangent,))[1]


@functools.cache
def load_forward_mode() -> None:
    # At the first use in a process PyTorch loads rules of its own, and warns that what it builds them with is old.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))
