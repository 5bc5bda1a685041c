"""Read the formats that carry their own types: Parquet, Arrow (Feather) and JSON lines."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.narrow import LARGE, narrowed
from lamina.data.tables.rows import text_lines
from lamina.data.tables.settle import settle_numbers, settle_texts
from lamina.data.tables.source import Source
from lamina.data.tables.table import NoRows, Table
from lamina.errors import DataError, shown


def read_parquet(source: Source, *, text_columns: Collection[str], clip_inf: bool) -> Table:
    """Read a Parquet file column by column.

    Returns:
        The table.

    Raises:
        DataError: If the file is damaged or holds columns that are no table cells.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    from pyarrow import parquet

    columns: dict[str, Any] = {}
    try:
        with parquet.ParquetFile(source.open_binary()) as file:
            names = list(file.schema_arrow.names)
            _refuse_twins(names, source.name)
            large = file.metadata.num_rows * len(names) * 8 > LARGE
            for name in names:
                columns[name] = _shrunk(file.read(columns=[name], use_pandas_metadata=False).column(name), large=large)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged("Parquet", source, error) from None
    source.check_unchanged()
    return from_arrow(source.name, columns, text_columns=text_columns, clip_inf=clip_inf)


def read_arrow(source: Source, *, text_columns: Collection[str], clip_inf: bool) -> Table:
    """Read an Arrow file (Feather version 2).

    Returns:
        The table.

    Raises:
        DataError: If the file is damaged or holds columns that are no table cells.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    from pyarrow import ipc

    try:
        stream = source.open_binary()
        with ipc.open_file(stream if not isinstance(stream, str) else pa.OSFile(stream)) as file:
            table = file.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise _damaged("Arrow", source, error) from None
    _refuse_twins(table.column_names, source.name)
    source.check_unchanged()
    large = table.num_rows * table.num_columns * 8 > LARGE
    columns = {name: _shrunk(table.column(name), large=large) for name in table.column_names}
    return from_arrow(source.name, columns, text_columns=text_columns, clip_inf=clip_inf)


def read_json_lines(source: Source, *, text_columns: Collection[str], clip_inf: bool) -> Table:
    """Read one JSON object a line; a key that a line lacks is missing there.

    Returns:
        The table; booleans stay booleans, a key with numbers and texts becomes text.

    Raises:
        DataError: For a line that is not a flat JSON object.
    """
    cells: dict[str, list[Any]] = {}
    lines: list[int] = []
    for number, text in enumerate(text_lines(source.blocks(), source.name, 1), start=1):
        if not text.strip():
            continue
        where = f"{shown(source.name)} line {number}"
        for name, value in _parse_line(text, where).items():
            if name not in cells:
                cells[name] = [None] * len(lines)
            if isinstance(value, (dict, list)):
                raise DataError(
                    f"a nested value: {shown(json.dumps(value))}",
                    where=f'{where}, column "{shown(name)}"',
                    mend="flatten it into columns of its own, or leave the key out",
                )
            cells[name].append(value)
        lines.append(number)
        for column in cells.values():
            if len(column) < len(lines):
                column.append(None)
    if not lines or not cells:
        raise DataError("no rows", where=shown(source.name), mend="give one JSON object a line")
    source.check_unchanged()
    read = {name: column_of(values) for name, values in cells.items()}
    return from_arrow(
        source.name,
        {name: column for name, (column, _) in read.items()},
        text_columns=text_columns,
        clip_inf=clip_inf,
        lines=np.array(lines),
        unit="line",
        mixed={name: twin for name, (_, twin) in read.items() if twin is not None},
    )


def from_arrow(
    name: str,
    columns: dict[str, Any],
    *,
    text_columns: Collection[str] = (),
    clip_inf: bool = False,
    lines: np.ndarray | None = None,
    unit: str = "row",
    mixed: dict[str, str] | None = None,
) -> Table:
    """Return a table of Arrow columns of any type that stands for numbers, text, truth values or times.

    Returns:
        The table, with the same columns as its CSV would give.

    Raises:
        NoRows: If it has no rows.
        DataError: If it has a column of lists, structures or bytes.
    """
    if not columns:
        raise DataError("no columns", where=shown(name), mend="check how it was written")
    if next(len(column) for column in columns.values()) == 0:
        raise NoRows("no data rows", tuple(columns), where=shown(name))
    plain = {key: plain_column(column, key, name) for key, column in columns.items()}
    notes: list[str] = []
    table = Table(name, plain, lines=lines, unit=unit, mixed=mixed or {})
    table = settle_texts(table, text_columns=text_columns, decimal=None, comma_delimited=True, notes=notes)
    table = settle_numbers(table, clip_inf=clip_inf, notes=notes)
    return Table(name, table.columns, tuple(notes), lines, table.first_line, unit, table.mixed)


def plain_column(column: Any, name: str, file: str) -> Any:  # noqa: PLR0911 (one return a type)
    """Return a column in one of the types of a table: string, int64, float64 (or narrower), bool, timestamp.

    Returns:
        The column.

    Raises:
        DataError: If its type has no such form.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = column.cast(kind.storage_type) if isinstance(column, pa.ChunkedArray) else column.storage
        kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.float64())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
        kind = pa.string()
    if pa.types.is_string(kind):
        return column.fill_null("")
    if pa.types.is_boolean(kind) or kind in {pa.int64(), pa.float64(), pa.float32(), pa.int32()}:
        return column
    if pa.types.is_uint64(kind) and (pc.max(column).as_py() or 0) >= 10**15:
        return pc.cast(column, pa.string()).fill_null("")
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(
            pa.timestamp("us"), safe=False
        )
    if pa.types.is_duration(kind):
        return pc.divide(column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e6)
    if pa.types.is_time(kind):
        return column.cast(pa.time64("us"), safe=False).cast(pa.int64())
    raise DataError(
        f"a column of type {shown(kind)}",
        where=f'{shown(file)} column "{shown(name)}"',
        mend="turn it into columns of numbers, text, truth values or dates, or leave it out",
    )


def column_of(values: list[Any]) -> tuple[Any, str | None]:
    """Return a column of Python objects as its CSV would give it.

    Returns:
        The column, and a label that occurs both as a number and as text (or None).
    """
    values = [None if value is None or is_nan(value) else value for value in values]
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds and kinds <= {bool, np.bool_}:
        return pa.array([None if value is None else bool(value) for value in values], pa.bool_()), None
    small = all(abs(value) < 10**15 for value in present if type(value) is int)
    if kinds <= {int} and small:
        return pa.array(values, pa.int64()), None
    if kinds <= {int, float} and small:
        return pa.array([None if value is None else float(value) for value in values], pa.float64()), None
    if len(kinds) == 1:
        with contextlib.suppress(pa.ArrowException, TypeError, OverflowError, ValueError):
            array = pa.array(values)
            if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type) or pa.types.is_decimal(array.type):
                return array, None
    texts = {value for value in present if isinstance(value, str)}
    twin = next((str(value) for value in present if not isinstance(value, str) and str(value) in texts), None)
    return pa.array(["" if value is None else _text(value) for value in values], pa.string()), twin


def is_nan(value: object) -> bool:
    """Tell whether a value is not equal to itself, as NaN and NaT are.

    Returns:
        False also for values that cannot be compared.
    """
    try:
        return bool(value != value)  # noqa: PLR0124 (the definition of NaN)
    except (TypeError, ValueError):
        return False


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def _parse_line(text: str, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twin = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f'the key "{shown(twin)}" occurs twice', where=where, mend="rename one of them")
        return found

    try:
        value = json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise DataError("values nested too deep", where=where, mend="flatten them") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON at character {error.pos + 1}: {shown(error.msg)}",
            where=where,
            mend="write one JSON object a line, without commas between the lines",
        ) from None
    if isinstance(value, dict):
        return value
    what = "a JSON list" if isinstance(value, list) else "a JSON value without a name"
    raise DataError(f"{what}, where an object is expected", where=where, mend="write one JSON object a line")


def _shrunk(column: Any, *, large: bool) -> Any:
    return narrowed(column) if large else column


def _refuse_twins(names: list[str], file: str) -> None:
    seen: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if name in seen:
            raise DataError(
                f'two columns are called "{shown(name)}": columns {seen[name]} and {position}',
                where=shown(file),
                mend="rename one of them",
            )
        seen[name] = position


def _damaged(what: str, source: Source, error: Exception) -> DataError:
    return DataError(
        f"the {what} file is damaged or cut short ({shown(str(error).splitlines()[0] if str(error) else error)})",
        where=shown(source.name),
        mend="download or write it again; nothing of it was used",
    )
