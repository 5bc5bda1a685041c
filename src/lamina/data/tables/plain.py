"""Read a block of nothing but plain numbers in two thirds of the time of the CSV parser.

The delimiters are found by comparison. Their places are the offsets of an Arrow string array in which every second
element, the delimiter itself, is null; Arrow converts it with the parser of numbers that its CSV reader has. Whatever
is not that plain (quotes, blanks, spaces, carriage returns, a row too short) is left to that reader.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.narrow import harmless
from lamina.data.tables.rows import Rows

_PIECE = 1 << 17
_MOST_RUNS = 8
_MOST_BYTES = 1 << 28
_NEWLINE = 10
_TYPES = {"float": (pa.float64(), np.float64), "int": (pa.int64(), np.int64), "single": (pa.float32(), np.float32)}


def plain_numbers(
    rows: Rows, delimiter: str, kinds: Sequence[str], singles: Collection[int] = ()
) -> tuple[Any, dict[int, tuple[float, float]]] | None:
    """Read a block if all of its cells are plain numbers.

    Args:
        rows: The block.
        delimiter: What separates cells.
        kinds: ``float`` or ``int`` for each column.
        singles: Columns of fractions wanted as float32, if this block's values allow it.

    Returns:
        A table whose columns are called by their positions and have no missing value, and the least and the greatest
        value of each (NaN and NaN where there is one); or None if the block is anything else.
    """
    data, width = rows.data, len(kinds)
    wanted = ["single" if i in singles else kind for i, kind in enumerate(kinds)]
    runs = [(kind, len(list(run))) for kind, run in groupby(wanted)]
    if len(runs) > _MOST_RUNS:
        runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    if rows.quoted or rows.starts is not None or len(runs) > _MOST_RUNS or "text" in kinds or len(data) > _MOST_BYTES:
        return None
    if not data.endswith(b"\n"):
        return None
    view = np.frombuffer(data, np.uint8)
    # As many cells as they should be, and every row's last one, and no other, before a line end: no row is ragged.
    n = rows.n_lines
    ends = _ends(view, ord(delimiter), n * width)
    if ends is None or not (view[ends[width - 1 :: width]] == _NEWLINE).all():
        return None
    ends = ends.reshape(n, width)
    columns: list[Any] = []
    bounds: list[tuple[float, float]] = []
    first = 0
    for kind, count in runs:
        found = _numbers(data, ends, first, count, _TYPES[kind])
        if found is not None and kind == "single" and not all(_single(low, high) for low, high in found[1]):
            found = _numbers(data, ends, first, count, _TYPES["float"])
        if found is None:
            return None
        columns += found[0]
        bounds += found[1]
        first += count
    return pa.Table.from_arrays(columns, names=[str(i) for i in range(width)]), dict(enumerate(bounds))


def _single(low: float, high: float) -> bool:
    # Below a size from which whole numbers must be looked at digit by digit, and not what may have been rounded to 0.
    # NaN passes: the block is read anew anyway.
    return math.isnan(low) or (harmless(low, high) and 0 < max(abs(low), abs(high)) < 1e14)


def _ends(view: np.ndarray, mark: int, expected: int) -> np.ndarray | None:
    # Offsets of all delimiters and line ends, int32, (expected,), or None if there are more or fewer.
    ends = np.empty(expected, np.int32)
    done = 0
    for start in range(0, len(view), _PIECE):
        # In pieces that stay in the cache.
        piece = view[start : start + _PIECE]
        hit = piece == _NEWLINE
        hit |= piece == mark
        found = np.flatnonzero(hit)
        stop = done + len(found)
        if stop > expected:
            return None
        np.add(found, start, out=ends[done:stop], casting="unsafe")
        done = stop
    return ends if done == expected else None


def _numbers(
    data: bytes, ends: np.ndarray, first: int, count: int, types: tuple[Any, Any]
) -> tuple[list[Any], list[tuple[float, float]]] | None:
    # Some adjacent columns as arrays, with their extremes, or None if a cell is no number.
    kind, dtype = types
    n = len(ends)
    offsets = np.empty(2 * n * count + 1, np.int32)
    # A cell begins one byte after the end of the one before it, and the element after it is what lies between.
    if count == ends.shape[1]:
        offsets[0] = 0
        offsets[1::2] = ends.reshape(-1)
        np.add(ends.reshape(-1), 1, out=offsets[2::2])
    else:
        cells = offsets[:-1].reshape(n, count, 2)
        cells[:, :, 1] = ends[:, first : first + count]
        np.add(ends[:, first : first + count - 1], 1, out=cells[:, 1:, 0])
        if first:
            np.add(ends[:, first - 1], 1, out=cells[:, 0, 0])
        else:
            cells[0, 0, 0] = 0
            np.add(ends[:-1, -1], 1, out=cells[1:, 0, 0])
        offsets[-1] = offsets[-2] + 1
    valid = np.full((2 * n * count + 7) // 8, 0x55, np.uint8)
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    texts = pa.Array.from_buffers(pa.string(), 2 * n * count, buffers, null_count=n * count)
    try:
        numbers = pc.cast(texts, kind)
    except pa.ArrowInvalid:
        return None
    values = np.frombuffer(numbers.buffers()[1], dtype)[: 2 * n * count]
    by_column = np.ascontiguousarray(values.reshape(n, count, 2)[:, :, 0].T)
    buffer = pa.py_buffer(by_column)
    arrays = [pa.Array.from_buffers(kind, n, [None, buffer], null_count=0, offset=i * n) for i in range(count)]
    return arrays, list(zip(by_column.min(axis=1).tolist(), by_column.max(axis=1).tolist(), strict=True))
