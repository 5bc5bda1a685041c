"""Read a delimited text (CSV and its relatives) into typed columns, in blocks, in one pass where the data allow it.

The kinds of the columns are judged on the first rows. Numbers are then parsed straight from the bytes by pyarrow; a
column in which a block turns up anything but numbers is set aside and read as text in a second pass, where the whole of
it is judged. So the memory stays near that of the numbers themselves, and no cell is converted by guess.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from lamina.data.tables.judge import INTEGER, LEADING_ZERO, LONG, NUMBER, judge
from lamina.data.tables.layout import Layout, find_layout
from lamina.data.tables.narrow import LARGE, Column, extremes, give_back
from lamina.data.tables.rows import Rows, row_starts, whole_rows
from lamina.data.tables.settle import settle_numbers, settle_texts
from lamina.data.tables.source import Source
from lamina.data.tables.table import Table
from lamina.data.tables.words import arrow_null_values
from lamina.errors import DataError, shown

MAX_CELL = 1 << 20
_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 5_000
_PARSE_BLOCK = 1 << 20


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
        DataError: For anything in the file that is not a table; names line, column and cell.
    """
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
        raise DataError("no data rows below the header", where=shown(source.name), mend="check how it was exported")
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


def _first_pass(source: Source, layout: Layout, blocks: Iterator[Rows], forced: set[int]) -> _Reading:
    # Read all rows; columns that turn out not to be numbers are set aside.
    n = len(layout.names)
    reading = _Reading(["text"] * n, [Column() for _ in range(n)])
    for number, rows in enumerate(blocks):
        if number == 0:
            reading.kinds = _guess_kinds(source, layout, rows, forced)
        wanted = [i for i in range(n) if i not in reading.set_aside]
        table, starts, blank = _parse(source, layout, rows, reading.kinds, wanted)
        failed = _failed_columns(source, layout, rows, reading.kinds, wanted) if table is None else set()
        failed |= _zero_led_columns(source, layout, rows, reading.kinds, [i for i in wanted if i not in failed])
        if failed:
            reading.set_aside |= failed
            wanted = [i for i in wanted if i not in failed]
        if table is None:
            table, starts, blank = _parse(source, layout, rows, reading.kinds, wanted)
            if table is None:
                raise DataError("its rows cannot be read", where=source.name, mend="write it again as plain CSV")
        for index in wanted:
            column = table.column(str(index))
            if reading.kinds[index] == "text":
                _check_cells(column, starts, layout.names[index], source.name)
                reading.parts[index].add(column)
                continue
            low, high = extremes(column)
            if max(abs(low), abs(high)) >= 1e15 and _some_long(source, layout, rows, index):
                reading.set_aside.add(index)
                continue
            reading.parts[index].add(column, (low, high))
        reading.lines.append((table.num_rows, rows.line, starts))
        reading.n_rows += table.num_rows
        reading.n_bytes += len(rows.data)
        if reading.n_rows * (len(wanted) - reading.kinds.count("text")) * 8 > LARGE:
            share = 1.02 * source.size / reading.n_bytes if source.packed is None else 1.0
            for part in reading.parts:
                part.pack(int(reading.n_rows * max(share, 1.0)))
        reading.n_blank += blank
    return reading


def _second_pass(source: Source, layout: Layout, blocks: Iterator[Rows], reading: _Reading) -> None:
    # Read the columns that were set aside as text.
    wanted = sorted(reading.set_aside)
    kinds = ["text"] * len(layout.names)
    for rows in blocks:
        table, starts, _ = _parse(source, layout, rows, kinds, wanted)
        if table is None:
            raise DataError("its rows cannot be read", where=source.name, mend="write it again as plain CSV")
        for index in wanted:
            column = table.column(str(index))
            _check_cells(column, starts, layout.names[index], source.name)
            reading.parts[index].add(column)


def _parse(
    source: Source, layout: Layout, rows: Rows, kinds: list[str], wanted: list[int]
) -> tuple[Any, np.ndarray, int]:
    # Parse a block; None in the place of the table if a cell does not fit its column's kind.
    #
    # Returns:
    #     The table, the physical line of each row, and the number of blank lines.
    types = {"text": pa.string(), "float": pa.float64(), "int": pa.int64()}
    ragged: list[str] = []

    def on_ragged(row: Any) -> str:
        if not row.text.strip():
            return "skip"
        ragged.append(row.text)
        return "error"

    def attempt(block_size: int) -> Any:
        return pa_csv.read_csv(
            pa.BufferReader(rows.data),
            read_options=pa_csv.ReadOptions(
                column_names=[str(i) for i in range(len(layout.names))], block_size=block_size
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=layout.delimiter,
                newlines_in_values=rows.inner_lines,
                ignore_empty_lines=True,
                invalid_row_handler=on_ragged,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={str(i): types[kinds[i]] for i in range(len(layout.names))},
                null_values=arrow_null_values(),
                strings_can_be_null=False,
                include_columns=[str(i) for i in wanted] or ["0"],
                check_utf8=False,
            ),
        )

    try:
        try:
            table = attempt(_PARSE_BLOCK)
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error):
                raise
            table = attempt(len(rows.data) + 1)
    except pa.ArrowInvalid as error:
        if ragged or "Expected" in str(error):
            raise _ragged(source, layout, rows) from None
        if "onversion error" in str(error):
            return None, np.empty(0), 0
        raise DataError(shown(error, 200), where=shown(source.name), mend="write it again as plain CSV") from None
    n_rows = table.num_rows
    if rows.starts is None:
        if n_rows == rows.n_lines:
            return table, np.arange(rows.line, rows.line + n_rows), 0
        starts, n_blank = row_starts(rows.data, rows.line)
        if n_rows == len(starts):
            return table, starts, n_blank
    elif len(rows.starts) == n_rows:
        return table, rows.starts, rows.n_blank
    starts = np.array(
        [line for line, row in _row_by_row(rows, layout) if any(cell.strip() for cell in row[:1]) or len(row) > 1]
    )
    if len(starts) != n_rows:
        raise DataError("its rows cannot be told apart", where=shown(source.name), mend="write it again as plain CSV")
    return table, starts, rows.n_blank + (rows.n_lines if rows.starts is None else len(rows.starts)) - n_rows


def _row_by_row(rows: Rows, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    # Rows of a block with their physical lines, by the standard library's reader.
    reader = csv.reader(io.StringIO(rows.data.decode("utf-8"), newline=""), delimiter=layout.delimiter)
    starts = iter(rows.starts) if rows.starts is not None else None
    before = 0
    for row in reader:
        line = rows.line + before
        before = reader.line_num
        if not row:
            continue
        yield (int(next(starts, line)) if starts is not None else line), row


def _ragged(source: Source, layout: Layout, rows: Rows) -> DataError:
    # The error for the first row with too many or too few cells.
    expected = len(layout.names)
    for line, row in _row_by_row(rows, layout):
        if len(row) == expected or (len(row) == 1 and not row[0].strip()):
            continue
        where = f"{shown(source.name)} line {line}"
        if len(row) < expected:
            named = layout.names[len(row)]
            return DataError(
                f"{len(row)} cell{'s' if len(row) > 1 else ''} where the header has {expected} "
                f'(from column "{shown(named)}" on they are missing)',
                where=where,
                mend="complete the row, or remove it",
            )
        return DataError(
            f'{len(row)} cells where the header has {expected}; the first one too many is "{shown(row[expected])}"',
            where=where,
            mend=f'put a cell that holds a "{layout.delimiter}" in quotes, or give the right --delimiter',
        )
    return DataError("a row with too many or too few cells", where=shown(source.name), mend="complete or remove it")


def _guess_kinds(source: Source, layout: Layout, rows: Rows, forced: set[int]) -> list[str]:
    # Judge each column on the first rows: ``int``, ``float`` or ``text``.
    n = len(layout.names)
    if len(rows.data) > _SAMPLE_BYTES and not rows.quoted and rows.starts is None:
        end = rows.data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1 or rows.data.find(b"\n") + 1 or len(rows.data)
        rows = Rows(
            rows.data[:end], rows.line, rows.data.count(b"\n", 0, end), None, 0, quoted=False, inner_lines=False
        )
    table, _, _ = _parse(source, layout, rows, ["text"] * n, list(range(n)))
    kinds = []
    for i in range(n):
        counted = pc.value_counts(table.column(str(i)).combine_chunks().slice(0, _SAMPLE_ROWS))
        verdict = judge(counted.field(0), np.asarray(counted.field(1)))
        plain = verdict.kind == "number" and verdict.style.plain and i not in forced
        kinds.append(("int" if verdict.whole else "float") if plain else "text")
    return kinds


def _failed_columns(source: Source, layout: Layout, rows: Rows, kinds: list[str], wanted: list[int]) -> set[int]:
    # Find the columns of a block that are not of their kind; whole numbers that got a fraction become floats.
    failed = set()
    numeric = [i for i in wanted if kinds[i] != "text"]
    table, _, _ = _parse(source, layout, rows, ["text"] * len(kinds), numeric)
    known = pa.array(arrow_null_values())
    for index in numeric:
        text = pc.unique(table.column(str(index)))
        text = text.filter(pc.invert(pc.is_in(text, value_set=known)))
        if not _all(text, NUMBER) or _some(text, LONG) or _some(text, LEADING_ZERO):
            failed.add(index)
        elif kinds[index] == "int" and not _all(text, INTEGER):
            kinds[index] = "float"
    return failed


def _zero_led_columns(source: Source, layout: Layout, rows: Rows, kinds: list[str], wanted: list[int]) -> set[int]:
    # Find number columns with a cell that begins with a needless zero, which the number parser would swallow.
    numeric = [i for i in wanted if kinds[i] != "text"]
    if not numeric or not _zero_led(rows.data, layout.delimiter):
        return set()
    if not rows.quoted and rows.starts is None:
        view = np.frombuffer(rows.data, np.uint8)
        at = _zero_led_positions(view, layout.delimiter)
        cuts = np.flatnonzero(view == ord(layout.delimiter))
        ends = np.flatnonzero(view == 10)
        row = np.searchsorted(ends, at)
        begin = np.where(row > 0, ends[np.maximum(row, 1) - 1], -1) if len(ends) else np.full(len(at), -1)
        hit = set((np.searchsorted(cuts, at) - np.searchsorted(cuts, begin)).tolist())
        numeric = [i for i in numeric if i in hit]
    if not numeric:
        return set()
    table, _, _ = _parse(source, layout, rows, ["text"] * len(kinds), numeric)
    if table is None:
        return set()
    return {i for i in numeric if _some(pc.unique(table.column(str(i))), r"^\s*[+-]?0[0-9]")}


def _zero_led(data: bytes, delimiter: str) -> bool:
    return len(_zero_led_positions(np.frombuffer(data, np.uint8), delimiter)) > 0


def _zero_led_positions(view: np.ndarray, delimiter: str) -> np.ndarray:
    # Offsets of a 0 that begins a cell and is followed by a digit.
    if len(view) < 2:
        return np.empty(0, np.int64)
    mark = ord(delimiter)
    # Four passes over the bytes: a 0, a digit after it, and before it an edge of a cell, a sign, or anything below.
    found = (view[1:] - np.uint8(48)) < 10
    found &= view[:-1] == 48
    if mark < 46:
        found[1:] &= view[:-2] < 46
    else:
        found[1:] &= (view[:-2] < 46) | (view[:-2] == mark)
    at = np.flatnonzero(found)
    before = view[np.maximum(at - 1, 0)]
    at = at[(at == 0) | np.isin(before, (mark, 10, 34, 32, 43, 45))]
    # A sign may also stand inside a number, after its e.
    signed = np.isin(view[np.maximum(at - 1, 0)], (43, 45)) & (at > 0)
    inside = signed & np.isin(view[np.maximum(at - 2, 0)], (69, 101)) & (at > 1)
    result: np.ndarray = at[~inside]
    return result


def _some_long(source: Source, layout: Layout, rows: Rows, index: int) -> bool:
    # Whether a column holds whole numbers of more digits than a float keeps.
    table, _, _ = _parse(source, layout, rows, ["text"] * len(layout.names), [index])
    return _some(table.column(str(index)), LONG)


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


def _all(text: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern), min_count=0).as_py())


def _some(text: Any, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern), min_count=0).as_py())
