"""Which library multiplies matrices quicker here: NumPy's BLAS or PyTorch's."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

CROSSING = 2**18
"""Multiply-adds of a product from which PyTorch's is taken on Intel processors, with one thread. There it took 1.2 to
1.7 times as long as NumPy's below 2¹⁷, and 0.5 to 0.9 times from 2¹⁹ on (benchmarks/RESULTS.md)."""


def torch_multiplies(rows: int, inputs: int, outputs: int) -> bool:
    """Choose for the products of an affine layer; the choice depends on sizes, threads and the maker of the processor.

    PyTorch brings Intel's library, NumPy brings OpenBLAS: this was the quicker one on an AMD processor, on an Intel one
    for small products only, where calls cost most. With several threads all work goes to PyTorch's: both keep a pool of
    threads, and a pool that waits in a loop for its next work takes the cores from the other.

    Args:
        rows: N of the batch.
        inputs: Of the layer.
        outputs: Of the layer.

    Returns:
        Whether PyTorch's is to be taken.
    """
    return torch.get_num_threads() > 1 or (made_by_intel() and rows * inputs * outputs > CROSSING)


@cache
def made_by_intel() -> bool:
    """Return whether the processor is Intel's; False where that is not to be found out."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "Intel" in platform.processor()
