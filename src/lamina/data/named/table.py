"""A named data set with columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class NamedTable:
    """A data set with named columns.

    Args:
        name: The data set's name.
        columns: Column name to (N,) array of numbers, or of text for classes; the target is among them.
        target: Name of the column to predict.
        task: ``classification`` or ``regression``.
        notes: What was done to the published numbers.
    """

    name: str
    columns: dict[str, NDArray[Any]]
    target: str
    task: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns[self.target])
