"""From arrays to a learning problem: numbers scaled all columns at once, a validation part, rows by their content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lamina.data.tables.encoders import NumberEncoder, Seen
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.scale import Scaling
from lamina.data.tables.split import Split, split_rows
from lamina.data.tables.targets import Target
from lamina.methodology.problem import Problem

FEWEST_VALIDATION = 10
"""A validation part of fewer rows says too little to stop by: then all rows train."""
_SLAB = 8_192
_PRIME, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)


class NumberColumns:
    """The encoders of columns that are all numbers, applied to a whole matrix at once.

        z_j = (x_j - centre_j) / width_j,  x_j = fill_j where it is missing

    The same numbers as ``TablePreparation.transform`` gives column by column, bit for bit, without its cost a column.

    Args:
        encoders: One a column, in order.
    """

    def __init__(self, encoders: Sequence[NumberEncoder]) -> None:
        self.encoders = tuple(encoders)
        places = np.cumsum([0, *(encoder.width for encoder in encoders)])
        self._total, self._places = int(places[-1]), places[:-1]
        self._marked = np.flatnonzero([encoder.indicator for encoder in encoders])
        self._fill = np.array([encoder.fill for encoder in encoders])
        self._centre = np.array([encoder.scale.centre for encoder in encoders])
        self._width = np.array([encoder.scale.width for encoder in encoders])
        self._plain = all(encoder.scale.kind == "standard" for encoder in encoders)

    @classmethod
    def of(cls, preparation: TablePreparation) -> NumberColumns | None:
        """Return the columns of a preparation, or None if one of them is no number.

        Returns:
            The columns, or None.
        """
        encoders = [encoder for encoder in preparation.encoders.values() if isinstance(encoder, NumberEncoder)]
        return cls(encoders) if len(encoders) == len(preparation.encoders) else None

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return the network's inputs.

        Args:
            x: ``(N, D)`` floating point, NaN where missing.

        Returns:
            float32 ``(N, width)``, C-contiguous, finite.
        """
        out = np.empty((len(x), self._total), np.float32)
        for start in range(0, len(x), _SLAB):
            self._write(x[start : start + _SLAB], out[start : start + _SLAB])
        return out

    def _write(self, x: np.ndarray, out: np.ndarray) -> None:
        if not self._plain:
            for j, encoder in enumerate(self.encoders):
                place = out[:, self._places[j] : self._places[j] + encoder.width]
                encoder.write(x[:, j].astype(np.float64), place, Seen())
            return
        missing = np.isnan(x)
        values = np.where(missing, self._fill, x) if missing.any() else x.astype(np.float64)
        scaled = (values - self._centre) / self._width
        # A value far outside the training range must not become infinite in float32.
        limit = 1e30
        if self._total == len(self._places):
            np.clip(scaled, -limit, limit, out=out, casting="unsafe")
            return
        out[:, self._places] = np.clip(scaled, -limit, limit)
        out[:, self._places[self._marked] + 1] = missing[:, self._marked]


def fit_numbers(x: np.ndarray, names: Sequence[str], rows: np.ndarray, kind: Scaling) -> TablePreparation:
    """Fit the preparation of columns that are all numbers.

    Args:
        x: ``(N, D)`` floating point, NaN where missing.
        names: D different names.
        rows: Positions of the training rows; no other row has any influence.
        kind: How numbers are scaled.

    Returns:
        The preparation; every column is kept, one without variance gives zeros.
    """
    columns = np.ascontiguousarray(x[rows].T, dtype=np.float64)
    return TablePreparation(
        {name: NumberEncoder.fit(column, kind) for name, column in zip(names, columns, strict=True)}
    )


def validation_share(n: int) -> float:
    """Return the share of n rows to stop by: a tenth; of fewer than 500 rows what makes 50, but a quarter at most.

    A figure of 20 rows is mostly chance: with a tenth of 200 rows training stops at an epoch that chance chose.

    Returns:
        From 0.1 to 0.25.
    """
    return min(0.25, max(0.1, 50 / n))


def split_off(n: int, fraction: float, seed: int, codes: np.ndarray | None = None) -> Split:
    """Divide rows into a training and a validation part; nothing is kept for a test.

    Args:
        n: Number of rows.
        fraction: Share of the validation part; it stays empty if it would hold fewer than ``FEWEST_VALIDATION`` rows.
        seed: What decides by chance.
        codes: Class codes, ``(n,)``: classes stand in both parts in the same share, and a row that is the only one of
            its class trains.

    Returns:
        The split.
    """
    if n * fraction < FEWEST_VALIDATION:
        return Split(np.arange(n), np.empty(0, np.int64), np.empty(0, np.int64))
    alone = np.zeros(n, bool) if codes is None else (np.bincount(codes)[codes] == 1)
    rest = np.flatnonzero(~alone)
    if len(rest) * fraction < FEWEST_VALIDATION:
        return Split(np.arange(n), np.empty(0, np.int64), np.empty(0, np.int64))
    inner = split_rows(
        len(rest), fractions=(1 - fraction, fraction, 0.0), seed=seed, stratify=None if codes is None else codes[rest]
    )
    return Split(np.sort(np.concatenate([rest[inner.train], np.flatnonzero(alone)])), rest[inner.valid], inner.test)


def hash_rows(*matrices: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of the content of each row, over all matrices side by side.

    Args:
        matrices: ``(N, D)`` or ``(N,)`` numbers.

    Returns:
        ``(N,)`` uint64: equal rows have equal hashes wherever they stand.
    """
    total = np.zeros(len(matrices[0]), np.uint64)
    with np.errstate(over="ignore"):
        for matrix in matrices:
            # Minus zero equals zero.
            columns = np.ascontiguousarray(np.atleast_2d(matrix.T), dtype=np.float64) + 0.0
            for column in columns:
                total = (total ^ (column.view(np.uint64) * _PRIME)) * _MIX
                total ^= total >> np.uint64(29)
    return total


def problem_of_arrays(
    inputs: np.ndarray,
    encoded: Tensor,
    targets: tuple[Target, ...],
    split: Split,
    preparation: TablePreparation,
    *,
    weights: np.ndarray | None = None,
) -> Problem:
    """Make the problem of predicting targets from inputs that are already prepared.

    Args:
        inputs: ``(N, width)`` float32, as the preparation gives them.
        encoded: ``(N,)`` or ``(N, T)``, as ``encode_targets`` gives them.
        targets: What they are.
        split: Rows of each part.
        preparation: Made the inputs.
        weights: ``(N,)`` not negative; scaled to average 1 over the training part.

    Returns:
        The problem.
    """
    scaled = None
    if weights is not None:
        scaled = torch.from_numpy((weights / weights[split.train].mean()).astype(np.float32))
    return Problem("the data", torch.from_numpy(inputs), encoded, targets, split, preparation, scaled)
