"""Measuring beside one another in one process: clocks, pinning, ratios of each round, and what it was measured on."""

from __future__ import annotations

import ctypes
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Lap:
    """One measurement: CPU seconds of the process, and seconds on the wall."""

    cpu: float
    wall: float


def lap(function: Callable[[], T]) -> tuple[T, Lap]:
    """Call a function; return what it returned and how long it took. Peers do not pay for one another's objects."""
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    taken = Lap(time.process_time() - cpu, time.perf_counter() - wall)
    gc.unfreeze()
    return result, taken


def pin(threads: int) -> None:
    """Use so many threads everywhere; a single one stays on the last core."""
    import torch
    from threadpoolctl import threadpool_limits

    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


def keep_memory() -> None:
    """Let glibc keep what is freed, so that no peer pays for first touching the same pages again at each step.

    It gives blocks of megabytes back at once otherwise, or not, as the heap happens to lie: where a page fault is dear,
    as in a sandbox, that decides ratios by chance. Elsewhere it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for option, size in ((-1, 2**31 - 1), (-3, 2**25)):  # M_TRIM_THRESHOLD; M_MMAP_THRESHOLD, whose most this is
            if not mallopt(option, size):
                raise OSError(f"mallopt refused {size} for {option}")


def ratios(laps: Sequence[dict[str, float]], unit: str) -> dict[str, tuple[float, float, float]]:
    """Return for each peer the median, smallest and largest ratio to the unit of the same round."""
    found: dict[str, list[float]] = {}
    for one_round in laps:
        if unit in one_round:
            for peer, value in one_round.items():
                found.setdefault(peer, []).append(value / one_round[unit])
    return {peer: (statistics.median(values), min(values), max(values)) for peer, values in found.items()}


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Return date, processor, cores, load and versions."""
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **versions,
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def read_lines(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_line(path: Path | None, record: dict[str, Any]) -> None:
    text = json.dumps(record)
    print(text, flush=True)
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
