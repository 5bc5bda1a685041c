"""What each column of a table is to a model: a number, a category, a truth value, a date, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.booleans import boolean_words
from lamina.data.tables.dates import date_format
from lamina.data.tables.leakage import leakage_of
from lamina.data.tables.table import Table, chunks, unknown_column
from lamina.errors import ConfigError, DataError, shown

_ENOUGH = 20
_MOSTLY = 0.9
_ID_NAME = re.compile(r"(?i)^(id|ids|index|uuid|guid|row|rownum|rowid|row_?number|nr|no|record)$|_id$|[a-z]I[dD]$|ID$")
_GROUP_NAME = re.compile(
    r"(?i)(^|_)(patient|subject|user|customer|client|session|household|family|group|author|speaker|person|student|driver|"
    r"device|machine|site|school|store)(s|_?id|_?no|_?nr)?$|_id$"
)


@dataclass(frozen=True)
class Roles:
    """The columns by what they are; every column but the targets stands in exactly one place.

    Args:
        numeric: Numbers.
        categorical: Categories.
        boolean: Columns of two meanings, true and false.
        date: Dates, with or without a time.
        text: Running text (not used by a model yet; each is also in ``left_out``).
        left_out: Column to the reason why it is not used, with the option that keeps it.
        notes: What was decided, one sentence each.
        warnings: What may be wrong with the data; each begins with its code (``W-LEAK``, ``W-GROUP``).
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    boolean: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that a model sees, grouped by role."""
        return self.numeric + self.categorical + self.boolean + self.date


def infer_roles(
    table: Table,
    *,
    targets: Sequence[str],
    use: Sequence[str] = (),
    categorical: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Roles:
    """Decide what each column is.

    Left out, unless ``use`` names them: columns without a value, with one value only, identifiers (text that differs in
    every row, whole numbers that count the rows), and running text.

    Args:
        table: The data.
        targets: Columns to predict; they get no role.
        use: Columns to keep whatever they look like.
        categorical: Columns to take as categories.
        ignore: Columns to leave out.

    Returns:
        The roles.

    Raises:
        ConfigError: If a name is not a column, or is given to two options that exclude each other.
        DataError: If a column mixes two date orders, or no column is left.
    """  # noqa: DOC501 (raised through a helper)
    for name in (*targets, *use, *categorical, *ignore):
        if name not in table.columns:
            raise unknown_column(name, table)
    for name in ignore:
        if name in use or name in categorical:
            raise ConfigError(
                f'column "{shown(name)}" is both left out and used',
                mend="give it to --ignore, or to --use/--categorical",
            )
    found: dict[str, list[str]] = {"numeric": [], "categorical": [], "boolean": [], "date": [], "text": []}
    left_out: dict[str, str] = {}
    notes: list[str] = []
    for name, column in table.columns.items():
        if name in targets:
            continue
        if name in ignore:
            left_out[name] = "as asked (--ignore)"
            continue
        role, reason = _role(table, name, column, force=name in use, as_category=name in categorical, notes=notes)
        if reason:
            left_out[name] = reason
        if not reason or role == "text":
            found[role].append(name)
    roles = Roles(
        numeric=tuple(found["numeric"]),
        categorical=tuple(found["categorical"]),
        boolean=tuple(found["boolean"]),
        date=tuple(found["date"]),
        text=tuple(found["text"]),
        left_out=left_out,
    )
    if not roles.used:
        reasons = "; ".join(f"{shown(name, 30)}: {reason}" for name, reason in list(left_out.items())[:3])
        raise DataError(
            f"no column is left to predict from ({reasons or 'the table holds only the target'})",
            where=shown(table.name),
            mend="keep one with --use, or give a table with more columns",
        )
    warnings = [warning for target in targets for warning in leakage(table, roles, target)]
    warnings += _group_warnings(table, roles)
    return Roles(
        roles.numeric, roles.categorical, roles.boolean, roles.date, roles.text, left_out, tuple(notes), tuple(warnings)
    )


def leakage(table: Table, roles: Roles, target: str) -> tuple[str, ...]:
    """Return a W-LEAK warning for each used column that equals the target or maps one-to-one to it.

    Returns:
        Warnings, one sentence each.
    """
    found = []
    for name in roles.used:
        how = leakage_of(table.columns[name], table.columns[target])
        if how:
            found.append(
                f'W-LEAK column "{shown(name)}" {how} the target "{shown(target)}": the score will be '
                f"too good to be true (leave it out with --ignore {shown(name)})"
            )
    return tuple(found)


def _role(  # noqa: PLR0911 (a list of cases)
    table: Table, name: str, column: Any, *, force: bool, as_category: bool, notes: list[str]
) -> tuple[str, str]:
    # The role of a column, and the reason for leaving it out (empty if it is used).
    n = len(column)
    keep = f"keep with --use {shown(name)}"
    text = pa.types.is_string(column.type)
    missing = int(pc.sum(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py() or 0) if text else column.null_count
    if missing == n:
        return "numeric", "" if force else "no cell has a value"
    if pa.types.is_boolean(column.type):
        one = missing == 0 and len(pc.unique(column)) == 1
        return "boolean", f"the same value in every row ({keep})" if one and not force else ""
    if not text:
        return _typed_role(name, column, missing, keep, force=force, as_category=as_category)
    values = pc.unique(column)
    n_different = len(values) - (1 if missing else 0)
    if n_different == 1 and missing == 0 and not force:
        return "categorical", f"the same value in every row ({keep})"
    if as_category:
        return "categorical", ""
    if boolean_words(values, table, name):
        return "boolean", ""
    if not force or n_different < n:
        dated = date_format(values, table, name)
        if dated is not None:
            notes.append(f'column "{shown(name)}": dates ({dated.said()}), used as year, month, day, weekday, age')
            return "date", ""
    if force:
        return "categorical", ""
    if _is_running_text(values, n_different, n - missing):
        return "text", "running text; text columns come later (use its values as categories with --use " + shown(
            name
        ) + ")"
    if n - missing >= _ENOUGH and n_different == n - missing:
        return "categorical", f"{n_different:,} different values in {n:,} rows, an identifier ({keep})"
    if n - missing >= 5 * _ENOUGH and n_different > _MOSTLY * (n - missing):
        return "categorical", f"{n_different:,} different values in {n:,} rows, almost an identifier ({keep})"
    return "categorical", ""


def _typed_role(name: str, column: Any, missing: int, keep: str, *, force: bool, as_category: bool) -> tuple[str, str]:
    # The role of a column of numbers or times.
    extremes = pc.min_max(column)
    role = "date" if pa.types.is_timestamp(column.type) else "categorical" if as_category else "numeric"
    if force or (as_category and role == "categorical" and extremes["min"] != extremes["max"]):
        return role, ""
    if extremes["min"] == extremes["max"] and missing == 0:
        return role, f"the same value in every row ({keep})"
    if role == "numeric" and pa.types.is_integer(column.type) and missing == 0:
        return role, _identifier_number(column, name, keep)
    return role, ""


def _identifier_number(column: Any, name: str, keep: str) -> str:
    # The reason for leaving out a column of whole numbers that only tells the rows apart, or nothing.
    n = len(column)
    if n < _ENOUGH:
        return ""
    values = np.concatenate([chunk.to_numpy() for chunk in chunks(column)]).astype(np.int64)
    steps = np.diff(values)
    if (steps == 1).all() or (steps == -1).all():
        return f"it numbers the rows ({values[0]}, {values[1]}, ...), an identifier ({keep})"
    if (steps > 0).all():
        return f"{n:,} different whole numbers in rising order, an identifier ({keep})"
    if _ID_NAME.search(name) and len(np.unique(values)) == n:
        return f"{n:,} different whole numbers in {n:,} rows, an identifier by its name ({keep})"
    return ""


def _is_running_text(values: Any, n_different: int, n: int) -> bool:
    # Long cells of several words that hardly repeat.
    if n_different < 0.5 * n:
        return False
    length = pc.mean(pc.utf8_length(values)).as_py() or 0
    words = pc.mean(pc.count_substring(values, " ")).as_py() or 0
    return bool(length > 30 and words >= 4)


def _group_warnings(table: Table, roles: Roles) -> list[str]:
    # W-GROUP for a column whose name and repetitions say that rows belong together.
    found = []
    for name in roles.numeric + roles.categorical:
        column = table.columns[name]
        if not _GROUP_NAME.search(name) or pa.types.is_floating(column.type):
            continue
        n, different = len(column), len(pc.unique(column))
        if different >= 10 and 2 * different <= n <= 200 * different:
            found.append(
                f'W-GROUP column "{shown(name)}" has {different:,} values in {n:,} rows: rows that belong together '
                f"may stand in training and test (keep them together with --group {shown(name)})"
            )
    return found
