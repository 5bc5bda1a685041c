"""One column of a table turned into numbers; each encoder is fitted on training rows and is plain data afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.booleans import meaning
from lamina.data.tables.dates import DateFormat, to_days
from lamina.data.tables.scale import Scale, Scaling
from lamina.data.tables.table import chunks
from lamina.data.tables.words import MISSING
from lamina.errors import DataError

__all__ = [
    "DATE_PARTS",
    "MAX_LEVELS",
    "BooleanEncoder",
    "CategoryEncoder",
    "DateEncoder",
    "NumberEncoder",
    "Scale",
    "Scaling",
    "Seen",
    "as_text",
    "date_parts",
    "numbers",
]

MAX_LEVELS = 10_000
_FEW = 64


@dataclass
class Seen:
    """What an encoder met while it turned cells into numbers.

    Args:
        unseen: Cells with a category that the training rows did not have.
        imputed: Missing cells that were replaced.
        outside: Cells outside the range of the training rows.
    """

    unseen: int = 0
    imputed: int = 0
    outside: int = 0


def numbers(column: Any) -> np.ndarray:
    """Return a column of numbers, truth values or number-like text as float64, NaN for what is missing or no number.

    Returns:
        float64, (N,).
    """
    kind = column.type
    if pa.types.is_string(kind):
        return np.array([_number(cell) for cell in column.to_pylist()], np.float64)
    parts = []
    for chunk in chunks(column):
        if pa.types.is_boolean(kind):
            chunk = chunk.cast(pa.int8())  # noqa: PLW2901 (the same cells as numbers)
        elif pa.types.is_timestamp(kind):
            chunk = chunk.cast(pa.int64())  # noqa: PLW2901
        parts.append(chunk.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))
    if len(parts) == 1:
        only: np.ndarray = parts[0]
        return only
    return np.concatenate(parts) if parts else np.empty(0)


def _number(cell: str | None) -> float:
    try:
        return float(cell) if cell else float("nan")
    except ValueError:
        return float("nan")


@dataclass(frozen=True)
class NumberEncoder:
    """Missing cells replaced by the training median, then scaled; a second column says which were missing.

    Args:
        scale: The scale.
        fill: The training median.
        indicator: Whether training rows had missing cells; only then is there a second column.
        low: Least training value.
        high: Greatest training value.
    """

    scale: Scale
    fill: float
    indicator: bool
    low: float
    high: float

    @staticmethod
    def fit(values: np.ndarray, kind: Scaling) -> NumberEncoder:
        """Fit on float64 values, NaN where missing.

        Returns:
            The encoder.
        """
        missing = np.isnan(values)
        present = values[~missing] if missing.any() else values
        if len(present) == 0:
            return NumberEncoder(Scale.fit(present, kind), 0.0, bool(missing.any()), 0.0, 0.0)
        return NumberEncoder(
            Scale.fit(present, kind),
            float(np.median(present)),
            bool(missing.any()),
            float(present.min()),
            float(present.max()),
        )

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return 2 if self.indicator else 1

    def write(self, values: np.ndarray, out: np.ndarray, seen: Seen) -> None:
        """Write the encoded values, (N,) to (N, width)."""
        missing = np.isnan(values)
        n_missing = int(np.count_nonzero(missing))
        if n_missing:
            values = np.where(missing, self.fill, values)
            seen.imputed += n_missing
        seen.outside += int(np.count_nonzero(values < self.low)) + int(np.count_nonzero(values > self.high))
        out[:, 0] = self.scale.apply(values)
        if self.indicator:
            out[:, 1] = missing


@dataclass(frozen=True)
class BooleanEncoder:
    """True 1, false 0, missing the training share of true; a second column says which were missing.

    Args:
        fill: Training share of true.
        indicator: Whether training rows had missing cells.
    """

    fill: float
    indicator: bool

    @staticmethod
    def values(column: Any) -> np.ndarray:
        """Return 1, 0 or NaN for the cells of a column.

        Returns:
            float64, (N,).
        """
        if not pa.types.is_string(column.type):
            return numbers(column)
        if len(column) <= _FEW:
            return np.array([meaning(cell) for cell in column.to_pylist()])
        coded = (column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()
        table = np.array([meaning(word) for word in coded.dictionary.to_pylist()])
        result: np.ndarray = table[np.asarray(coded.indices)]
        return result

    @staticmethod
    def fit(values: np.ndarray) -> BooleanEncoder:
        """Fit on 1, 0 and NaN.

        Returns:
            The encoder.
        """
        missing = np.isnan(values)
        present = values[~missing]
        return BooleanEncoder(float(present.mean()) if len(present) else 0.0, bool(missing.any()))

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return 2 if self.indicator else 1

    def write(self, values: np.ndarray, out: np.ndarray, seen: Seen) -> None:
        """Write the encoded values, (N,) to (N, width)."""
        missing = np.isnan(values)
        seen.imputed += int(np.count_nonzero(missing))
        out[:, 0] = np.where(missing, self.fill, values)
        if self.indicator:
            out[:, 1] = missing


@dataclass(frozen=True)
class CategoryEncoder:
    """Categories as codes 1 .. K, the most frequent first (equal ones by name); 0 for what is rare or was never seen.

    A missing cell is a category of its own if training rows had it. With ``one_hot`` there is one 0/1 column a code
    instead (none for 0).

    Args:
        levels: The cells with the codes 1 .. K; a missing cell is ``""``.
        one_hot: Whether the codes stand as columns of the numeric block.
        rare: Different cells of the training rows that got code 0.
        text: Whether the column was text, so that new cells are to be read as text too.
    """

    levels: tuple[str, ...]
    one_hot: bool
    rare: int = 0
    text: bool = True
    codes: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", {level: code for code, level in enumerate(self.levels, start=1)})

    @staticmethod
    def fit(column: Any, *, min_count: int, one_hot_up_to: int) -> CategoryEncoder:
        """Fit on the training cells.

        Returns:
            The encoder.
        """
        counts: dict[str, int] = {}
        counted = pc.value_counts(as_text(column))
        for level, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            counts[_level(level)] = counts.get(_level(level), 0) + count
        kept = [level for level, count in counts.items() if count >= min_count]
        if not kept:
            kept = [level for level, count in counts.items() if count > 1]
        kept.sort(key=lambda level: (-counts[level], level))
        kept = kept[:MAX_LEVELS]
        return CategoryEncoder(
            tuple(kept), len(kept) <= one_hot_up_to, len(counts) - len(kept), bool(pa.types.is_string(column.type))
        )

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return len(self.levels) if self.one_hot else 1

    @property
    def cardinality(self) -> int:
        """Number of codes, 0 included."""
        return len(self.levels) + 1

    def encode(self, column: Any, seen: Seen) -> np.ndarray:
        """Return the code of each cell.

        Returns:
            int64, (N,), each in 0 .. K.
        """
        text = as_text(column)
        if len(text) <= _FEW:
            cells = [_level(cell) for cell in text.to_pylist()]
            codes = np.array([self.codes.get(cell, 0) for cell in cells], np.int64)
            blank = np.array([cell == "" for cell in cells], bool)
        else:
            coded = text.dictionary_encode(null_encoding="encode")
            cells = [_level(cell) for cell in coded.dictionary.to_pylist()]
            index = np.asarray(coded.indices)
            codes = np.array([self.codes.get(cell, 0) for cell in cells], np.int64)[index]
            blank = np.array([cell == "" for cell in cells], bool)[index]
        unknown = codes == 0
        imputed = int(np.count_nonzero(unknown & blank))
        seen.imputed += imputed
        seen.unseen += int(np.count_nonzero(unknown)) - imputed
        return codes

    def write(self, codes: np.ndarray, out: np.ndarray) -> None:
        """Write codes, (N,) to (N, width)."""
        if not self.one_hot:
            out[:, 0] = codes
            return
        out[:] = 0
        rows = np.flatnonzero(codes)
        out[rows, codes[rows] - 1] = 1


def as_text(column: Any) -> Any:
    """Return a column as one string array, numbers written without a needless ``.0``.

    Returns:
        A string array.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(whole.type):
        return whole
    if pa.types.is_floating(whole.type):
        wide = whole.cast(pa.float64())
        if wide.null_count == 0 and bool(pc.all(pc.equal(pc.floor(wide), wide), min_count=0).as_py()):
            return pc.cast(pc.cast(wide, pa.int64()), pa.string())
        return pa.array([None if v is None else f"{v:g}" if v != int(v) else str(int(v)) for v in whole.to_pylist()])
    return pc.cast(whole, pa.string())


def _level(cell: str | None) -> str:
    return "" if cell is None or not cell.strip() else cell


DATE_PARTS = ("year", "month", "day", "weekday", "sin year", "cos year", "age")


@dataclass(frozen=True)
class DateEncoder:
    """A date as year, month, day, weekday, sine and cosine of its place in the year, age in days; hour if there is one.

    Args:
        form: How the dates are written.
        scales: One scale a part.
        fills: Training median of each part, for missing cells.
        indicator: Whether training rows had missing cells.
        low: First training day.
        high: Last training day.
    """

    form: DateFormat
    scales: tuple[Scale, ...]
    fills: tuple[float, ...]
    indicator: bool
    low: float
    high: float

    @staticmethod
    def fit(column: Any, form: DateFormat) -> DateEncoder:
        """Fit on the training cells.

        Returns:
            The encoder.
        """
        days = to_days(column, form)
        present = days[np.isfinite(days)]
        parts = date_parts(present, with_hour=form.has_time)
        empty = len(present) == 0
        return DateEncoder(
            form,
            tuple(Scale.fit(part, "standard") for part in parts),
            tuple(0.0 if empty else float(np.median(part)) for part in parts),
            len(present) < len(days),
            0.0 if empty else float(present.min()),
            0.0 if empty else float(present.max()),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return DATE_PARTS + (("sin day", "cos day") if self.form.has_time else ())

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return len(self.scales) + self.indicator

    def values(self, column: Any, where: Any) -> np.ndarray:
        """Return days since 1970, NaN where missing.

        Args:
            column: The cells.
            where: Called with a row for the place of an unreadable cell.

        Returns:
            float64, (N,).

        Raises:
            DataError: If a cell is neither missing nor a date in the format of the training rows.
        """
        days = to_days(column, self.form)
        if pa.types.is_string(column.type) and np.isnan(days).any():
            for row in np.flatnonzero(np.isnan(days)):
                cell = column[int(row)].as_py()
                if cell is not None and cell.strip().lower() not in MISSING:
                    raise DataError(
                        f'"{cell[:60]}" is not a date written as {self.form.said()}',
                        where=where(int(row)),
                        mend="write it as the other dates are",
                    )
        return days

    def write(self, days: np.ndarray, out: np.ndarray, seen: Seen) -> None:
        """Write the parts of days, (N,) to (N, width)."""
        missing = np.isnan(days)
        seen.imputed += int(np.count_nonzero(missing))
        known = np.where(missing, self.low, days)
        seen.outside += int(np.count_nonzero(known < self.low)) + int(np.count_nonzero(known > self.high))
        for i, part in enumerate(date_parts(known, with_hour=self.form.has_time)):
            out[:, i] = self.scales[i].apply(np.where(missing, self.fills[i], part))
        if self.indicator:
            out[:, -1] = missing


def date_parts(days: np.ndarray, *, with_hour: bool) -> list[np.ndarray]:
    """Return the parts of days since 1970-01-01, without NaN.

    Returns:
        Year, month, day, weekday (Monday 0), sine and cosine of the position in the year, age in days; with an hour
        also sine and cosine of the position in the day.
    """
    whole = np.floor(days).astype(np.int64)
    date = whole.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    year = date.astype("datetime64[Y]")
    turn = 2 * np.pi * (date - year.astype("datetime64[D]")).astype(np.int64) / 365.2425
    parts = [
        year.astype(np.int64) + 1970.0,
        month.astype(np.int64) % 12 + 1.0,
        (date - month.astype("datetime64[D]")).astype(np.int64) + 1.0,
        (whole + 3) % 7 + 0.0,
        np.sin(turn),
        np.cos(turn),
        days.astype(np.float64),
    ]
    if with_hour:
        clock = 2 * np.pi * (days - whole)
        parts += [np.sin(clock), np.cos(clock)]
    return parts
