"""The last word on the columns: text that is numbers becomes numbers, infinities are refused, blanks are told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.judge import INFINITE, NUMBER, Verdict, judge, to_numbers
from lamina.data.tables.table import Table
from lamina.data.tables.words import is_missing
from lamina.errors import DataError, shown


def settle_texts(
    table: Table, *, text_columns: Collection[str], decimal: str | None, comma_delimited: bool, notes: list[str]
) -> Table:
    """Judge every text column by all of its cells, and convert those that are numbers.

    Args:
        table: The table; text columns are of Arrow's string type.
        text_columns: Columns kept as text.
        decimal: The decimal sign if it is known.
        comma_delimited: Whether a comma separates cells.
        notes: What is done is added to it.

    Returns:
        The table with the converted columns.

    Raises:
        DataError: For a column of numbers spoilt by a few other cells, and for numbers that can be read in two ways.
    """
    columns = dict(table.columns)
    verdicts: dict[str, Verdict] = {}
    for name, column in columns.items():
        if not pa.types.is_string(column.type) or name in text_columns:
            continue
        counted = pc.value_counts(column)
        if isinstance(counted, pa.ChunkedArray):
            counted = counted.combine_chunks()
        values = counted.field(0).fill_null("")
        counts = np.asarray(counted.field(1))
        verdicts[name] = judge(values, counts, decimal=decimal, comma_delimited=comma_delimited)
    european = any(verdict.style.decimal == "," and verdict.kind == "number" for verdict in verdicts.values())
    for name, verdict in verdicts.items():
        if verdict.kind == "ambiguous" and european:
            columns[name] = to_numbers(columns[name], replace(verdict.style, decimal=",", group=". '’"))
            notes.append(f'column "{shown(name)}": decimal comma, as in the other columns')
        elif verdict.kind == "ambiguous":
            raise DataError(
                f'"{shown(verdict.bad[0])}" may be {verdict.bad[0].replace(",", ".")} '
                f"or {verdict.bad[0].replace(',', '')}",
                where=f'{shown(table.name)} column "{shown(name)}"',
                mend="say which sign marks decimals: --decimal , or --decimal .",
            )
        elif verdict.kind == "spoilt":
            row = _first_bad(columns[name])
            cell = columns[name][row].as_py()
            raise DataError(
                f'"{shown(cell)}" is not a number ({verdict.n_good:,} other cells are)',
                where=table.location(row, name),
                mend=f"correct the cell, or treat the column as categories: --categorical {shown(name)}",
            )
        elif verdict.kind == "empty":
            columns[name] = pa.nulls(table.n_rows, pa.float64())
        elif verdict.kind == "number":
            numbers = to_numbers(columns[name], verdict.style)
            columns[name] = numbers.cast(pa.int64()) if verdict.whole else numbers
            if not verdict.style.plain:
                notes.append(f'column "{shown(name)}": {verdict.style.said()}')
        elif verdict.why:
            notes.append(f'column "{shown(name)}" is kept as text: {verdict.why}')
    return replace(table, columns=columns)


def settle_numbers(table: Table, *, clip_inf: bool, notes: list[str]) -> Table:
    """Refuse or clip infinities, turn NaN into missing, and tell which number columns have blanks.

    Returns:
        The table.

    Raises:
        DataError: For an infinite cell unless ``clip_inf``.
    """  # noqa: DOC502 (raised by a helper)
    columns = dict(table.columns)
    for name, found in table.columns.items():
        column = found
        if pa.types.is_floating(column.type):
            columns[name] = column = _finite(table, name, column, clip_inf=clip_inf, notes=notes)
        number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        if number and 0 < column.null_count < len(column):
            rows = np.flatnonzero(np.asarray(pc.is_null(column)))[:3]
            places = ", ".join(
                str(int(row) + table.first_line if table.lines is None else table.lines[row]) for row in rows
            )
            more = ", ..." if column.null_count > 3 else ""
            one = column.null_count == 1
            notes.append(
                f'column "{shown(name)}": {column.null_count:,} blank cell{"" if one else "s"} '
                f"({table.unit}{'' if one else 's'} {places}{more}), read as missing"
            )
    return replace(table, columns=columns)


def _finite(table: Table, name: str, column: Any, *, clip_inf: bool, notes: list[str]) -> Any:
    if isinstance(column, pa.Array) and not column.null_count:
        # A third of the time of Arrow's sum; one that only overflows is looked at again below.
        with np.errstate(over="ignore", invalid="ignore"):
            total = column.to_numpy().sum().item()
    else:
        total = pc.sum(column).as_py()
    if total is None or np.isfinite(total):
        return column
    extremes = pc.min_max(column)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if bool(pc.any(pc.is_nan(column)).as_py()):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        extremes = pc.min_max(column)
        low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if low is None or (np.isfinite(low) and np.isfinite(high)):
        return column
    infinite = np.asarray(pc.fill_null(pc.is_inf(column), False)).astype(bool)
    if not clip_inf:
        raise DataError(
            "an infinite number",
            where=table.location(int(np.argmax(infinite)), name),
            mend="correct the cell, or replace such cells by the largest finite value: --clip-inf",
        )
    values = np.asarray(
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    ).copy()
    finite = values[np.isfinite(values)]
    top, bottom = (float(finite.max()), float(finite.min())) if len(finite) else (0.0, 0.0)
    values[np.isposinf(values)], values[np.isneginf(values)] = top, bottom
    n = int(infinite.sum())
    notes.append(f'column "{shown(name)}": {n:,} infinite cell{"" if n == 1 else "s"} clipped to {bottom:g} .. {top:g}')
    return pa.array(values, type=column.type, mask=np.isnan(values))


def _first_bad(column: Any) -> int:
    text = pc.utf8_trim_whitespace(column)
    good = pc.or_(pc.match_substring_regex(text, NUMBER), pc.match_substring_regex(text, INFINITE))
    good = pc.or_(good, is_missing(text))
    return int(np.argmin(np.asarray(pc.fill_null(good, False)).astype(bool)))
