"""Nearest neighbours as a baseline: by the Euclidean distance, or for pictures by tangent distance."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lamina.data.spec import ImageSpec
from lamina.data.tables.targets import ClassTarget, Target
from lamina.errors import ConfigError
from lamina.methodology.problem import Problem
from lamina.methodology.reference import MOST_ROWS, Reference, design
from lamina.metrics.tangent_distance import tangent_distance
from lamina.penalties.image_tangents import image_tangents

Distance = Literal["none", "euclidean", "tangent"]

NEIGHBOURS = 3
CANDIDATES = 50
"""Tangent distance is computed to so many examples that are nearest by the Euclidean one, which is far quicker."""

_AT_ONCE = 200


def neighbours(problem: Problem, distance: Distance, *, seed: int = 0) -> list[Reference]:
    """Predict by the training examples that are nearest, for every target of classes or numbers.

        p(c) = (n_c + 1/C) / (k + 1),   n_c of the k = 3 neighbours being of class c;   a number: their mean

    The two-sided tangent distance is that of the six affine transforms (shifts, turn, scaling, shears), the same for
    all channels. Validation and test part are predicted; the training part only where there are neither, each example
    then without itself.

    Args:
        problem: What is to be learnt.
        distance: "tangent" is for pictures; "none" makes no baseline.
        seed: Chooses the training examples where there are more than ``MOST_ROWS``.

    Returns:
        One reference a target.

    Raises:
        ConfigError: If tangent distance is asked of a table.

    Reference: Simard, LeCun & Denker, "Efficient Pattern Recognition Using a New Transformation Distance", NIPS 1992.
    """  # noqa: DOC502
    check_distance(distance, problem)
    if distance == "none":
        return []
    train, note = problem.split.train, ""
    if len(train) > MOST_ROWS:
        train = np.sort(np.random.default_rng(seed).choice(train, MOST_ROWS, replace=False))
        note = f"neighbours among {MOST_ROWS:,} of {len(problem.split.train):,} training examples"
    rows = problem.scored_rows(seed)
    asked = {part: rows[part] for part in ("valid", "test") if len(rows[part])} or {"train": rows["train"]}
    found = {part: _nearest(problem, train, wanted, distance) for part, wanted in asked.items()}
    name = "nearest neighbours" + (", tangent distance" if distance == "tangent" else "")
    references = []
    for column, target in enumerate(problem.targets):
        encoded = problem.encoded if problem.encoded.ndim == 1 else problem.encoded[:, column]
        known = encoded.numpy()[train]
        predictions = {part: _said(target, known[near]) for part, near in found.items()}
        references.append(Reference(name, target, predictions, note))
    return references


def check_distance(distance: Distance, problem: Problem) -> None:
    """Refuse tangent distance where there are no pictures.

    Raises:
        ConfigError: Then.
    """
    if distance == "tangent" and not isinstance(problem.spec, ImageSpec):
        raise ConfigError(
            "tangent distance is for pictures", where="neighbours", mend="use neighbours=euclidean, or leave it out"
        )


def _nearest(problem: Problem, train: np.ndarray, asked: np.ndarray, distance: Distance) -> np.ndarray:
    """Find the nearest training examples, an example itself left out.

    Returns:
        ``(N, k)`` places in ``train``.
    """
    from sklearn.neighbors import NearestNeighbors

    itself = bool(np.isin(asked, train).any())
    k = NEIGHBOURS if distance == "euclidean" else CANDIDATES
    k = min(k + itself, len(train))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(design(problem.inputs[train], problem.spec))
    kept = min(NEIGHBOURS, len(train))
    found = np.empty((len(asked), kept), np.int64)
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        apart, near = search.kneighbors(design(problem.inputs[some], problem.spec))
        if distance == "tangent":
            apart = _tangent(problem, some, train[near])
        apart = np.where(train[near] == some[:, None], np.inf, apart)
        order = np.argsort(apart, axis=1, kind="stable")[:, :kept]
        found[start : start + _AT_ONCE] = np.take_along_axis(near, order, axis=1)
    return found


def _tangent(problem: Problem, rows: np.ndarray, near: np.ndarray) -> np.ndarray:
    n, k = near.shape
    one = _pictures(problem, rows).repeat_interleave(k, dim=0)
    other = _pictures(problem, near.reshape(-1))
    return tangent_distance(one, other, image_tangents(one), image_tangents(other)).view(n, k).numpy()


def _pictures(problem: Problem, rows: np.ndarray) -> Tensor:
    return problem.inputs[torch.from_numpy(rows)].float().div_(255.0)


def _said(target: Target, values: np.ndarray) -> np.ndarray:
    """Return what neighbours with these encoded targets, ``(N, k)``, say."""
    if isinstance(target, ClassTarget):
        n_classes = len(target.classes)
        counts = (values[:, :, None] == np.arange(n_classes)).sum(1)
        smoothed: np.ndarray = (counts + 1.0 / n_classes) / (values.shape[1] + 1.0)
        return smoothed
    return np.asarray(target.decode(values.mean(1, dtype=np.float64)), np.float64)
