"""Read a delimited text (CSV and its relatives) into typed columns, in blocks, in one pass where the data allow it.

The kinds of the columns are judged on the first rows. Numbers are then parsed straight from the bytes by pyarrow; a
column in which a block turns up anything but numbers is set aside and read as text in a second pass, where the whole of
it is judged. So the memory stays near that of the numbers themselves, and no cell is converted by guess.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.ahead import cores, in_order
from lamina.data.tables.kinds import failed_columns, guess_kinds, some_long, zero_led_columns
from lamina.data.tables.layout import Layout, find_layout
from lamina.data.tables.narrow import LARGE, Column, extremes, give_back
from lamina.data.tables.parse import parse
from lamina.data.tables.plain import plain_numbers
from lamina.data.tables.rows import Rows, whole_rows
from lamina.data.tables.settle import settle_numbers, settle_texts
from lamina.data.tables.source import Source
from lamina.data.tables.table import NoRows, Table
from lamina.errors import DataError, shown

MAX_CELL = 1 << 20
_ODD = 4


@dataclass
class _Reading:
    """What a pass has found so far."""

    kinds: list[str]
    parts: list[Column]
    set_aside: set[int] = field(default_factory=set)
    n_rows: int = 0
    n_bytes: int = 0
    n_blank: int = 0
    lines: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    odd: int = 0


def read_delimited(
    source: Source,
    *,
    delimiter: str | None,
    header: bool,
    text_columns: Collection[str],
    clip_inf: bool,
    decimal: str | None,
) -> Table:
    """Read a delimited text.

    Args:
        source: Where the bytes come from.
        delimiter: What separates cells; found if None.
        header: Whether the first row holds the names.
        text_columns: Columns kept as text whatever they look like.
        clip_inf: Replace infinities by the largest finite value of the column instead of refusing them.
        decimal: The decimal sign if it is known.

    Returns:
        The table.

    Raises:
        NoRows: If nothing stands below the header.
        DataError: For anything in the file that is not a table; names line, column and cell.
    """  # noqa: DOC502 (raised by helpers)
    stream = _line_ends(source.blocks())
    first = next(stream, b"")
    second = next(stream, None)
    layout = find_layout(source, first, whole=second is None, delimiter=delimiter, header=header)
    names = layout.names

    def passes() -> Iterator[Rows]:
        blocks = _line_ends(source.blocks())
        head = next(blocks)[layout.offset :]
        return whole_rows(_chain(head, blocks), name=source.name, delimiter=layout.delimiter, line=layout.first_line)

    del first, second
    forced = {i for i, name in enumerate(names) if name in text_columns}
    reading = _first_pass(source, layout, passes(), forced)
    if reading.n_rows == 0:
        raise NoRows("no data rows below the header", names, where=shown(source.name))
    for index in reading.set_aside:
        reading.parts[index] = Column()
    if reading.set_aside:
        _second_pass(source, layout, passes(), reading)
    source.check_unchanged()
    columns: list[Any] = []
    for index in range(len(names)):
        columns.append(reading.parts[index].finish())
    if reading.n_bytes > LARGE:
        give_back()
    notes = list(layout.notes)
    if reading.n_blank:
        notes.append(f"{reading.n_blank:,} blank line{'s' if reading.n_blank > 1 else ''} skipped")
    table = Table(
        name=source.name,
        columns=_named(source, layout, columns, notes),
        lines=_line_numbers(reading.lines),
        first_line=layout.first_line,
        unit="line",
    )
    comma = layout.delimiter == ","
    table = settle_texts(table, text_columns=text_columns, decimal=decimal, comma_delimited=comma, notes=notes)
    table = settle_numbers(table, clip_inf=clip_inf, notes=notes)
    return Table(table.name, table.columns, tuple(notes), table.lines, table.first_line, table.unit)


def _line_ends(blocks: Iterator[bytes]) -> Iterator[bytes]:
    # Give text with the line ends of old Macs (a lone carriage return) the usual ones.
    old_mac = None
    for block in blocks:
        if old_mac is None:
            old_mac = b"\r" in block and b"\n" not in block
        yield block.replace(b"\r", b"\n") if old_mac else block


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from blocks


@dataclass(frozen=True)
class _Block:
    """What is found out about a block ahead of its turn.

    Args:
        kinds: The kinds of the columns as they were then.
        wanted: The columns that were wanted then.
        table: They, or None if one is not of its kind.
        starts: Physical line of each row.
        blank: Number of blank lines.
        bounds: Least and greatest value of each column of numbers.
        zero_led: Columns with a needless zero before a number.
    """

    kinds: tuple[str, ...]
    wanted: tuple[int, ...]
    table: Any
    starts: np.ndarray
    blank: int
    bounds: dict[int, tuple[float, float]]
    zero_led: set[int]


def _first_pass(source: Source, layout: Layout, blocks: Iterator[Rows], forced: set[int]) -> _Reading:
    # Read all rows; columns that turn out not to be numbers are set aside.
    n = len(layout.names)
    reading = _Reading(["text"] * n, [Column() for _ in range(n)])

    def look(rows: Rows) -> Callable[[], _Block]:
        kinds, wanted = tuple(reading.kinds), tuple(i for i in range(n) if i not in reading.set_aside)
        singles = {i for i in wanted if kinds[i] == "float" and reading.parts[i].single}
        return functools.partial(
            _look, source.name, layout, rows, kinds=kinds, wanted=wanted, singles=singles, reading=reading
        )

    first = next(blocks, None)
    if first is None:
        return reading
    first.check(source.name)
    reading.kinds = guess_kinds(source.name, layout, first, forced)
    for rows, found in in_order(itertools.chain([first], blocks), look, cores()):
        block = found
        if block.kinds != tuple(reading.kinds):
            block = look(rows)()
        if block.table is None:
            reading.set_aside |= failed_columns(source.name, layout, rows, reading.kinds, block.wanted)
            block = look(rows)()
        reading.set_aside |= block.zero_led
        if block.table is None:
            raise DataError("its rows cannot be read", where=source.name, mend="write it again as plain CSV")
        _take(source, layout, rows, block, reading)
    return reading


def _look(
    name: str,
    layout: Layout,
    rows: Rows,
    *,
    kinds: tuple[str, ...],
    wanted: tuple[int, ...],
    singles: set[int],
    reading: _Reading,
) -> _Block:
    # Check, parse and measure a block: the quickest way first, until some blocks have shown that it is of no use here.
    table: Any = None
    starts, blank = np.empty(0, np.int64), 0
    bounds: dict[int, tuple[float, float]] = {}
    if reading.odd < _ODD:
        plain = plain_numbers(rows, layout.delimiter, kinds, singles) if len(wanted) == len(kinds) else None
        if plain is not None:
            # A block of numbers, delimiters and line ends has no other characters to be checked.
            table, bounds = plain
            starts = np.arange(rows.line, rows.line + rows.n_lines)
        else:
            rows.check(name)
            reading.odd += "text" not in kinds
            table, starts, blank = parse(name, layout, rows, kinds, wanted, blanks=False)
            bounds = _bounds(table, kinds, wanted)
        if table is None or any(math.isnan(low) for low, _ in bounds.values()):
            reading.odd += 1
            table = None
    if table is None:
        rows.check(name)
        table, starts, blank = parse(name, layout, rows, kinds, wanted)
        bounds = _bounds(table, kinds, wanted)
    return _Block(kinds, wanted, table, starts, blank, bounds, zero_led_columns(name, layout, rows, kinds, wanted))


def _bounds(table: Any, kinds: Sequence[str], wanted: Sequence[int]) -> dict[int, tuple[float, float]]:
    if table is None:
        return {}
    found = {}
    for index in wanted:
        if kinds[index] == "text":
            continue
        column = table.column(str(index))
        if column.num_chunks == 1 and not column.null_count and len(column):
            # Twice as quick as Arrow's way, and it tells of NaN.
            values = column.chunk(0).to_numpy()
            found[index] = values.min().item(), values.max().item()
        else:
            found[index] = extremes(column)
    return found


def _take(source: Source, layout: Layout, rows: Rows, block: _Block, reading: _Reading) -> None:
    # Add a block's columns to what has been read.
    n_numbers = 0
    for index in block.wanted:
        if index in reading.set_aside:
            continue
        column = block.table.column(str(index))
        if index not in block.bounds:
            _check_cells(column, block.starts, layout.names[index], source.name)
            reading.parts[index].add(column)
            continue
        low, high = block.bounds[index]
        if max(abs(low), abs(high)) >= 1e15 and some_long(source.name, layout, rows, index):
            reading.set_aside.add(index)
            continue
        reading.parts[index].add(column, (low, high))
        n_numbers += 1
    reading.lines.append((block.table.num_rows, rows.line, block.starts))
    reading.n_rows += block.table.num_rows
    reading.n_bytes += len(rows.data)
    share = 1.02 * source.size / reading.n_bytes if source.packed is None else 1.0
    n_bytes = reading.n_rows * n_numbers * 8
    # What will surely be large is packed from the first block on.
    if n_bytes > LARGE or n_bytes * share > 4 * LARGE:
        for part in reading.parts:
            part.pack(int(reading.n_rows * max(share, 1.0)))
    reading.n_blank += block.blank


def _second_pass(source: Source, layout: Layout, blocks: Iterator[Rows], reading: _Reading) -> None:
    # Read the columns that were set aside as text.
    wanted = sorted(reading.set_aside)
    kinds = ["text"] * len(layout.names)

    def job(rows: Rows) -> Callable[[], tuple[Any, np.ndarray, int]]:
        return functools.partial(parse, source.name, layout, rows, kinds, wanted)

    for _, (table, starts, _) in in_order(blocks, job, cores()):
        if table is None:
            raise DataError("its rows cannot be read", where=source.name, mend="write it again as plain CSV")
        for index in wanted:
            column = table.column(str(index))
            _check_cells(column, starts, layout.names[index], source.name)
            reading.parts[index].add(column)


def _check_cells(column: Any, starts: np.ndarray, name: str, file: str) -> None:
    # Refuse cells above the cap.
    longest = pc.max(pc.binary_length(column)).as_py()
    if longest is not None and longest > MAX_CELL:
        row = int(np.argmax(np.asarray(pc.binary_length(column)) > MAX_CELL))
        raise DataError(
            f"a cell of {longest:,} bytes (at most {MAX_CELL:,} are read)",
            where=f'{shown(file)} line {int(starts[row])}, column "{shown(name)}"',
            mend="shorten the cell, or remove the column",
        )


def _named(source: Source, layout: Layout, columns: list[Any], notes: list[str]) -> dict[str, Any]:
    # Give the columns their names; an empty last column and a nameless row number are dropped.
    table: dict[str, Any] = {}
    for index, (name, column) in enumerate(zip(layout.names, columns, strict=True)):
        if name:
            table[name] = column
            continue
        if _is_empty(column):
            notes.append(f"column {index + 1} has no name and no cells: dropped")
        elif index == 0 and pa.types.is_integer(column.type) and _counts_rows(column):
            notes.append("column 1 has no name and numbers the rows: dropped")
        else:
            raise DataError(
                f"column {index + 1} has no name",
                where=f"{shown(source.name)} line {layout.first_line - 1}",
                mend="name it in the header, or read the file with --no-header",
            )
    return table


def _is_empty(column: Any) -> bool:
    if pa.types.is_string(column.type):
        return bool(pc.all(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py())
    return bool(column.null_count == len(column))


def _counts_rows(column: Any) -> bool:
    if column.null_count:
        return False
    values = np.asarray(column).astype(np.int64)
    return bool((np.diff(values) == 1).all()) and int(values[0]) in (0, 1)


def _line_numbers(parts: list[tuple[int, int, np.ndarray]]) -> np.ndarray | None:
    # Physical lines of all rows, or None if they follow one another without a gap.
    if not parts:
        return None
    expected = parts[0][1]
    regular = True
    for n_rows, _, starts in parts:
        regular &= bool(n_rows == 0 or (starts[0] == expected and starts[-1] == expected + n_rows - 1))
        expected += n_rows
    return None if regular else np.concatenate([starts for _, _, starts in parts]).astype(np.int64)
