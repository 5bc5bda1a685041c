"""Pairs from unlabelled examples alone: neighbours are taken to be alike, others to be not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.errors import ConfigError

_TRIES = 20


def nearest_pairs(x: Any, neighbours: int = 5, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pair each row with its nearest rows, which are taken to be alike, and as many rows that are not neighbours.

    Near is by Euclidean distance: scale the columns first. A pair stands once, also where each of the two is among the
    nearest of the other. Pairs that are not alike are drawn evenly from all that are no neighbours; with C classes some
    one in C of them is of one class none the less.

    Args:
        x: ``(N, ...)``, at least two rows; an example of several axes is read as one vector. A sparse matrix of
            scipy's will do.
        neighbours: Nearest rows of each row, at least 1.
        seed: Decides which rows make the pairs that are not alike.

    Returns:
        ``(P, 2)`` int64 row numbers, and ``(P,)`` bool: whether the two are alike. ``LabelledAndPairs`` takes both.

    Raises:
        ConfigError: If there are too few rows, or so many neighbours leave no two rows that are none.

    Reference: Weston, Ratle & Collobert, "Deep Learning via Semi-Supervised Embedding", ICML 2008, section 3.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = x.cpu().numpy() if isinstance(x, Tensor) else x
    n = rows.shape[0]
    if isinstance(rows, np.ndarray):
        rows = rows.reshape(n, -1)
    if n < 2 or neighbours < 1:
        raise ConfigError(
            f"needs two rows or more and a neighbour or more, got {n} and {neighbours!r}", where="nearest_pairs"
        )
    k = min(neighbours, n - 1)
    near = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(return_distance=False)
    alike = _unique(np.repeat(np.arange(n), k), near.reshape(-1), n)
    generator = torch.Generator().manual_seed(seed)
    unlike = np.empty(0, np.int64)
    for _ in range(_TRIES):
        first, second = torch.randint(n, (2, len(alike)), generator=generator).numpy()
        drawn = _unique(first, second, n)
        unlike = np.union1d(unlike, drawn[~np.isin(drawn, alike)])
        if len(unlike) >= len(alike):
            break
    if not len(unlike):
        raise ConfigError(
            f"of {n} rows all are neighbours of one another",
            where="nearest_pairs",
            mend="use fewer neighbours, or give more rows",
        )
    keep = torch.randperm(len(unlike), generator=generator)[: len(alike)].numpy()
    codes = np.concatenate([alike, unlike[np.sort(keep)]])
    pairs = np.stack([codes // n, codes % n], axis=1)
    return torch.from_numpy(pairs), torch.arange(len(codes)) < len(alike)


def _unique(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    """Return the different pairs of different rows, smaller row first, as one code each, in order."""
    low, high = np.minimum(first, second).astype(np.int64), np.maximum(first, second).astype(np.int64)
    return np.unique((low * n + high)[low != high])
