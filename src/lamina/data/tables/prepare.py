"""From a table to the matrix that a model sees: fitted on the training rows only, kept as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.data.spec import VectorSpec
from lamina.data.tables.dates import column_format
from lamina.data.tables.encoders import (
    BooleanEncoder,
    CategoryEncoder,
    DateEncoder,
    NumberEncoder,
    Seen,
    numbers,
)
from lamina.data.tables.narrow import LARGE, give_back
from lamina.data.tables.prepare_state import load_state, save_state
from lamina.data.tables.roles import Roles
from lamina.data.tables.scale import Scaling
from lamina.data.tables.table import Table
from lamina.errors import ConfigError, DataError, shown

Encoder = NumberEncoder | BooleanEncoder | CategoryEncoder | DateEncoder
_SLAB = 8_192


@dataclass(frozen=True)
class TransformReport:
    """What was met while a table was turned into a matrix.

    Args:
        n_rows: Rows of the matrix.
        unseen: Column to the number of cells with a category that training did not have.
        imputed: Column to the number of missing cells that were replaced.
        extra_columns: Columns that the model does not use.
        out_of_range: Column to the share of cells outside the range of the training rows.
    """

    n_rows: int
    unseen: dict[str, int] = field(default_factory=dict)
    imputed: dict[str, int] = field(default_factory=dict)
    extra_columns: tuple[str, ...] = ()
    out_of_range: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TablePreparation:
    """Numbers filled and scaled, truth values, dates in parts, few categories as 0/1 columns; then codes of the others.

    Args:
        encoders: Column to its encoder; the matrix has the numeric block in this order, then the codes in this order.
        notes: What was decided, one sentence each.
    """

    encoders: Mapping[str, Encoder]
    notes: tuple[str, ...] = ()

    @staticmethod
    def fit(
        table: Table,
        roles: Roles,
        rows: np.ndarray,
        *,
        numeric: Scaling = "standard",
        one_hot_up_to: int = 8,
        min_count: int | None = None,
    ) -> TablePreparation:
        """Fit on some rows of a table; no other row has any influence.

        Args:
            table: The data.
            roles: What each column is.
            rows: Positions of the training rows.
            numeric: How numbers are scaled: ``standard``, ``robust`` (tails bent smoothly to +-3) or ``quantile``.
            one_hot_up_to: Categorical columns of at most so many levels become 0/1 columns, not codes.
            min_count: Levels met less often in the training rows count as unseen; by default 1 below 200 rows, 2 below
                2,000, else 5.

        Returns:
            The preparation.

        Raises:
            ConfigError: If a setting is not possible.
            DataError: If there are no training rows.
        """
        if numeric not in {"standard", "robust", "quantile"}:
            raise ConfigError(f"numeric must be standard, robust or quantile, got {shown(numeric)}")
        if len(rows) == 0:
            raise DataError("no training rows to fit the preparation on", where=shown(table.name))
        if min_count is None:
            min_count = 1 if len(rows) < 200 else 2 if len(rows) < 2_000 else 5
        encoders: dict[str, Encoder] = {}
        notes: list[str] = []
        index = np.asarray(rows, dtype=np.int64)
        for name in table.names:
            column = table.columns[name]
            if name in roles.numeric:
                encoders[name] = NumberEncoder.fit(numbers(column)[index], numeric)
            elif name in roles.boolean:
                encoders[name] = BooleanEncoder.fit(BooleanEncoder.values(column)[index])
            elif name in roles.date:
                form = column_format(column, table, name)
                if form is None:
                    raise ConfigError(f'column "{shown(name)}" holds no dates', mend="take it as categories")
                encoders[name] = DateEncoder.fit(column.take(pa.array(index)), form)
            elif name in roles.categorical:
                encoder = CategoryEncoder.fit(
                    column.take(pa.array(index)), min_count=min_count, one_hot_up_to=one_hot_up_to
                )
                encoders[name] = encoder
                if encoder.rare:
                    notes.append(
                        f'column "{shown(name)}": {len(encoder.levels):,} categories kept, {encoder.rare:,} rare ones '
                        f"(fewer than {min_count} training rows, or past the most frequent "
                        f"{len(encoder.levels):,}) are taken together"
                    )
        if not encoders:
            raise DataError("no column to prepare", where=shown(table.name), mend="keep one with --use")
        if len(rows) * len(encoders) * 8 > LARGE:
            give_back()
        return TablePreparation(encoders, tuple(notes))

    @property
    def spec(self) -> VectorSpec:
        """Sizes of the matrix for the model."""
        codes = self._coded
        n_numeric = sum(e.width for name, e in self.encoders.items() if name not in codes)
        return VectorSpec(n_numeric=n_numeric, cardinalities=tuple(e.cardinality for e in codes.values()))

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Categorical columns that were text: ``read_table(..., text_columns=...)`` then reads new cells alike."""
        return tuple(n for n, e in self.encoders.items() if isinstance(e, CategoryEncoder) and e.text)

    @property
    def groups(self) -> dict[str, list[int]]:
        """Source column to the indices of its columns in the matrix."""
        found: dict[str, list[int]] = {}
        at = 0
        codes = self._coded
        for name, encoder in self.encoders.items():
            if name not in codes:
                found[name] = list(range(at, at + encoder.width))
                at += encoder.width
        for name in codes:
            found[name] = [at]
            at += 1
        return found

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of the matrix."""
        names: list[str] = []
        for name in self.groups:
            encoder = self.encoders[name]
            if isinstance(encoder, CategoryEncoder):
                names += [f"{name} = {level or '(missing)'}" for level in encoder.levels] if encoder.one_hot else [name]
                continue
            names += [f"{name} ({part})" for part in encoder.names] if isinstance(encoder, DateEncoder) else [name]
            if encoder.indicator:
                names.append(f"{name} missing")
        return names

    def transform(self, table: Table) -> tuple[np.ndarray, TransformReport]:
        """Turn a table into the matrix; columns are found by name, in any order.

        Args:
            table: N rows, 0 and 1 included.

        Returns:
            float32 ``(N, n_numeric + n_categories)``, C-contiguous, finite; and what was met.

        Raises:
            DataError: If columns are missing, or a cell cannot be read as what its column is.
        """  # noqa: DOC502 (raised by helpers)
        self._check(table)
        groups = self.groups
        n, seen = table.n_rows, {name: Seen() for name in self.encoders}
        out = np.empty((n, sum(len(columns) for columns in groups.values())), np.float32)
        # A slab of rows at a time: the strided writes stay in the cache, and no column exists twice as a whole.
        for start in range(0, n, _SLAB):
            stop = min(start + _SLAB, n)
            for name, encoder in self.encoders.items():
                column = table.columns[name]
                part = column if n <= _SLAB else column.slice(start, stop - start)
                first = groups[name][0] if groups[name] else 0
                place = out[start:stop, first : first + encoder.width]
                if isinstance(encoder, NumberEncoder):
                    encoder.write(self._numbers(table, name, part, start), place, seen[name])
                elif isinstance(encoder, BooleanEncoder):
                    encoder.write(self._booleans(table, name, part, start), place, seen[name])
                elif isinstance(encoder, DateEncoder):
                    days = encoder.values(part, lambda row, name=name, start=start: table.location(start + row, name))
                    encoder.write(days, place, seen[name])
                else:
                    encoder.write(encoder.encode(part, seen[name]), place)
        return out, TransformReport(
            n_rows=n,
            unseen={name: s.unseen for name, s in seen.items() if s.unseen},
            imputed={name: s.imputed for name, s in seen.items() if s.imputed},
            extra_columns=tuple(name for name in table.names if name not in self.encoders),
            out_of_range={name: s.outside / n for name, s in seen.items() if s.outside},
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the preparation as data.

        Returns:
            What goes into JSON, and the arrays, by name.
        """
        return save_state(self.encoders, self.notes)

    @staticmethod
    def from_state(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TablePreparation:
        """Return the preparation that ``state`` gave, after checking every value.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If something in it is missing, of a wrong type, or not possible.
        """  # noqa: DOC502 (raised by a helper)
        encoders, notes = load_state(meta, arrays)
        return TablePreparation(encoders, notes)

    @property
    def _coded(self) -> dict[str, CategoryEncoder]:
        # The columns that stand as codes behind the numeric block.
        return {n: e for n, e in self.encoders.items() if isinstance(e, CategoryEncoder) and not e.one_hot}

    def _check(self, table: Table) -> None:
        missing = [name for name in self.encoders if name not in table.columns]
        if not missing:
            return
        extra = [name for name in table.names if name not in self.encoders]
        listed = ", ".join(f'"{shown(name, 30)}"' for name in missing[:8]) + (", ..." if len(missing) > 8 else "")
        more = f"; it has others: {', '.join(shown(name, 30) for name in extra[:8])}" if extra else ""
        raise DataError(
            f"missing column{'s' if len(missing) > 1 else ''} {listed}{more}",
            where=shown(table.name),
            mend="give a table with the columns that the model was fitted on",
        )

    @staticmethod
    def _numbers(table: Table, name: str, column: Any, start: int) -> np.ndarray:
        # Numbers of a number column; text in it is refused cell by cell.
        values = numbers(column)
        if pa.types.is_string(column.type) and np.isnan(values).any():
            from lamina.data.tables.words import MISSING

            for row in np.flatnonzero(np.isnan(values)):
                cell = column[int(row)].as_py()
                if cell is not None and cell.strip().lower() not in MISSING:
                    raise DataError(
                        f'"{shown(cell)}" is not a number',
                        where=table.location(start + int(row), name),
                        mend="the column was a number when the model was fitted: correct the cell",
                    )
        return values

    @staticmethod
    def _booleans(table: Table, name: str, column: Any, start: int) -> np.ndarray:
        # 1 and 0 of a column of truth values; another word is refused.
        values = BooleanEncoder.values(column)
        if pa.types.is_string(column.type) and np.isnan(values).any():
            from lamina.data.tables.words import MISSING

            for row in np.flatnonzero(np.isnan(values)):
                cell = column[int(row)].as_py()
                if cell is not None and cell.strip().lower() not in MISSING:
                    raise DataError(
                        f'"{shown(cell)}" is neither true nor false',
                        where=table.location(start + int(row), name),
                        mend="the column was true or false when the model was fitted: correct the cell",
                    )
        return values
