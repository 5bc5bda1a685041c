"""Find a column that gives the target away: the same values, or values that map to it one-to-one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SAMPLE = 2_000


def leakage_of(column: Any, target: Any) -> str:
    """Say how a column gives the target away.

    Two columns of few different values are compared by their pairs: one-to-one if there are as many different pairs as
    values on either side. Two columns of numbers are compared by their order: one rises (or falls) exactly with the
    other.

    Args:
        column: A column, N values.
        target: The target, N values.

    Returns:
        ``equals`` or ``maps one-to-one to``, or nothing.
    """
    if len(column) > _SAMPLE and not _may_leak(column.slice(0, _SAMPLE), target.slice(0, _SAMPLE)):
        return ""
    codes, n_codes = _codes(column)
    target_codes, n_target = _codes(target)
    n = len(codes)
    if n_codes != n_target or n_codes < 2:
        return ""
    if n_codes > n // 2:
        return _same_order(column, target)
    pairs = len(np.unique(codes.astype(np.int64) * n_target + target_codes))
    if pairs != n_codes:
        return ""
    return "equals" if _equal(column, target) else "maps one-to-one to"


def _may_leak(column: Any, target: Any) -> bool:
    # Whether some rows leave it possible: what holds for all rows holds for some.
    codes, n_codes = _codes(column)
    target_codes, n_target = _codes(target)
    pairs = len(np.unique(codes.astype(np.int64) * n_target + target_codes))
    if not pairs == n_codes == n_target:
        return False
    return n_codes <= len(codes) // 2 or bool(_same_order(column, target))


def _codes(column: Any) -> tuple[np.ndarray, int]:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = whole.dictionary_encode(null_encoding="encode")
    return np.asarray(coded.indices), len(coded.dictionary)


def _equal(column: Any, target: Any) -> bool:
    if column.type != target.type:
        return False
    return bool(pc.all(pc.fill_null(pc.equal(column, target), True)).as_py())


def _same_order(column: Any, target: Any) -> str:
    numbers = [_numbers(one) for one in (column, target)]
    if any(one is None for one in numbers):
        return "equals" if _equal(column, target) else ""
    x, y = numbers
    present = np.isfinite(x) & np.isfinite(y)
    x, y = x[present], y[present]
    if len(x) < 3:
        return ""
    if np.array_equal(x, y):
        return "equals"
    order = np.argsort(x, kind="stable")
    steps_x, steps_y = np.diff(x[order]), np.diff(y[order])
    for sign in (1, -1):
        if ((sign * steps_y > 0) == (steps_x > 0)).all() and (sign * steps_y >= 0).all():
            return "maps one-to-one to"
    return ""


def _numbers(column: Any) -> Any:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    wide = column.cast(pa.float64())
    return wide.to_numpy(zero_copy_only=False) if isinstance(wide, pa.Array) else wide.to_numpy()
