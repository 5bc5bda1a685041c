"""What is to be predicted: classes, a number, or a count; decided from the column and said with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.table import Table, chunks
from lamina.data.tables.words import is_missing
from lamina.errors import CheckpointError, ConfigError, DataError, shown

Label = str | int | float | bool
Task = Literal["classes", "number", "count"]
MAX_CLASSES = 10_000
_FEW_INTEGERS = 20


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes.

    Args:
        name: The column.
        classes: The labels in the order of their codes: numbers rising, texts sorted, false before true.
        note: What was decided, why, and how to overrule it.
        counts: Training rows of each class.
    """

    name: str
    classes: tuple[Label, ...]
    note: str = ""
    counts: tuple[int, ...] = ()
    kind: str = field(default="classes", init=False)

    def encode(self, column: Any) -> np.ndarray:
        """Return the code of each label.

        Args:
            column: An Arrow column, a numpy array or a sequence of labels.

        Returns:
            int64, (N,), each in 0 .. K-1.

        Raises:
            DataError: If a label is missing or is no class.
        """
        codes = {_key(label): code for code, label in enumerate(self.classes)}
        values, index = _different(column)
        found = np.array([-1 if value is None else codes.get(_key(value), -1) for value in values], np.int64)
        if (found < 0).any() and len(index):
            bad = np.flatnonzero(found[index] < 0)
            if len(bad):
                label = values[int(index[bad[0]])]
                gone = label is None or str(label).strip() == ""
                what = "is missing" if gone else f'"{shown(label)}" is not a class that the training part has'
                listed = ", ".join(shown(c, 20) for c in self.classes[:10])
                raise DataError(
                    f"{what} (row {int(bad[0]) + 1}{f' and {len(bad) - 1:,} more' if len(bad) > 1 else ''}; "
                    f"the classes are {listed})",
                    where=f'target "{shown(self.name)}"',
                    mend="leave unlabelled rows out with --drop-unlabelled"
                    if gone
                    else "correct the label or the split",
                )
        result: np.ndarray = found[index] if len(index) else np.empty(0, np.int64)
        return result

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the labels of codes, (N,).

        Returns:
            An array of texts, whole numbers, numbers or truth values, as the labels were.
        """
        labels = np.array(list(self.classes), dtype=object if _mixed(self.classes) else None)
        result: np.ndarray = labels[np.asarray(codes, np.int64)]
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON-able data.

        Returns:
            What ``target_from_json`` takes.
        """
        return {
            "kind": "classes",
            "name": self.name,
            "classes": list(self.classes),
            "note": self.note,
            "counts": list(self.counts),
        }


@dataclass(frozen=True)
class NumberTarget:
    """A real number, standardised for training: y = (number - mean) / scale.

    Args:
        name: The column.
        mean: Training mean.
        scale: Training standard deviation (1/n); 1 for a constant.
        note: What was decided, why, and how to overrule it.
        low: Least training value.
        high: Greatest training value.
    """

    name: str
    mean: float
    scale: float
    note: str = ""
    low: float = -math.inf
    high: float = math.inf
    kind: str = field(default="number", init=False)

    def encode(self, column: Any) -> np.ndarray:
        """Return standardised numbers.

        Returns:
            float32, (N,).
        """
        values = _target_numbers(column, self.name)
        return ((values - self.mean) / self.scale).astype(np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return numbers in the target's own units.

        Returns:
            float64, (N,).
        """
        return np.asarray(codes, np.float64) * self.scale + self.mean

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON-able data.

        Returns:
            What ``target_from_json`` takes.
        """
        low, high = (v if math.isfinite(v) else None for v in (self.low, self.high))
        return {
            "kind": "number",
            "name": self.name,
            "mean": self.mean,
            "scale": self.scale,
            "note": self.note,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True)
class CountTarget:
    """A count: 0, 1, 2, ...

    Args:
        name: The column.
        note: What was decided, why, and how to overrule it.
        mean: Training mean.
    """

    name: str
    note: str = ""
    mean: float = 1.0
    kind: str = field(default="count", init=False)

    def encode(self, column: Any) -> np.ndarray:
        """Return the counts.

        Returns:
            float32, (N,).

        Raises:
            DataError: If a value is negative or no whole number.
        """
        values = _target_numbers(column, self.name)
        bad = np.flatnonzero((values < 0) | (values != np.floor(values)))
        if len(bad):
            raise DataError(
                f"{values[bad[0]]:g} is not a count (row {int(bad[0]) + 1})",
                where=f'target "{shown(self.name)}"',
                mend="predict it as a number: --task number",
            )
        return values.astype(np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the expected counts.

        Returns:
            float64, (N,).
        """
        return np.asarray(codes, np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON-able data.

        Returns:
            What ``target_from_json`` takes.
        """
        return {"kind": "count", "name": self.name, "note": self.note, "mean": self.mean}


Target = ClassTarget | NumberTarget | CountTarget


def target_from_json(data: Mapping[str, Any]) -> Target:
    """Return the target that ``to_json`` gave, after checking every value.

    Returns:
        The target.

    Raises:
        CheckpointError: If something is missing, of a wrong type, or not possible.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    kind, name, note = (data.get(key) if isinstance(data, Mapping) else None for key in ("kind", "name", "note"))
    if not isinstance(name, str) or not isinstance(note, str) or kind not in ("classes", "number", "count"):
        raise _damaged("kind, name and note must be there")
    if kind == "classes":
        classes, counts = data.get("classes"), data.get("counts")
        if not isinstance(classes, list) or not all(isinstance(label, (str, int, float)) for label in classes):
            raise _damaged("classes must be a list of labels")
        if len({_key(label) for label in classes}) != len(classes) or not 2 <= len(classes) <= MAX_CLASSES:
            raise _damaged("classes must be 2 or more different labels")
        if not isinstance(counts, list) or not all(type(count) is int for count in counts):
            raise _damaged("counts must be a list of whole numbers")
        return ClassTarget(name, tuple(classes), note, tuple(counts))
    if kind == "number":
        mean, scale = _finite(data, "mean"), _finite(data, "scale")
        if not scale > 0:
            raise _damaged("scale must be above 0")
        low = -math.inf if data.get("low") is None else _finite(data, "low")
        high = math.inf if data.get("high") is None else _finite(data, "high")
        return NumberTarget(name, mean, scale, note, low, high)
    return CountTarget(name, note, _finite(data, "mean"))


def unlabelled(table: Table, column: str) -> np.ndarray:
    """Return which rows have no target.

    Args:
        table: The data.
        column: The target.

    Returns:
        bool, (N,).
    """
    values = table.column(column)
    if pa.types.is_string(values.type):
        blank = pc.or_(pc.is_null(values), pc.equal(pc.utf8_trim_whitespace(values), ""))
        return np.asarray(blank).astype(bool)
    return np.asarray(pc.is_null(values, nan_is_null=True)).astype(bool)


def infer_target(
    table: Table, column: str, *, task: Task | None = None, rows: np.ndarray | None = None, min_class: int = 2
) -> Target:
    """Decide what a target is, from some rows.

    Text and truth values are classes. Whole numbers of 2 to 20 different values are classes too; more of them that
    begin near 0 and spread like counts are a count; all other numbers are numbers.

    Args:
        table: The data.
        column: The target.
        task: What it is, if the caller knows.
        rows: Positions of the rows that decide (training rows give mean and scale); all rows if None.
        min_class: Least number of rows of a class; a class with fewer cannot be in training and test.

    Returns:
        The target, with a note that says what was decided and how to overrule it.

    Raises:
        ConfigError: If there is no such column, or ``task`` does not fit it.
        DataError: If targets are missing or infinite, if there is only one class, or a class is too small.
    """
    values = table.column(column)
    if task not in {None, "classes", "number", "count"}:
        raise ConfigError(f"--task must be classes, number or count, got {shown(task)}", mend="--task classes")
    index = np.arange(table.n_rows) if rows is None else np.asarray(rows, np.int64)
    if column in table.mixed:
        label = shown(table.mixed[column])
        raise DataError(
            f'the label {label} occurs as a number and as the text "{label}"',
            where=f'{shown(table.name)} column "{shown(column)}"',
            mend="make all labels numbers or all text",
        )
    gone = index[unlabelled(table, column)[index]]
    if len(gone):
        lines = ", ".join(_line(table, int(row)) for row in gone[:5]) + (", ..." if len(gone) > 5 else "")
        raise DataError(
            f"the target is missing in {len(gone):,} row{'s' if len(gone) > 1 else ''} ({table.unit} {lines})",
            where=f'{shown(table.name)} column "{shown(column)}"',
            mend="fill it in, or leave these rows out: --drop-unlabelled",
        )
    if len(index) == 0:
        raise DataError("no rows with a target", where=f'{shown(table.name)} column "{shown(column)}"')
    kind = values.type
    if pa.types.is_timestamp(kind):
        raise ConfigError(
            f'the target "{shown(column)}" is a date, which is not supported', mend="predict a number of days instead"
        )
    if pa.types.is_string(kind) or pa.types.is_boolean(kind) or task == "classes":
        if task in {"number", "count"}:
            return _refuse_number(table, column, index)
        return _classes(table, column, index, task=task, min_class=min_class)
    numbers = _target_numbers(values.take(pa.array(index)), column, table=table, index=index)
    return _number_or_count(table, column, index, numbers, task=task, min_class=min_class)


def _number_or_count(
    table: Table, column: str, index: np.ndarray, numbers: np.ndarray, *, task: Task | None, min_class: int
) -> Target:
    whole = bool((numbers == np.floor(numbers)).all()) and float(np.abs(numbers).max()) < 2**53
    if task is None and whole:
        n_different = len(np.unique(numbers))
        if 2 <= n_different <= _FEW_INTEGERS and len(numbers) >= 2 * n_different:
            return _classes(table, column, index, task=None, min_class=min_class)
    mean, variance = float(numbers.mean()), float(numbers.var())
    like_counts = whole and 0 <= numbers.min() <= 1 and 0 < mean <= 50 and 0.3 * mean <= variance <= 10 * mean
    if task == "count" or (task is None and like_counts):
        if not whole or numbers.min() < 0:
            row = int(np.argmax((numbers != np.floor(numbers)) | (numbers < 0)))
            raise ConfigError(
                f"{table.location(int(index[row]), column)}: {numbers[row]:g} is not a count", mend="--task number"
            )
        why = f"whole numbers from {numbers.min():.0f} to {numbers.max():.0f}, mean {mean:.3g}, that spread like counts"
        note = "a count, as asked" if task else f"a count: {why} (change with --task number or --task classes)"
        return CountTarget(column, note, mean)
    deviation = float(numbers.std())
    size = float(np.abs(numbers).max())
    flat = not deviation > 10 * np.finfo(np.float64).eps * size
    low, high = float(numbers.min()), float(numbers.max())
    note = f"a number from {low:.6g} to {high:.6g}" + (
        " (change with --task classes)" if task is None else ", as asked"
    )
    if flat:
        note += "; it is constant, so R2 is not defined and the model will be this constant"
    elif low > 0 and high / low > 1e4:
        note += f"; it spans {math.log10(high / low):.0f} powers of ten, its logarithm may be easier to predict"
    elif (
        size > 0
        and np.abs(numbers[numbers != 0]).min() < 1e-6 * size
        and float(np.median(np.abs(numbers))) < 1e-3 * size
    ):
        note += "; it spans many powers of ten, its logarithm may be easier to predict"
    return NumberTarget(column, mean, 1.0 if flat else deviation, note, low, high)


def _classes(table: Table, column: str, index: np.ndarray, *, task: Task | None, min_class: int) -> ClassTarget:
    values, codes = _different(table.column(column).take(pa.array(index)))
    counts = np.bincount(codes, minlength=len(values))
    labels = [_label(value) for value in values]
    order = sorted(range(len(labels)), key=lambda i: (isinstance(labels[i], str), labels[i]))
    classes = tuple(labels[i] for i in order)
    sizes = tuple(int(counts[i]) for i in order)
    where = f'{shown(table.name)} column "{shown(column)}"'
    n = len(index)
    if len(classes) == 1:
        raise DataError(
            f"only one class ('{shown(classes[0])}') in {n:,} row{'s' if n > 1 else ''}",
            where=where,
            mend="give data with at least two classes, or another --target",
        )
    if n >= 20 and (len(classes) > MAX_CLASSES or (len(classes) > 0.5 * n and len(classes) > 20)):
        what = "running text, a name or an identifier" if isinstance(classes[0], str) else "hardly classes"
        raise DataError(
            f"{len(classes):,} different values in {n:,} rows: {what}; this is not supported as a target",
            where=where,
            mend="give another --target" + ("" if isinstance(classes[0], str) else ", or --task number"),
        )
    small = [i for i, size in enumerate(sizes) if size < min_class]
    if small:
        first = next(iter(np.flatnonzero(codes == order[small[0]])))
        more = f" (and {len(small) - 1:,} more such classes)" if len(small) > 1 else ""
        raise DataError(
            f"the class '{shown(classes[small[0]])}' has only {sizes[small[0]]} row, so it cannot be in training and "
            f"test{more}",
            where=table.location(int(index[first]), column),
            mend="give more rows of it, or leave such classes out: --min-class 2",
        )
    top = sorted(zip(classes, sizes, strict=True), key=lambda pair: -pair[1])
    shares = ", ".join(f"{shown(label, 20)} {100 * size / n:.1f} %" for label, size in top[:5])
    note = f"{len(classes)} classes: {shares}" + (", ..." if len(top) > 5 else "")
    if task is None and not isinstance(classes[0], (str, bool)):
        note += (
            f"; whole numbers of only {len(classes)} different values are taken as classes (change with --task number)"
        )
    if min(sizes) * 100 < max(sizes):
        note += (
            f"; the rarest class is 1 in {n // min(sizes):,} rows, so accuracy alone says little: see balanced accuracy"
        )
    return ClassTarget(column, classes, note, sizes)


def _refuse_number(table: Table, column: str, index: np.ndarray) -> Target:
    values = table.column(column)
    row = int(index[0])
    cell = shown(values[row].as_py())
    raise ConfigError(
        f'{table.location(row, column)}: "{cell}" is not a number, so the target cannot be one', mend="--task classes"
    )


def _target_numbers(
    column: Any, name: str, *, table: Table | None = None, index: np.ndarray | None = None
) -> np.ndarray:
    # Target values as float64; missing and infinite ones are refused.
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        if pa.types.is_string(column.type):
            blank = is_missing(column)
            column = pc.cast(pc.if_else(blank, pa.scalar(None, pa.string()), column), pa.float64())
        parts = [chunk.cast(pa.float64()).to_numpy(zero_copy_only=False) for chunk in chunks(column)]
        values = np.concatenate(parts) if parts else np.empty(0)
    else:
        values = np.asarray(column, np.float64).reshape(-1)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        what = "infinite" if np.isinf(values[row]) else "missing"
        where = f'target "{shown(name)}" row {row + 1}'
        if table is not None and index is not None:
            where = table.location(int(index[row]), name)
        raise DataError(
            f"the target is {what}", where=where, mend="correct it, or leave such rows out: --drop-unlabelled"
        )
    return values


def _different(column: Any) -> tuple[list[Any], np.ndarray]:
    # The different values of a column as Python values, and the index of each cell among them.
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if len(whole) == 0:
            return [], np.empty(0, np.int64)
        coded = whole.dictionary_encode(null_encoding="encode")
        return coded.dictionary.to_pylist(), np.asarray(coded.indices).astype(np.int64)
    position: dict[Any, int] = {}
    values: list[Any] = []
    index = np.empty(len(column), np.int64)
    for i, value in enumerate(column.tolist() if isinstance(column, np.ndarray) else column):
        key = _key(value) if value is not None else None
        if key not in position:
            position[key] = len(values)
            values.append(value)
        index[i] = position[key]
    return values, index


def _key(label: Any) -> Any:
    # A label as it is compared: 1, 1.0 and "1" alike (a file does not tell them apart), truth values by their words.
    if isinstance(label, (bool, np.bool_)):
        return str(bool(label)).lower()
    if isinstance(label, (int, float, np.integer, np.floating)):
        number = float(label)
        return str(int(label)) if abs(number) < 2**53 and number.is_integer() else str(number)
    text = label.decode("utf-8", errors="replace") if isinstance(label, bytes) else str(label)
    return text.lower() if text.lower() in {"true", "false"} else text


def _label(value: Any) -> Label:
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, float) and value == int(value) and abs(value) < 2**53:
        return int(value)
    return value  # type: ignore[no-any-return]


def _mixed(classes: Sequence[Label]) -> bool:
    return len({type(label) for label in classes}) > 1


def _line(table: Table, row: int) -> str:
    return str(row + table.first_line if table.lines is None else int(table.lines[row]))


def _finite(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise _damaged(f"{key} must be a finite number")
    return float(value)


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(what, where="the stored target", mend="the run is damaged, or another program wrote it")
