"""How many CPU threads a step should use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def available_threads() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(flops_per_step: float, available: int | None = None) -> int:
    """Return the number of threads for a step of so many floating-point operations."""
    return 1 if flops_per_step < 2e8 else (available or available_threads())


def flops_per_step(model: nn.Module, inputs: Any) -> float:
    """Return the floating-point operations of forward and backward pass, about."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return 3.0 * counter.get_total_flops()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Use ``n`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
