"""Rows of X as an estimator holds them: a matrix of numbers, or a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamina.data.tables.split import Split, row_hashes
from lamina.data.tables.table import Table
from lamina.methodology.array_problem import hash_rows

MOST_ORDERED = 20_000
"""Up to so many rows are put into an order of their own: then the order in which they came has no influence."""
MOST_COPIES = 10
"""Whole-number weights are taken as numbers of copies where that makes the data at most so many times as long."""


def take_rows(data: np.ndarray | Table | None, index: np.ndarray) -> Any:
    """Return some rows, in the order of ``index``; None of None."""
    if data is None:
        return None
    return data.take(index) if isinstance(data, Table) else data[index]


def n_rows(data: np.ndarray | Table) -> int:
    """Return the number of rows."""
    return data.n_rows if isinstance(data, Table) else len(data)


def content_of(data: np.ndarray | Table) -> np.ndarray:
    """Return a hash of each row."""
    return row_hashes(data) if isinstance(data, Table) else hash_rows(data)


def in_order(data: np.ndarray | Table) -> Any:
    """Return rows without a target in an order of their own, unless they are many."""
    return data if n_rows(data) > MOST_ORDERED else take_rows(data, np.argsort(content_of(data), kind="stable"))


def joined(data: np.ndarray | Table, more: Any) -> Any:
    """Return the rows of both, one after the other; they were taken from the same data."""
    return data.joined(more) if isinstance(data, Table) else np.concatenate([data, more])


def as_copies(split: Split, weights: np.ndarray | None, n: int) -> tuple[np.ndarray | None, Split, np.ndarray | None]:
    """Take whole-number weights as numbers of copies; copies of a row stay in one part.

    Returns:
        The row each copy is of, the parts as positions among the copies, and None for the weights; or no rows, and
        split and weights as they were.
    """
    if weights is None or (weights != np.floor(weights)).any() or weights.sum() > MOST_COPIES * n:
        return None, split, weights
    index = np.repeat(np.arange(n), weights.astype(np.int64))
    held = np.zeros(n, bool)
    held[split.valid] = True
    return index, Split(np.flatnonzero(~held[index]), np.flatnonzero(held[index]), split.test), None
