"""Honest baselines: what a constant and a linear model reach on the same split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lamina.data.spec import VectorSpec
from lamina.data.tables.targets import ClassTarget, CountTarget, NumberTarget, Target
from lamina.methodology.problem import Problem
from lamina.runs.models import Spec

MOST_ROWS = 20_000
"""A linear model is fitted on at most this many training examples; more hardly move it and cost minutes."""


@dataclass(frozen=True)
class Reference:
    """A baseline's predictions.

    Attributes:
        name: As shown, for instance ``always "No"``.
        target: Which target it predicts.
        predictions: Part name to ``(N, K)`` probabilities of classes, or ``(N,)`` means in the target's own unit.
        note: What was done besides, for instance fitted on a part of the rows.
    """

    name: str
    target: Target
    predictions: Mapping[str, np.ndarray]
    note: str = ""


def references(problem: Problem, *, seed: int = 0) -> list[Reference]:
    """Fit the baselines of every target on the training part, and predict the rows on which figures are computed.

    The constant is the training part's class shares or mean; the linear model is scikit-learn's logistic, ridge or
    Poisson regression on the prepared inputs, categories one-hot.

    Args:
        problem: What is to be learnt.
        seed: Chooses the training examples where there are more than ``MOST_ROWS``.

    Returns:
        Two references a target, the constant one first.
    """
    train = problem.split.train
    rows = problem.scored_rows(seed)
    some, note = train, ""
    if len(train) > MOST_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(train, MOST_ROWS, replace=False))
        note = f"fitted on {MOST_ROWS:,} of {len(train):,} training examples"
    design = _design(problem, some)
    found: list[Reference] = []
    for column, target in enumerate(problem.targets):
        truth = _column(problem.encoded, column)
        found.append(_constant(target, truth[train], {name: len(part) for name, part in rows.items()}))
        linear = _linear(target, design, truth[some], problem, rows)
        if linear is not None:
            name, predictions = linear
            found.append(Reference(name, target, predictions, note))
    return found


def _column(encoded: Tensor, column: int) -> np.ndarray:
    return np.asarray((encoded if encoded.ndim == 1 else encoded[:, column]).numpy())


def _design(problem: Problem, rows: np.ndarray) -> Any:
    return design(problem.inputs[rows], problem.spec)


def design(inputs: Tensor, spec: Spec) -> Any:
    """Return inputs as a linear model reads them: the numeric block beside one-hot codes, or pixels from 0 to 1.

    Args:
        inputs: ``(N, ...)``.
        spec: What they look like.

    Returns:
        ``(N, D)``, dense or sparse.
    """
    if not isinstance(spec, VectorSpec):
        return inputs.flatten(1).numpy().astype(np.float32) / 255.0
    matrix = inputs.numpy()
    if not spec.cardinalities:
        return matrix
    from scipy import sparse

    codes = matrix[:, spec.n_numeric :].astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(spec.cardinalities)])
    where = (codes + offsets[:-1]).ravel()
    which = np.repeat(np.arange(len(codes)), codes.shape[1])
    one_hot = sparse.csr_matrix((np.ones(len(where), np.float32), (which, where)), (len(codes), int(offsets[-1])))
    return sparse.hstack([sparse.csr_matrix(matrix[:, : spec.n_numeric]), one_hot]).tocsr()


def _constant(target: Target, truth: np.ndarray, sizes: Mapping[str, int]) -> Reference:
    if isinstance(target, ClassTarget):
        shares = np.bincount(truth.astype(np.int64), minlength=len(target.classes)) / len(truth)
        name = f'always "{target.classes[int(shares.argmax())]}"'
        return Reference(name, target, {part: np.tile(shares, (n, 1)) for part, n in sizes.items()})
    mean = target.decode(np.asarray([truth.mean(dtype=np.float64)]))[0]
    return Reference("always the mean", target, {part: np.full(n, mean, np.float64) for part, n in sizes.items()})


def _linear(
    target: Target, design: Any, truth: np.ndarray, problem: Problem, rows: Mapping[str, np.ndarray]
) -> tuple[str, dict[str, np.ndarray]] | None:
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(target, ClassTarget):
            codes = truth.astype(np.int64)
            if len(np.unique(codes)) < 2:
                return None
            model = LogisticRegression(max_iter=100).fit(design, codes)

            def probabilities(inputs: Any) -> np.ndarray:
                found = np.zeros((inputs.shape[0], len(target.classes)))
                found[:, model.classes_] = model.predict_proba(inputs)
                return found

            empty = np.empty((0, len(target.classes)))
            return "logistic regression", {p: _by_block(problem, r, probabilities, empty) for p, r in rows.items()}
        counts = isinstance(target, CountTarget)
        model = (PoissonRegressor(max_iter=300) if counts else Ridge()).fit(design, truth.astype(np.float64))
        values = {p: _by_block(problem, r, model.predict, np.empty(0)) for p, r in rows.items()}
    assert isinstance(target, NumberTarget | CountTarget)
    return ("Poisson regression" if counts else "ridge regression"), {p: target.decode(v) for p, v in values.items()}


def _by_block(
    problem: Problem, rows: np.ndarray, predict: Callable[[Any], np.ndarray], empty: np.ndarray
) -> np.ndarray:
    """Predict some thousand rows at a time: a copy of all inputs of a large table would not be lean.

    Returns:
        The predictions of all rows.
    """
    blocks = [predict(_design(problem, rows[i : i + MOST_ROWS])) for i in range(0, len(rows), MOST_ROWS)]
    return np.concatenate(blocks).astype(np.float64) if blocks else empty
