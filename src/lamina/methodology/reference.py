"""Honest baselines: what a constant and a linear model reach on the same split."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lamina.data.spec import VectorSpec
from lamina.data.tables.targets import ClassTarget, CountTarget, NumberTarget, Target
from lamina.methodology.problem import Problem

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


def references(problem: Problem, parts: Sequence[str] = ("valid", "test"), *, seed: int = 0) -> list[Reference]:
    """Fit the baselines of every target on the training part.

    The constant is the training part's class shares or mean; the linear model is scikit-learn's logistic, ridge or
    Poisson regression on the prepared inputs, categories one-hot.

    Args:
        problem: What is to be learnt.
        parts: Which parts to predict, of ``train``, ``valid``, ``test``.
        seed: Chooses the training examples where there are more than ``MOST_ROWS``.

    Returns:
        Two references a target, the constant one first.
    """
    train = problem.split.train
    rows = {name: getattr(problem.split, name) for name in parts}
    some, note = train, ""
    if len(train) > MOST_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(train, MOST_ROWS, replace=False))
        note = f"fitted on {MOST_ROWS:,} of {len(train):,} training examples"
    design = {name: _design(problem, part) for name, part in {"some": some, **rows}.items()}
    found: list[Reference] = []
    for column, target in enumerate(problem.targets):
        truth = _column(problem.encoded, column)
        found.append(_constant(target, truth[train], {name: len(part) for name, part in rows.items()}))
        linear = _linear(target, design["some"], truth[some], {name: design[name] for name in rows})
        if linear is not None:
            name, predictions = linear
            found.append(Reference(name, target, predictions, note))
    return found


def _column(encoded: Tensor, column: int) -> np.ndarray:
    return np.asarray((encoded if encoded.ndim == 1 else encoded[:, column]).numpy())


def _design(problem: Problem, rows: np.ndarray) -> Any:
    """Return the inputs of a linear model: the numeric block beside one-hot codes, or pixels from 0 to 1."""
    inputs = problem.inputs[rows]
    if problem.pictures:
        return inputs.flatten(1).numpy().astype(np.float32) / 255.0
    spec = problem.spec
    assert isinstance(spec, VectorSpec)
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
    target: Target, design: Any, truth: np.ndarray, parts: Mapping[str, Any]
) -> tuple[str, dict[str, np.ndarray]] | None:
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(target, ClassTarget):
            codes = truth.astype(np.int64)
            if len(np.unique(codes)) < 2:
                return None
            model = LogisticRegression(max_iter=100).fit(design, codes)
            predictions = {}
            for part, inputs in parts.items():
                probabilities = np.zeros((inputs.shape[0], len(target.classes)))
                if inputs.shape[0]:
                    probabilities[:, model.classes_] = model.predict_proba(inputs)
                predictions[part] = probabilities
            return "logistic regression", predictions
        counts = isinstance(target, CountTarget)
        model = (PoissonRegressor(max_iter=300) if counts else Ridge()).fit(design, truth.astype(np.float64))
        values = {p: model.predict(x).astype(np.float64) if x.shape[0] else np.empty(0) for p, x in parts.items()}
    assert isinstance(target, NumberTarget | CountTarget)
    return ("Poisson regression" if counts else "ridge regression"), {p: target.decode(v) for p, v in values.items()}
