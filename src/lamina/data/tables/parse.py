"""Parse a block of whole rows with pyarrow, and say on which physical line each row stands."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from lamina.data.tables.layout import Layout
from lamina.data.tables.rows import Rows, row_starts
from lamina.data.tables.words import arrow_null_values
from lamina.errors import DataError, shown

_PARSE_MOST = 1 << 30


def parse(
    name: str, layout: Layout, rows: Rows, kinds: Sequence[str], wanted: Sequence[int], *, blanks: bool = True
) -> tuple[Any, np.ndarray, int]:
    """Parse a block.

    Args:
        name: The file's name for messages.
        layout: How it is cut into cells.
        rows: The block.
        kinds: ``text``, ``float`` or ``int`` for each column.
        wanted: Positions of the columns to be converted.
        blanks: Whether cells of numbers may be missing; if not, such a cell does not fit (or becomes NaN), which is
            quicker where there is none.

    Returns:
        The table (None if a cell does not fit its column's kind), whose columns are called by their positions; the
        physical line of each row; and the number of blank lines.

    Raises:
        DataError: For a row with too many or too few cells, or one that cannot be read.
    """  # noqa: DOC501 (made by a helper)
    try:
        table = _converted(layout, rows, kinds, wanted, blanks=blanks)
    except _RaggedError:
        raise _ragged(name, layout, rows) from None
    except pa.ArrowInvalid as error:
        if "Expected" in str(error):
            raise _ragged(name, layout, rows) from None
        if "onversion error" in str(error):
            return None, np.empty(0), 0
        raise DataError(shown(error, 200), where=shown(name), mend="write it again as plain CSV") from None
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
        raise DataError("its rows cannot be told apart", where=shown(name), mend="write it again as plain CSV")
    return table, starts, rows.n_blank + (rows.n_lines if rows.starts is None else len(rows.starts)) - n_rows


class _RaggedError(Exception):
    """A row has too many or too few cells."""


def _converted(layout: Layout, rows: Rows, kinds: Sequence[str], wanted: Sequence[int], *, blanks: bool) -> Any:
    types = {"text": pa.string(), "float": pa.float64(), "int": pa.int64()}
    ragged: list[str] = []

    def on_ragged(row: Any) -> str:
        if not row.text.strip():
            return "skip"
        ragged.append(row.text)
        return "error"

    columns = [str(i) for i in range(len(layout.names))]
    try:
        return pa_csv.read_csv(
            pa.BufferReader(rows.data),
            # One piece, in this thread: blocks are read in several threads already, and pieces cost time to join.
            read_options=pa_csv.ReadOptions(
                column_names=columns, block_size=min(len(rows.data) + 1, _PARSE_MOST), use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=layout.delimiter,
                quote_char='"' if rows.quoted else False,
                newlines_in_values=rows.inner_lines,
                ignore_empty_lines=True,
                invalid_row_handler=on_ragged,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={column: types[kind] for column, kind in zip(columns, kinds, strict=True)},
                null_values=arrow_null_values() if blanks else [],
                strings_can_be_null=False,
                include_columns=[columns[i] for i in wanted] or ["0"],
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        if ragged:
            raise _RaggedError from None
        raise


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


def _ragged(name: str, layout: Layout, rows: Rows) -> DataError:
    # The error for the first row with too many or too few cells.
    expected = len(layout.names)
    for line, row in _row_by_row(rows, layout):
        if len(row) == expected or (len(row) == 1 and not row[0].strip()):
            continue
        where = f"{shown(name)} line {line}"
        if len(row) < expected:
            missing = layout.names[len(row)]
            return DataError(
                f"{len(row)} cell{'s' if len(row) > 1 else ''} where the header has {expected} "
                f'(from column "{shown(missing)}" on they are missing)',
                where=where,
                mend="complete the row, or remove it",
            )
        return DataError(
            f'{len(row)} cells where the header has {expected}; the first one too many is "{shown(row[expected])}"',
            where=where,
            mend=f'put a cell that holds a "{layout.delimiter}" in quotes, or give the right --delimiter',
        )
    return DataError("a row with too many or too few cells", where=shown(name), mend="complete or remove it")
