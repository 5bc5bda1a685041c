"""What every first-order optimiser does with its groups: check them, evaluate the closure, gather the gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lamina.errors import ConfigError

POSITIVE = (math.ulp(0.0), math.inf)
NOT_NEGATIVE = (0.0, math.inf)
SHARE = (0.0, 1.0)


def check_groups(optimizer: Optimizer, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Check the numbers of every group.

    Args:
        optimizer: Whose groups.
        bounds: low and high of each number: low ≤ number < high.

    Raises:
        ConfigError: If a number lies outside.
    """
    for group in optimizer.param_groups:
        for name, (low, high) in bounds.items():
            if not low <= float(group[name]) < high:
                least = "above 0" if low == math.ulp(0.0) else f"at least {low:g}"
                most = "finite" if high == math.inf else f"below {high:g}"
                raise ConfigError(
                    f"{name} must be {least} and {most}, got {group[name]!r}",
                    where=type(optimizer).__name__,
                    mend=f"such as {0.5 if high == 1.0 else 0.01}",
                )


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """Return what the closure gives, with gradients on; None where there is no closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def gather(optimizer: Optimizer, group: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor], list[dict[str, Any]]]:
    """Return a group's parameters that have a gradient, the gradients, and the states, which may be empty.

    Args:
        optimizer: Whose states.
        group: One of its groups. With a ``weight_decay`` c the gradients are those of the loss + ½ c ‖w‖².

    Returns:
        Three lists of the same length.

    Raises:
        ConfigError: If a gradient is sparse.
    """
    parameters = [p for p in group["params"] if p.grad is not None]
    gradients = [p.grad for p in parameters]
    if any(g.is_sparse for g in gradients):
        raise ConfigError(
            "a gradient is sparse", where=type(optimizer).__name__, mend="use torch.optim.SparseAdam for that layer"
        )
    if parameters and group.get("weight_decay", 0.0):
        gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
    return parameters, gradients, [optimizer.state[p] for p in parameters]


def held(states: list[dict[str, Any]], name: str, like: list[Tensor], value: float = 0.0) -> list[Tensor]:
    """Return a tensor of every state, made full of ``value`` where it is not there yet."""
    for state, tensor in zip(states, like, strict=True):
        if name not in state:
            state[name] = torch.full_like(tensor, value, memory_format=torch.preserve_format)
    return [state[name] for state in states]
