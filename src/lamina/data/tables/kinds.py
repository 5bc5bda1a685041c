"""Of what kind the columns of a delimited text are: judged on the first rows, and watched in all the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.judge import INTEGER, LEADING_ZERO, LONG, NUMBER, judge
from lamina.data.tables.layout import Layout
from lamina.data.tables.parse import parse
from lamina.data.tables.rows import Rows
from lamina.data.tables.words import arrow_null_values

_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 1_000
_PIECE = 1 << 17


def guess_kinds(name: str, layout: Layout, rows: Rows, forced: set[int]) -> list[str]:
    """Judge each column on the first rows.

    Args:
        name: The file's name for messages.
        layout: How it is cut into cells.
        rows: The first block.
        forced: Positions of the columns that are text whatever they look like.

    Returns:
        ``int``, ``float`` or ``text`` for each column.
    """
    n = len(layout.names)
    if len(rows.data) > _SAMPLE_BYTES and not rows.quoted and rows.starts is None:
        end = rows.data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1 or rows.data.find(b"\n") + 1 or len(rows.data)
        rows = Rows(
            rows.data[:end], rows.line, rows.data.count(b"\n", 0, end), None, 0, quoted=False, inner_lines=False
        )
    table, _, _ = parse(name, layout, rows, ["text"] * n, list(range(n)))
    kinds = []
    for i in range(n):
        counted = pc.value_counts(table.column(str(i)).combine_chunks().slice(0, _SAMPLE_ROWS))
        verdict = judge(counted.field(0), np.asarray(counted.field(1)))
        plain = verdict.kind == "number" and verdict.style.plain and i not in forced
        kinds.append(("int" if verdict.whole else "float") if plain else "text")
    return kinds


def failed_columns(name: str, layout: Layout, rows: Rows, kinds: list[str], wanted: Sequence[int]) -> set[int]:
    """Find the columns of a block that are not of their kind.

    Args:
        name: The file's name for messages.
        layout: How it is cut into cells.
        rows: The block.
        kinds: The kinds; whole numbers that got a fraction are made ``float`` in it.
        wanted: Positions of the columns to look at.

    Returns:
        Positions of the columns that are no numbers.
    """
    failed = set()
    numeric = [i for i in wanted if kinds[i] != "text"]
    table, _, _ = parse(name, layout, rows, ["text"] * len(kinds), numeric)
    known = pa.array(arrow_null_values())
    for index in numeric:
        text = pc.unique(table.column(str(index)))
        text = text.filter(pc.invert(pc.is_in(text, value_set=known)))
        if not _all(text, NUMBER) or _some(text, LONG) or _some(text, LEADING_ZERO):
            failed.add(index)
        elif kinds[index] == "int" and not _all(text, INTEGER):
            kinds[index] = "float"
    return failed


def zero_led_columns(name: str, layout: Layout, rows: Rows, kinds: Sequence[str], wanted: Sequence[int]) -> set[int]:
    """Find number columns with a cell that begins with a needless zero, which the number parser would swallow.

    Args:
        name: The file's name for messages.
        layout: How it is cut into cells.
        rows: The block.
        kinds: The kind of each column.
        wanted: Positions of the columns to look at.

    Returns:
        Their positions.
    """
    numeric = [i for i in wanted if kinds[i] != "text"]
    view = np.frombuffer(rows.data, np.uint8)
    at = _zero_led_positions(view, ord(layout.delimiter)) if numeric else np.empty(0, np.int64)
    if not len(at):
        return set()
    if not rows.quoted and rows.starts is None:
        cuts = np.flatnonzero(view == ord(layout.delimiter))
        ends = np.flatnonzero(view == 10)
        row = np.searchsorted(ends, at)
        begin = np.where(row > 0, ends[np.maximum(row, 1) - 1], -1) if len(ends) else np.full(len(at), -1)
        hit = set((np.searchsorted(cuts, at) - np.searchsorted(cuts, begin)).tolist())
        numeric = [i for i in numeric if i in hit]
    if not numeric:
        return set()
    table, _, _ = parse(name, layout, rows, ["text"] * len(kinds), numeric)
    if table is None:
        return set()
    return {i for i in numeric if _some(pc.unique(table.column(str(i))), r"^\s*[+-]?0[0-9]")}


def _zero_led_positions(view: np.ndarray, mark: int) -> np.ndarray:
    # Offsets of a 0 that begins a cell and is followed by a digit; ``mark`` is the delimiter's byte.
    found = [
        start + _maybe_zero_led(view[max(start - 1, 0) : start + _PIECE + 1], mark, first=start == 0)
        for start in range(0, len(view), _PIECE)
    ]
    at = np.concatenate(found) if found else np.empty(0, np.int64)
    if not len(at):
        return at
    before = view[np.maximum(at - 1, 0)]
    at = at[((at == 0) | np.isin(before, (mark, 10, 34, 32, 43, 45))) & (view[at + 1] < 58)]
    # A sign may also stand inside a number, after its e.
    signed = np.isin(view[np.maximum(at - 1, 0)], (43, 45)) & (at > 0)
    inside = signed & np.isin(view[np.maximum(at - 2, 0)], (69, 101)) & (at > 1)
    result: np.ndarray = at[~inside]
    return result


def _maybe_zero_led(piece: np.ndarray, mark: int, *, first: bool) -> np.ndarray:
    # Positions in a piece (one byte before it and one after it come with it) of a 0 behind a byte below the point
    # (edges of cells, signs) and before one above the solidus: few, and all that count. Three comparisons at the
    # speed of the cache.
    if len(piece) < 2:
        return np.empty(0, np.int64)
    zero = piece[:-1] == 48
    zero &= piece[1:] > 47
    edge = piece[:-2] < 46
    if mark >= 46:
        edge |= piece[:-2] == mark
    zero[1:] &= edge
    if first:
        return np.flatnonzero(zero)
    return np.flatnonzero(zero[1:]) if zero[1:].any() else np.empty(0, np.int64)


def some_long(name: str, layout: Layout, rows: Rows, index: int) -> bool:
    """Tell whether a column holds whole numbers of more digits than a float keeps.

    Returns:
        True if it does.
    """
    table, _, _ = parse(name, layout, rows, ["text"] * len(layout.names), [index])
    return _some(table.column(str(index)), LONG)


def _all(text: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern), min_count=0).as_py())


def _some(text: Any, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern), min_count=0).as_py())
