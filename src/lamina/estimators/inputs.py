"""What a caller may pass as X: a matrix of numbers, or a frame of mixed columns; each is read once, here."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.data.tables.frame import table_from
from lamina.data.tables.roles import Roles, infer_roles
from lamina.data.tables.table import Table
from lamina.errors import DataError, shown

_CELLS = (str, bytes, bool, int, float, decimal.Decimal, datetime.date, datetime.time, np.generic)


def is_frame(x: Any) -> bool:
    """Return whether ``x`` is a pandas, polars, pyarrow or other frame."""
    if isinstance(x, np.ndarray | list | tuple):
        return False
    import narwhals as nw

    return bool(nw.dependencies.is_into_dataframe(x))


def is_mixed(x: Any) -> bool:
    """Return whether ``x`` has to be read as a table because not all of its cells are numbers.

    Args:
        x: Anything; what is neither is left to scikit-learn's checks.

    Returns:
        True for a frame with a column of texts, categories or dates, and for an array of objects that are not all
        numbers.
    """
    if is_frame(x):
        return not all(_is_number_column(kind) for kind in _kinds(x))
    try:
        array = np.asarray(x) if isinstance(x, np.ndarray | list | tuple) else np.empty(0)
    except ValueError:
        array = np.empty(0)  # ragged: scikit-learn says so
    if array.ndim != 2 or array.size == 0 or array.dtype.kind in "biufcV":
        return False
    try:
        np.asarray(array, dtype=np.float64)
    except ValueError:
        return True
    except TypeError:
        return all(_is_cell(cell) for cell in array.flat)
    return array.dtype.kind in "Mm"


def _is_cell(value: object) -> bool:
    return value is None or isinstance(value, _CELLS) or type(value).__name__ in {"NAType", "NaTType"}


def is_pandas(x: Any) -> bool:
    """Return whether ``x`` is a pandas frame, or behaves as one."""
    return hasattr(x, "iloc") and hasattr(x, "dtypes")


def _kinds(x: Any) -> list[Any]:
    """The type of each column: pandas' own, by position (names may be repeated), or narwhals'.

    Returns:
        One a column.
    """
    if is_pandas(x):
        return list(x.dtypes)
    import narwhals as nw

    return list(nw.from_native(x, eager_only=True).schema.values())


def _is_number_column(kind: Any) -> bool:
    letter = getattr(kind, "kind", None)
    if isinstance(letter, str):
        return letter in "biufc"
    is_numeric = getattr(kind, "is_numeric", None)
    return bool(is_numeric is not None and is_numeric()) or str(kind) == "Boolean"


def as_numbers(x: Any) -> Any:
    """Return a frame of numbers as one matrix, anything else as it is, for scikit-learn's checks.

    Returns:
        ``(N, D)``.
    """
    if not is_frame(x) or is_pandas(x):
        return x
    import narwhals as nw

    frame = nw.from_native(x, eager_only=True)
    columns = [frame.get_column(name).cast(nw.Float64()).to_numpy() for name in frame.columns]
    return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))


def column_names(x: Any, n: int) -> list[str]:
    """Return the names of the n columns as text, as a table would have them.

    Returns:
        Different names.

    Raises:
        DataError: If two columns of a frame have one name.
    """
    if not is_frame(x):
        return [f"column{i + 1}" for i in range(n)]
    labels = list(x.schema.names) if not hasattr(x, "columns") else list(getattr(x, "column_names", x.columns))
    names = [".".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise DataError(f'two columns are called "{shown(name)}"', where="X", mend="rename one of them")
    return names


def as_table(x: Any, names: Sequence[str] | None = None) -> Table:
    """Return mixed data as a table.

    Args:
        x: A frame, or a 2-D array or list of lists.
        names: Of the columns of an array.

    Returns:
        The table.
    """
    return table_from(x if is_frame(x) else np.asarray(x, dtype=object), names, name="X")


def roles_for(table: Table, x: Any, categorical: Sequence[str]) -> Roles:
    """Decide what each column of mixed data is.

    A column of numbers or truth values is kept whatever it looks like, one of a categorical type is taken as
    categories; of texts, those that tell nothing (identifiers, running text, one value only) are left out.

    Args:
        table: The data.
        x: Where it came from, for its own column types.
        categorical: Columns to take as categories.

    Returns:
        The roles.
    """
    import pyarrow as pa

    of_category = set(categorical)
    if is_frame(x):
        kinds = dict(zip(table.names, _kinds(x), strict=True))
        of_category |= {
            name for name, kind in kinds.items() if type(kind).__name__ in {"CategoricalDtype", "Categorical", "Enum"}
        }
    typed = [n for n, column in table.columns.items() if n not in of_category and not pa.types.is_string(column.type)]
    return infer_roles(table, targets=(), use=typed, categorical=[n for n in table.names if n in of_category])


def target_names(y: Any, n: int) -> list[str]:
    """Return what y or its n columns are called."""
    names = [getattr(y, "name", None) or "y"] if n == 1 else []
    if is_frame(y):
        names = list(getattr(y, "column_names", y.columns))
    good = len(names) == n and all(isinstance(name, str) for name in names) and len(set(names)) == n
    return names if good else ["y"] if n == 1 else [f"y{j + 1}" for j in range(n)]
