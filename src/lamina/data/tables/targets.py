"""What is to be predicted: classes, a number, or a count; decided from the column and said with its reason."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.table import Table
from lamina.data.tables.target_kinds import (
    MAX_CLASSES,
    ClassTarget,
    CountTarget,
    NumberTarget,
    Target,
    different_values,
    plain_label,
    target_from_json,
    target_numbers,
)
from lamina.errors import ConfigError, DataError, shown

__all__ = [
    "ClassTarget",
    "CountTarget",
    "NumberTarget",
    "Target",
    "Task",
    "infer_target",
    "target_from_json",
    "unlabelled",
]

Task = Literal["classes", "number", "count"]
FEW_INTEGERS = 20
"""Up to so many different whole numbers are taken as classes."""


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
        many = "s" if len(gone) > 1 else ""
        raise DataError(
            f"the target is missing in {len(gone):,} row{many} ({table.unit}{many} {lines})",
            where=f'{shown(table.name)} column "{shown(column)}"',
            mend="fill it in, or leave these rows out: --drop-unlabelled"
            + (", or number the classes from 0 if -1 is one" if column in table.marked else ""),
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
    numbers = target_numbers(values.take(pa.array(index)), column, table=table, index=index)
    return _number_or_count(table, column, index, numbers, task=task, min_class=min_class)


def _number_or_count(
    table: Table, column: str, index: np.ndarray, numbers: np.ndarray, *, task: Task | None, min_class: int
) -> Target:
    whole = bool((numbers == np.floor(numbers)).all()) and float(np.abs(numbers).max()) < 2**53
    if task is None and whole:
        ndifferent_values = len(np.unique(numbers))
        if 2 <= ndifferent_values <= FEW_INTEGERS and len(numbers) >= 2 * ndifferent_values:
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
    values, codes = different_values(table.column(column).take(pa.array(index)))
    counts = np.bincount(codes, minlength=len(values))
    labels = [plain_label(value) for value in values]
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
        raise ConfigError(
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


def _line(table: Table, row: int) -> str:
    return str(row + table.first_line if table.lines is None else int(table.lines[row]))
