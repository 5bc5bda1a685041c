"""Tables from data in memory: numpy arrays, and pandas, polars or pyarrow frames, none of which lamina imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.data.tables.arrow_files import column_of, from_arrow, is_nan
from lamina.data.tables.table import Table
from lamina.errors import DataError, shown


def table_from(data: Any, names: Sequence[str] | None = None, *, name: str = "the data") -> Table:
    """Return the table of a two-dimensional array or of a frame, the same as its CSV would give.

    Args:
        data: A table already (returned as it is), a numpy array ``(N, D)``, a mapping of column name to values, or a
            frame that narwhals knows (pandas, polars, pyarrow and others).
        names: Column names of an array; otherwise ``column1`` and so on. Ignored for frames.
        name: What the data is called in messages.

    Returns:
        The table; column names are made text.

    Raises:
        DataError: If it has no rows, two columns of one name, or a column that stands for no cells.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, np.ndarray):
        return _from_array(data, names, name)
    columns: dict[str, Any] = {}
    mixed: dict[str, str] = {}
    for label, series in _series(data, name):
        if label in columns:
            raise DataError(f'two columns are called "{shown(label)}"', where=name, mend="rename one of them")
        columns[label], twin = _column(series, label, name)
        if twin is not None:
            mixed[label] = twin
    return from_arrow(name, columns, mixed=mixed)


def _from_array(data: np.ndarray, names: Sequence[str] | None, name: str) -> Table:
    if data.ndim == 1 and data.dtype.names:
        return table_from({field: data[field] for field in data.dtype.names}, name=name)
    if data.ndim != 2:
        raise DataError(f"expected a 2-D array, got one of shape {data.shape}", where=name, mend="give rows x columns")
    if names is None:
        names = [f"column{i + 1}" for i in range(data.shape[1])]
    if len(names) != data.shape[1]:
        raise DataError(
            f"{data.shape[1]} columns but {len(names)} names", where=name, mend="give one name for each column"
        )
    return table_from({str(label): data[:, i] for i, label in enumerate(names)}, name=name)


def _series(data: Any, name: str) -> list[tuple[str, Any]]:
    # Column names as text, with whatever holds the values.
    if isinstance(data, dict):
        return [(_label(label), values) for label, values in data.items()]
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        return [(label, data.column(i)) for i, label in enumerate(data.schema.names)]
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        # A pandas frame by position: its names may be repeated, tuples or numbers, its index anything.
        return [(_label(label), data.iloc[:, i]) for i, label in enumerate(data.columns)]
    import narwhals as nw

    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        raise DataError(
            f"a {type(data).__name__} is not a table",
            where=name,
            mend="give a 2-D array or a pandas, polars or pyarrow frame",
        )
    return [(str(label), frame.get_column(label).to_arrow()) for label in frame.columns]


def _label(label: object) -> str:
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _column(values: Any, label: str, name: str) -> tuple[Any, str | None]:  # noqa: PLR0911 (one return a type)
    # One column as Arrow: typed where the values are of one type, by its values otherwise.
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values, None
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    kind = getattr(values, "dtype", array.dtype)
    if array.ndim != 1:
        raise DataError(f'column "{shown(label)}" has {array.ndim} dimensions', where=name, mend="give one value a row")
    if isinstance(kind, np.dtype) and kind.kind in "iufb":
        array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
        if kind.kind == "f":
            wide = array.astype(np.float64) if kind.itemsize not in (4, 8) else array
            return pa.array(wide, mask=np.isnan(wide)), None
        if kind.kind in "iu" and len(array) and max(abs(int(array.min())), abs(int(array.max()))) >= 10**15:
            return pa.array([str(v) for v in array.tolist()], pa.string()), None
        return pa.array(array), None
    if isinstance(kind, np.dtype) and kind.kind == "c":
        raise DataError(f'column "{shown(label)}" holds complex numbers', where=name, mend="give its parts as columns")
    if isinstance(kind, np.dtype) and kind.kind == "M":
        return pa.array(array.astype("datetime64[us]")), None
    if isinstance(kind, np.dtype) and kind.kind == "U":
        return pa.array(array.tolist(), pa.string()), None
    if not isinstance(kind, np.dtype) and hasattr(values, "isna"):
        # A pandas extension type: category, Int64, string, a datetime with zone.
        try:
            converted = pa.array(values)
            if not pa.types.is_dictionary(converted.type):
                return converted, None
        except (pa.ArrowException, TypeError, ValueError):
            pass
        missing = np.asarray(values.isna())
        objects = [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
        return column_of(objects)
    objects = array.tolist() if array.dtype != object else list(array)
    return column_of([None if _is_na(value) else _plain(value) for value in objects])


def _is_na(value: object) -> bool:
    # None, NaN, NaT, pandas' NA.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return is_nan(value)


def _plain(value: Any) -> Any:
    # A numpy scalar as the Python value.
    return value.item() if isinstance(value, np.generic) else value
