"""A table in memory: named columns, and for every row the line of the file that it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.errors import ConfigError, DataError, nearest, shown

Column = Any
"""A ``pyarrow.Array`` or ``pyarrow.ChunkedArray`` (pyarrow ships no types)."""


class NoRows(DataError):
    """A table with a header and nothing below it.

    Args:
        what: What is wrong.
        names: Its columns.
        where: The file.
    """

    def __init__(self, what: str, names: Sequence[str], *, where: str) -> None:
        super().__init__(what, where=where, mend="check how it was written")
        self.names = tuple(names)


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length: strings where the file holds text, numbers, booleans or times otherwise.

    Args:
        name: The file's name as it is shown in messages.
        columns: Column name to its values; a blank cell is null in a typed column and ``""`` in a text column.
        notes: What the reader did, one sentence each.
        lines: The physical line on which each row starts, or None if row ``i`` stands on line ``i + first_line``.
        first_line: Line of row 0 when ``lines`` is None.
        unit: What ``lines`` counts: ``line`` of a text file, ``row`` of anything else.
        mixed: Columns that hold one label both as a number and as text, with the label.
        marked: Columns in which -1 stood for a missing cell.
    """

    name: str
    columns: Mapping[str, Column]
    notes: tuple[str, ...] = ()
    lines: np.ndarray | None = None
    first_line: int = 1
    unit: str = "row"
    mixed: Mapping[str, str] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return next((len(column) for column in self.columns.values()), 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the file's order."""
        return tuple(self.columns)

    def column(self, name: str) -> Column:
        """Return one column.

        Returns:
            The values of the column called ``name``.

        Raises:
            ConfigError: If there is no such column; names the nearest one.
        """  # noqa: DOC501, DOC502 (made by a helper)
        if name not in self.columns:
            raise unknown_column(name, self)
        return self.columns[name]

    def take(self, rows: np.ndarray) -> Table:
        """Return the table of the rows at the positions ``rows`` (or where a boolean ``rows`` is true).

        Returns:
            A new table; each row still knows its line.
        """
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        lines = index + self.first_line if self.lines is None else self.lines[index]
        taken = {name: column.take(pa.array(index)) for name, column in self.columns.items()}
        return replace(self, columns=taken, lines=lines)

    def joined(self, other: Table) -> Table:
        """Return the table of these rows, then those of another table that was taken from the same one.

        Returns:
            A new table of the same columns; each row still knows its line.
        """
        tables = (self, other)
        lines = [np.arange(t.n_rows) + t.first_line if t.lines is None else t.lines for t in tables]
        both = {
            name: pa.chunked_array([*chunks(column), *chunks(other.columns[name])], column.type)
            for name, column in self.columns.items()
        }
        return replace(self, columns=both, lines=np.concatenate(lines))

    def select(self, names: Iterable[str]) -> Table:
        """Return the table of the columns ``names``, in that order.

        Returns:
            A new table that shares the columns.
        """
        return replace(self, columns={name: self.column(name) for name in names})

    def drop(self, names: Iterable[str]) -> Table:
        """Return the table without the columns ``names``.

        Returns:
            A new table that shares the other columns.
        """
        away = set(names)
        return replace(self, columns={name: column for name, column in self.columns.items() if name not in away})

    def fingerprint(self) -> str:
        """Return SHA-256 over the names, types and values; how the values are cut into chunks does not matter.

        Returns:
            64 hexadecimal digits.
        """
        total = hashlib.sha256()
        for name, column in self.columns.items():
            total.update(f"{len(name.encode())}:{name}:{column.type}:{len(column)};".encode())
            for part in _column_digests(column):
                total.update(part)
        return total.hexdigest()

    def location(self, row: int, column: str | None = None) -> str:
        """Return where a row (and a cell of it) stands: ``churn.csv line 18, column "tenure"``.

        Returns:
            Text for the ``where`` of an error.
        """
        line = row + self.first_line if self.lines is None else int(self.lines[row])
        place = f"{shown(self.name)} {self.unit} {line}"
        return place if column is None else f'{place}, column "{shown(column)}"'

    def cells(self, rows: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> list[dict[str, str]]:
        """Return the cells of some rows as text, to be shown.

        Returns:
            One dictionary a row, column name to text; a missing cell is ``""``.
        """
        index = pa.array(np.asarray(rows, dtype=np.int64))
        chosen = self.names if columns is None else tuple(columns)
        values = {name: self.column(name).take(index).to_pylist() for name in chosen}
        narrow = {name for name in chosen if pa.types.is_float32(self.column(name).type)}
        return [
            {name: _cell_text(values[name][i], narrow=name in narrow) for name in chosen} for i in range(len(index))
        ]


def unknown_column(name: str, table: Table) -> ConfigError:
    """Return the error for a column that is not there, with the nearest name and the list.

    Returns:
        The error, to be raised by the caller.
    """
    listed = ", ".join(shown(known, 30) for known in table.names[:12])
    more = f", ... ({len(table.names)} in all)" if len(table.names) > 12 else ""
    return ConfigError(
        f'no column "{shown(name)}" in {shown(table.name)}{shown(nearest(name, list(table.names)), 100)}',
        mend=f"the columns are: {listed}{more}",
    )


def chunks(column: Column) -> list[Any]:
    """Return the arrays that a column is made of.

    Returns:
        A list of ``pyarrow.Array``.
    """
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def _column_digests(column: Column) -> tuple[bytes, bytes, bytes]:
    # Hash the null mask, the lengths and the values of a column, each over all chunks.
    mask, lengths, values = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for chunk in chunks(column):
        mask.update(np.asarray(chunk.is_null()).tobytes() if chunk.null_count else bytes(len(chunk)))
        kind = chunk.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            filled = chunk.fill_null("") if chunk.null_count else chunk
            text = pc.cast(filled, pa.large_string())
            offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
            lengths.update(np.diff(offsets).tobytes())
            data = text.buffers()[2]
            if data is not None and len(offsets):
                values.update(memoryview(data)[offsets[0] : offsets[-1]])
        elif pa.types.is_boolean(kind):
            values.update(np.asarray(chunk.fill_null(False)).tobytes())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
            filled = chunk.fill_null(0) if chunk.null_count else chunk
            values.update(np.ascontiguousarray(filled.to_numpy(zero_copy_only=False)).data)
        else:
            values.update("\x1f".join(map(str, chunk.to_pylist())).encode())
    return mask.digest(), lengths.digest(), values.digest()


def _cell_text(value: object, *, narrow: bool) -> str:
    # Write one cell; a float32 value with the digits that float32 has.
    if value is None:
        return ""
    if isinstance(value, float):
        value = np.float32(value) if narrow else value
        text = str(value)
        return text[:-2] if text.endswith(".0") else text
    return str(value)
