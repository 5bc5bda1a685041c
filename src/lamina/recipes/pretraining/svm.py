"""Support vector machines with Gaussian kernels: width and softness chosen on the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.generated.parts import Parts
from lamina.recipes.pretraining.sets import load_parts
from lamina.recipes.recipe import Result

Array = np.ndarray[Any, np.dtype[Any]]

GAMMAS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
FIRST_C, OTHER_CS = 10.0, (1.0, 100.0)

_AT_ONCE = 5_000  # test examples whose kernels are in memory together


def support_vectors(
    *, name: str, digits: str, sizes: Sequence[int], gammas: Sequence[float], data_dir: str | None = None
) -> Result:
    """Choose a machine on the validation part, train it on both parts together, and look at the test part.

        k(x, y) = exp(-γ ‖x - y‖²);   γ is chosen at C = 10, then C at that γ

    Args:
        name: Of ``SETS``.
        digits: ``mnist`` or ``digits``.
        sizes: Examples for training, validation and test.
        gammas: Candidates for γ.
        data_dir: Where named data sets lie.

    Returns:
        ``valid_error`` of the choice (trained without the validation part) and ``test_error``, shares; ``gamma``,
        ``C``, and ``tried``: γ, C and validation error of each candidate.
    """
    train, valid, test = sizes
    parts = load_parts(name, digits, (train, valid, test), data_dir)
    tried = _tried(parts, gammas)
    gamma, c, least = min(tried, key=lambda row: row[2])
    x = torch.cat([parts.train.inputs, parts.valid.inputs])
    y = np.concatenate([_labels(parts.train), _labels(parts.valid)])
    machine = _machine(c).fit(_kernel(_squared(x, x), gamma), y)
    found = [machine.predict(_kernel(_squared(some, x), gamma)) for some in torch.split(parts.test.inputs, _AT_ONCE)]
    wrong = np.concatenate(found) != _labels(parts.test)
    return {
        "valid_error": least,
        "test_error": float(wrong.mean()),
        "gamma": gamma,
        "C": c,
        "tried": [list(row) for row in tried],
    }


def _tried(parts: Parts, gammas: Sequence[float]) -> list[tuple[float, float, float]]:
    """Return γ, C and the validation error of each candidate."""
    inner = _squared(parts.train.inputs, parts.train.inputs)
    outer = _squared(parts.valid.inputs, parts.train.inputs)
    tried: list[tuple[float, float, float]] = []

    def attempt(gamma: float, c: float) -> float:
        machine = _machine(c).fit(_kernel(inner, gamma), _labels(parts.train))
        wrong = machine.predict(_kernel(outer, gamma)) != _labels(parts.valid)
        tried.append((gamma, c, float(wrong.mean())))
        return tried[-1][2]

    gamma = min(gammas, key=lambda value: attempt(value, FIRST_C))
    for c in OTHER_CS:
        attempt(gamma, c)
    return tried


def _machine(c: float) -> Any:
    return import_module("sklearn.svm").SVC(C=c, kernel="precomputed", cache_size=500)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances between rows."""
    lengths = a.square().sum(1)[:, None] + b.square().sum(1)
    return torch.addmm(lengths, a, b.T, alpha=-2.0).clamp_min_(0.0)


def _kernel(squared: Tensor, gamma: float) -> Array:
    kernel: Array = torch.exp(squared * -gamma).double().numpy()
    return kernel


def _labels(part: Batch) -> Array:
    assert part.targets is not None
    labels: Array = part.targets.numpy()
    return labels
