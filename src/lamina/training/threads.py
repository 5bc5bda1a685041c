"""How many CPU threads a step should use: as many as its work pays for, within what the machine grants."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

FLOPS_PER_THREAD = 7.5e7
"""Floating-point operations of one layer, forward and backward, that a thread needs to be worth waiting for.

Threads meet after every layer, so what counts is the work between two meetings and not that of the whole step: on two
quiet cores the times of one and two threads cross near 1.5e8 a layer, normalisation layers counted as such, for dense
and for convolutional networks alike (benchmarks/RESULTS.md).
"""

SPINNING_FACTOR = 10.0
"""How many times more work it takes where waiting threads spin, which is OpenMP's default.

A spinning thread keeps a core from the neighbour that the others wait for: on an overloaded machine two threads made
steps of 10⁸ operations up to 136 times slower. With ``OMP_WAIT_POLICY=PASSIVE`` in the environment before PyTorch is
imported they were at most 1.4 times slower there, above 10⁸ operations.
"""


def available_threads(root: Path = Path("/")) -> int:
    """Return the threads that this process may keep busy: cores, the cgroup's quota, ``OMP_NUM_THREADS``.

    Args:
        root: Where ``proc`` and ``sys`` are found.

    Returns:
        At least 1; a quota of 2.5 cores gives 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [float(cores)]
    quota = cpu_quota(root)
    if quota is not None:
        limits.append(quota)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        limits.append(float(asked))
    return max(1, math.floor(min(limits)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the control group grants, or None where nothing limits it.

    A container sees all cores of its host and is stopped when its time is used up: threads beyond the quota only wait.

    Args:
        root: Where ``proc`` and ``sys`` are found.

    Returns:
        The smallest quota on the way from this process's group to the top, for both versions of control groups.
    """
    found: list[float] = []
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        _, controllers, name = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / ("sys/fs/cgroup/cpu" if controllers else "sys/fs/cgroup")
        parts = [part for part in name.split("/") if part not in {"", ".."}]
        for depth in range(len(parts) + 1):  # within a container the group is often mounted as the top itself
            found += _quota_of(top.joinpath(*parts[:depth]))
    return min(found, default=None)


def _quota_of(folder: Path) -> list[float]:
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text(encoding="ascii").split()[:2]
        else:
            limit, period = (
                (folder / f"cpu.cfs_{which}_us").read_text(encoding="ascii") for which in ("quota", "period")
            )
        return [float(limit) / float(period)] if limit.strip() != "max" and float(limit) > 0 else []
    except (OSError, ValueError):
        return []


def choose_threads(flops_per_layer: float, available: int | None = None, passive: bool | None = None) -> int:
    """Return the number of threads for a step whose layers make so many floating-point operations each.

    Args:
        flops_per_layer: ``flops_per_step`` over ``weight_layers``.
        available: Threads there are; None asks ``available_threads``.
        passive: Whether waiting threads sleep; None reads ``OMP_WAIT_POLICY``.

    Returns:
        One for each ``FLOPS_PER_THREAD`` (``SPINNING_FACTOR`` times that if not passive), at least 1 and at most
        ``available``. It does not look at the load of the moment: the bits of a matrix product may depend on the number
        of threads, and the same command is to give the same bits.
    """
    most = available_threads() if available is None else available
    if passive is None:
        passive = os.environ.get("OMP_WAIT_POLICY", "").strip().upper() == "PASSIVE"
    share = FLOPS_PER_THREAD * (1.0 if passive else SPINNING_FACTOR)
    return int(max(1, min(most, flops_per_layer // share)))


def weight_layers(model: nn.Module) -> int:
    """Return how many layers of the model have parameters of their own, at least 1: threads meet after each."""
    return max(1, sum(next(module.parameters(recurse=False), None) is not None for module in model.modules()))


def flops_per_step(model: nn.Module, inputs: Tensor) -> float:
    """Return about how many floating-point operations the forward and backward pass of a batch make.

    The backward pass of a matrix product is two products of the same size, so it is three times the forward pass, of
    which the products and convolutions are counted. Works on the ``meta`` device, where nothing is computed.

    Args:
        model: The network; left as it is, its random numbers and running means too.
        inputs: A batch, on the model's device.

    Returns:
        An estimate; for a model that cannot be run like this, two operations a parameter and example instead.
    """
    from torch.utils.flop_counter import FlopCounterMode

    modes = [(module, module.training) for module in model.modules()]
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(inputs)
        forward = float(counter.get_total_flops())
    except (RuntimeError, NotImplementedError, TypeError):
        forward = 2.0 * inputs.shape[0] * sum(p.numel() for p in model.parameters())
    finally:
        for module, mode in modes:
            module.training = mode
    return 3.0 * forward


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Use ``n`` PyTorch threads and one of NumPy's BLAS inside the block, and as many as before after it.

    Two pools of threads on the same cores take them from one another: beside busy neighbours that made steps hundreds
    of times slower. So ``BackpropStep`` leaves its products to PyTorch where there is more than one thread.

    Args:
        n: At least 1.

    Yields:
        Nothing.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    before = torch.get_num_threads()
    with threadpool_limits(limits=1, user_api="blas"):
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)
