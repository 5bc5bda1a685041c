"""Read a block of nothing but plain numbers in two thirds of the time of the CSV parser.

The delimiters are found by comparison. Their places are the offsets of an Arrow string array in which every second
element, the delimiter itself, is null; Arrow converts it with the parser of numbers that its CSV reader has. Whatever
is not that plain (quotes, blanks, spaces, carriage returns, a row too short) is left to that reader.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.narrow import harmless
from lamina.data.tables.rows import Rows

_PIECE = 1 << 18
_MOST_RUNS = 8
_MOST_BYTES = 1 << 28
_NEWLINE = 10
_BYTE_OF_WORD = np.uint32(0x00010203)  # times 1, 1 << 8, 1 << 16 or 1 << 24: 0, 1, 2 or 3 in the highest byte
_BOTH = (1 << 32) + 1  # times a number: itself in both halves of an int64
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
    if not data.endswith(b"\n") or sys.byteorder != "little":
        return None
    view = np.frombuffer(data, np.uint8)
    # As many cells as they should be, and every row's last one, and no other, before a line end: no row is ragged.
    n = rows.n_lines
    edges = _edges(view, ord(delimiter), n * width)
    if edges is None or not (view[edges[2 * width - 1 :: 2 * width]] == _NEWLINE).all():
        return None
    columns: list[Any] = []
    bounds: list[tuple[float, float]] = []
    first = 0
    for kind, count in runs:
        mine = edges
        if count < width:
            cells = edges[:-1].reshape(n, width, 2)[:, first : first + count]
            mine = np.append(cells, cells[-1:, -1:, 1:])
        found = _numbers(data, mine, n, _TYPES[kind])
        if found is not None and kind == "single" and not all(_single(low, high) for low, high in found[1]):
            found = _numbers(data, mine, n, _TYPES["float"])
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


def _edges(view: np.ndarray, mark: int, expected: int) -> np.ndarray | None:
    # Where each cell begins and ends, in turn, and the end of all, int32, (2 * expected + 1,), or None if there are
    # more or fewer delimiters and line ends. A cell begins one byte after the end of the one before it, so that both
    # are written at once, as the halves of an int64.
    room = np.empty(2 * expected + 2, np.int32)
    room[1] = 0
    pairs = room[2:].view(np.int64)
    hits, other = np.zeros(_PIECE, bool), np.empty(_PIECE, bool)
    done = 0
    for start in range(0, len(view), _PIECE):
        # In pieces that stay in the cache.
        piece = view[start : start + _PIECE]
        hit = np.equal(piece, _NEWLINE, out=hits[: len(piece)])
        hit |= np.equal(piece, mark, out=other[: len(piece)])
        hits[len(piece) :] = False
        # Four bytes at a time, a quarter of the places to look at: few cells are so short that two ends share them.
        words = hits.view(np.uint32)
        found = np.flatnonzero(words != 0)
        if np.count_nonzero(hit) == len(found):
            byte = words.take(found)
            byte *= _BYTE_OF_WORD
            byte >>= 24
            found <<= 2
            found += byte
        else:
            found = np.flatnonzero(hit)
        stop = done + len(found)
        if stop > expected:
            return None
        found *= _BOTH
        np.add(found, start * _BOTH + (1 << 32), out=pairs[done:stop])
        done = stop
    return room[1:] if done == expected else None


def _numbers(
    data: bytes, edges: np.ndarray, n: int, types: tuple[Any, Any]
) -> tuple[list[Any], list[tuple[float, float]]] | None:
    # Some columns of n rows as arrays, with their extremes, or None if a cell is no number.
    kind, dtype = types
    size = len(edges) - 1
    # Every second element, what lies between two cells, is null.
    valid = np.full((size + 7) // 8, 0x55, np.uint8)
    buffers = [pa.py_buffer(valid), pa.py_buffer(edges), pa.py_buffer(data)]
    cells = pa.Array.from_buffers(pa.string(), size, buffers, null_count=size // 2)
    try:
        numbers = pc.cast(cells, kind)
    except pa.ArrowInvalid:
        return None
    values = np.frombuffer(numbers.buffers()[1], dtype)[:size]
    by_column = np.ascontiguousarray(values.reshape(n, -1, 2)[:, :, 0].T)
    buffer = pa.py_buffer(by_column)
    arrays = [pa.Array.from_buffers(kind, n, [None, buffer], null_count=0, offset=i * n) for i in range(len(by_column))]
    return arrays, list(zip(by_column.min(axis=1).tolist(), by_column.max(axis=1).tolist(), strict=True))
