"""Permutation importance: how much worse the predictions get when one column is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MOST_ROWS = 2_000
MOST_COLUMNS = 1_000


@dataclass(frozen=True)
class ColumnImportance:
    """What one column is worth.

    Attributes:
        column: Its name in the source.
        drop: How much worse the figure gets, mean over the shuffles.
        low: The smallest drop seen.
        high: The largest.
    """

    column: str
    drop: float
    low: float
    high: float


def permutation_importance(
    score: Callable[[Tensor], float],
    inputs: Tensor,
    groups: Mapping[str, list[int]],
    *,
    seed: int = 0,
    repeats: int = 5,
) -> list[ColumnImportance]:
    """Shuffle each source column over the rows, all matrix columns made of it together, and score again.

        importance_c = score(X) - mean_r score(X with column c shuffled)

    Args:
        score: Of a matrix of inputs; higher is better.
        inputs: ``(N, D)``; at most ``MOST_ROWS`` of its rows should be given, all are used.
        groups: Source column to the matrix columns that are made of it.
        seed: Of the shuffles.
        repeats: Shuffles a column.

    Returns:
        Most important first; empty where there are more than ``MOST_COLUMNS`` columns.

    Reference: Breiman, "Random Forests", Machine Learning 45, 2001, section 10.
    """
    if len(groups) > MOST_COLUMNS or inputs.shape[0] < 2:
        return []
    random = np.random.default_rng(seed)
    base = score(inputs)
    work = inputs.clone()
    found = []
    for column, places in groups.items():
        drops = []
        for _ in range(repeats):
            order = torch.from_numpy(random.permutation(inputs.shape[0]))
            work[:, places] = inputs[order][:, places]
            drops.append(base - score(work))
        work[:, places] = inputs[:, places]
        found.append(ColumnImportance(column, float(np.mean(drops)), float(min(drops)), float(max(drops))))
    return sorted(found, key=lambda entry: -entry.drop)
