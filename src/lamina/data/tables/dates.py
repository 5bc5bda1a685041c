"""Dates written as text: one format a column, found from all its cells; day and month are never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.table import Table, chunks
from lamina.data.tables.words import is_missing
from lamina.errors import DataError, shown

_TIME = (
    r"(?:[T ]+(?P<h>[0-9]{1,2}):(?P<mi>[0-9]{2})(?::(?P<s>[0-9]{2}(?:\.[0-9]+)?))?"
    r"\s*(?P<z>Z|UTC|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
_YMD = r"^\s*(?P<a>[0-9]{4})[-/.](?P<b>[0-9]{1,2})[-/.](?P<c>[0-9]{1,2})" + _TIME
_XXY = r"^\s*(?P<a>[0-9]{1,2})[-/.](?P<b>[0-9]{1,2})[-/.](?P<c>[0-9]{4})" + _TIME
Order = Literal["ymd", "dmy", "mdy", "typed"]
_SAID = {
    "ymd": "year-month-day",
    "dmy": "day, month, year",
    "mdy": "month, day, year",
    "typed": "dates of the file format",
}


@dataclass(frozen=True)
class DateFormat:
    """How dates are written in a column.

    Args:
        order: Order of year, month and day; ``typed`` for a column whose type is a date already.
        has_time: Whether an hour is given.
    """

    order: Order
    has_time: bool = False

    def said(self) -> str:
        """Say the format for a note.

        Returns:
            A phrase such as ``day, month, year``.
        """
        return _SAID[self.order] + (" with time" if self.has_time else "")


def date_format(values: Any, table: Table, name: str) -> DateFormat | None:  # noqa: PLR0911 (a list of cases)
    """Find the format of a column from its different values.

    Args:
        values: The different cells, strings.
        table: For the message.
        name: The column's name.

    Returns:
        The format, or None if some cell is no date.

    Raises:
        DataError: If the cells are dates, but some can only be day first and others only month first, or none tells.
    """
    text = values.filter(pc.invert(is_missing(values)))
    if len(text) == 0:
        return None
    first = text[0].as_py()
    if not any(mark in first for mark in "-/."):
        return None
    if _all_match(text, _YMD):
        parts = _parts(text, _YMD)
        ok = _valid(parts["a"], parts["b"], parts["c"])
        return DateFormat("ymd", bool(np.isfinite(parts["h"]).any())) if ok.all() else None
    if not _all_match(text, _XXY):
        return None
    parts = _parts(text, _XXY)
    has_time = bool(np.isfinite(parts["h"]).any())
    day_first = _valid(parts["c"], parts["b"], parts["a"])
    month_first = _valid(parts["c"], parts["a"], parts["b"])
    if day_first.all() and month_first.all():
        if np.array_equal(parts["a"], parts["b"]):
            return DateFormat("dmy", has_time)
        if bool(pc.all(pc.match_substring(text, ".")).as_py()):
            return DateFormat("dmy", has_time)
        raise DataError(
            f'"{shown(text[int(np.argmax(parts["a"] != parts["b"]))].as_py())}" may be day/month or month/day, '
            "and no cell tells which",
            where=f'{shown(table.name)} column "{shown(name)}"',
            mend=f"write the dates as 2024-12-31, or take them as categories: --categorical {shown(name)}",
        )
    if day_first.all():
        return DateFormat("dmy", has_time)
    if month_first.all():
        return DateFormat("mdy", has_time)
    if (day_first | month_first).all():
        a = text[int(np.argmax(day_first & ~month_first))].as_py()
        b = text[int(np.argmax(month_first & ~day_first))].as_py()
        raise DataError(
            f'day and month change places: "{shown(a)}" is day first, "{shown(b)}" is month first',
            where=f'{shown(table.name)} column "{shown(name)}"',
            mend=f"write the dates as 2024-12-31, or take them as categories: --categorical {shown(name)}",
        )
    return None


def column_format(column: Any, table: Table, name: str) -> DateFormat | None:
    """Find the format of a column of any type.

    Returns:
        The format, or None if it holds no dates.
    """
    if pa.types.is_timestamp(column.type):
        seconds = to_days(column, DateFormat("typed"))
        present = seconds[np.isfinite(seconds)]
        return DateFormat("typed", bool((present % 1 != 0).any()))
    return date_format(pc.unique(column), table, name) if pa.types.is_string(column.type) else None


def to_days(column: Any, form: DateFormat) -> np.ndarray:
    """Return days since 1970-01-01 (UTC where a zone is given), with fractions, NaN for missing or unreadable cells.

    Returns:
        float64, (N,).
    """
    if pa.types.is_timestamp(column.type):
        values = np.concatenate(
            [np.asarray(pc.cast(chunk, pa.timestamp("us"), safe=False)) for chunk in chunks(column)] or [np.empty(0)]
        ).astype("datetime64[us]")
        days = values.astype(np.int64) / 86_400_000_000
        found: np.ndarray = np.where(np.isnat(values), np.nan, days)
        return found
    if len(column) == 0 or not pa.types.is_string(column.type):
        return np.full(len(column), np.nan)
    text = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    parts = _parts(text, _YMD if form.order in {"ymd", "typed"} else _XXY)
    year, month, day = {
        "ymd": (parts["a"], parts["b"], parts["c"]),
        "typed": (parts["a"], parts["b"], parts["c"]),
        "dmy": (parts["c"], parts["b"], parts["a"]),
        "mdy": (parts["c"], parts["a"], parts["b"]),
    }[form.order]
    days = _civil(year, month, day)
    seconds = np.nan_to_num(parts["h"]) * 3600 + np.nan_to_num(parts["mi"]) * 60 + np.nan_to_num(parts["s"])
    result: np.ndarray = days + (seconds - parts["z"]) / 86_400
    return result


def _all_match(text: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())


def _parts(text: Any, pattern: str) -> dict[str, np.ndarray]:
    # The named groups of a pattern as numbers, NaN where there is none; the zone in seconds east of UTC.
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    found = pc.extract_regex(pc.fill_null(text, ""), pattern)
    parts = {}
    for key in ("a", "b", "c", "h", "mi", "s"):
        cells = pc.struct_field(found, key)
        cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
        parts[key] = np.asarray(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False))
    zone = pc.fill_null(pc.struct_field(found, "z"), "")
    east = np.zeros(len(text))
    if bool(pc.any(pc.match_substring_regex(zone, "^[+-]")).as_py()):
        different = pc.unique(zone).to_pylist()
        seconds = {cell: _zone_seconds(cell) for cell in different}
        east = np.array([seconds[cell] for cell in zone.to_pylist()])
    parts["z"] = east
    return parts


def _zone_seconds(zone: str) -> float:
    if not zone or zone[0] not in "+-":
        return 0.0
    digits = zone[1:].replace(":", "")
    return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60.0)


def _civil(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    # Days since 1970-01-01 of calendar dates, NaN where there is no such day.
    ok = _valid(year, month, day)
    y = np.where(ok, year, 1970).astype(np.int64)
    m = np.where(ok, month, 1).astype(np.int64)
    d = np.where(ok, day, 1).astype(np.int64)
    start = ((y - 1970) * 12 + (m - 1)).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return np.where(ok, start + d - 1, np.nan)


def _valid(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    # Which of the triples are days of the calendar.
    with np.errstate(invalid="ignore"):
        ok = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    y = np.where(ok, year, 1970).astype(np.int64)
    m = np.where(ok, month, 1).astype(np.int64)
    months = ((y - 1970) * 12 + (m - 1)).astype("datetime64[M]")
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    result: np.ndarray = ok & (np.where(ok, day, 1) <= length)
    return result
