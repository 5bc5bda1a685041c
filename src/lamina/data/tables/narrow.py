"""Keep large tables small: numbers as float32 or int32 where that loses nothing that a float32 matrix could show.

A table of more than 64 MiB of numbers is narrowed. Whole numbers that fit go to int32, exactly. Fractions go to float32
(relative error at most 6e-8) only if the values of the block spread over at least a thousandth of their size, so that
the rounding stays below 1e-4 of a standard deviation; a column of large values with small differences stays in float64.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LARGE = 1 << 26
_SPREAD = 1e-3


class Column:
    """One column while it is read, block by block.

    Small, it is a list of Arrow arrays. Packed, its numbers lie in one array that grows by reallocation, so that the
    memory holds them once and nothing lies in pieces.
    """

    def __init__(self) -> None:
        self.blocks: list[Any] = []
        self.packed: _Packed | None = None

    def add(self, block: Any, bounds: tuple[float, float] | None = None) -> None:
        """Append a block.

        Args:
            block: A ``pyarrow.ChunkedArray``.
            bounds: Its least and greatest value, if known.
        """
        if self.packed is not None:
            self.packed.add(block, bounds)
        else:
            self.blocks.append(block.combine_chunks())

    @property
    def single(self) -> bool:
        """Whether it is packed as float32 so far."""
        return self.packed is not None and self.packed.values.dtype == np.float32

    def pack(self, n_rows: int) -> None:
        """Move what is there into one array.

        Args:
            n_rows: Rows that the column will probably have.
        """
        if self.packed is None and self.blocks and not pa.types.is_string(self.blocks[0].type):
            self.packed = _Packed(n_rows)
            for block in self.blocks:
                self.packed.add(pa.chunked_array([block]))
            self.blocks = []

    def finish(self) -> Any:
        """Return the column, of the widest type among its blocks, and forget it.

        Returns:
            A ``pyarrow.Array``, or a ``pyarrow.ChunkedArray`` for text.
        """
        blocks, packed = self.blocks, self.packed
        self.blocks, self.packed = [], None
        if packed is not None:
            return packed.finish()
        if not blocks:
            return pa.array([], pa.string())
        kinds = {block.type for block in blocks}
        if len(kinds) > 1:
            blocks = [block.cast(pa.float64()) for block in blocks]
        return pa.chunked_array(blocks) if pa.types.is_string(blocks[0].type) else pa.concat_arrays(blocks)


class _Packed:
    # Numbers in one growing array; which of them are missing, as a bit each.

    def __init__(self, n_rows: int) -> None:
        self.values = np.empty(0, np.int32)
        self.n = 0
        self.expected = n_rows
        self.missing: dict[int, np.ndarray] = {}

    def add(self, block: Any, bounds: tuple[float, float] | None = None) -> None:
        stop = self.n + len(block)
        wanted = narrow_type(block, bounds)
        if self.n:
            wanted = np.promote_types(self.values.dtype, wanted)
        if wanted != self.values.dtype:
            wider = np.empty(len(self.values), wanted)
            wider[: self.n] = self.values[: self.n]  # behind it lies what was never written
            self.values = wider
        if stop > len(self.values):
            if self.n == 0:
                # Not touched before it is written to, unlike what resizing gives.
                self.values = np.empty(max(self.expected, stop), wanted)
            else:
                self.values.resize(max(stop, self.n + self.n // 8), refcheck=False)
        at = self.n
        for chunk in block.chunks:
            if chunk.null_count:
                self.missing[at] = np.asarray(chunk.is_null())
            filled = chunk.fill_null(0) if chunk.null_count else chunk
            self.values[at : at + len(chunk)] = filled.to_numpy(zero_copy_only=False)
            at += len(chunk)
        self.n = stop

    def finish(self) -> Any:
        self.values.resize(self.n, refcheck=False)
        valid = None
        if self.missing:
            bits = np.ones(self.n, bool)
            for at, gone in self.missing.items():
                bits[at : at + len(gone)] = ~gone
            valid = pa.py_buffer(np.packbits(bits, bitorder="little"))
        kind = pa.from_numpy_dtype(self.values.dtype)
        return pa.Array.from_buffers(kind, self.n, [valid, pa.py_buffer(self.values)])


def extremes(column: Any) -> tuple[float, float]:
    """Return the least and the greatest value of a column of numbers.

    Returns:
        Two numbers; 0 and 0 if there is no value; NaN does not count.
    """
    found = pc.min_max(column)
    low, high = found["min"].as_py(), found["max"].as_py()
    return (0.0, 0.0) if low is None else (low, high)


def narrow_type(column: Any, bounds: tuple[float, float] | None = None) -> np.dtype[Any]:
    """Return the smallest harmless type for some numbers.

    Args:
        column: The numbers.
        bounds: The least and the greatest, if known.

    Returns:
        int32, int64, float32 or float64.
    """
    low, high = extremes(column) if bounds is None else bounds
    if pa.types.is_integer(column.type):
        return np.dtype(np.int32 if low >= -(2**31) and high < 2**31 else np.int64)
    return np.dtype(np.float32 if pa.types.is_float32(column.type) or harmless(low, high) else np.float64)


def harmless(low: float, high: float) -> bool:
    """Tell whether fractions between two values may be rounded to float32.

    Args:
        low: The least.
        high: The greatest.

    Returns:
        True if they are finite and spread over at least a thousandth of their size.
    """
    size = max(abs(low), abs(high))
    return math.isfinite(size) and (size == 0.0 or (1e-30 < size < 1e38 and high - low >= _SPREAD * size))


def give_back() -> None:
    """Ask the allocators to hand freed memory back to the machine; where the C library cannot, nothing happens."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def narrowed(column: Any) -> Any:
    """Return numbers in half the bytes where that is harmless.

    Returns:
        The column as int32 or float32, or as it was.
    """
    if not (pa.types.is_int64(column.type) or pa.types.is_float64(column.type)):
        return column
    return column.cast(pa.from_numpy_dtype(narrow_type(column)), safe=False)
