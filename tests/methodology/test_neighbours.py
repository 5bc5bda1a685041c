"""Nearest neighbours against scikit-learn's and against distances of all pairs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.neighbors import KNeighborsClassifier

from lamina.data.spec import ImageSpec, VectorSpec
from lamina.data.tables.targets import ClassTarget, NumberTarget
from lamina.errors import ConfigError
from lamina.methodology.neighbours import neighbours
from lamina.metrics import tangent_distance
from lamina.penalties import image_tangents


def problem(inputs: torch.Tensor, codes: np.ndarray, spec: Any, split: SimpleNamespace) -> Any:
    target = ClassTarget("t", tuple(str(c) for c in np.unique(codes)))
    rows = {part: getattr(split, part) for part in ("train", "valid", "test")}
    return SimpleNamespace(
        inputs=inputs, encoded=torch.from_numpy(codes), targets=[target], spec=spec, split=split,
        scored_rows=lambda seed: rows,
    )  # fmt: skip


def divided(n: int, *cuts: int) -> SimpleNamespace:
    order = np.random.default_rng(0).permutation(n)
    return SimpleNamespace(**dict(zip(("train", "valid", "test"), np.split(order, cuts), strict=True)))


def test_R28_euclidean_neighbours_are_those_of_scikit_learn() -> None:
    x, y = load_iris(return_X_y=True)
    split = divided(150, 90, 100)
    made = problem(torch.from_numpy(x).float(), y, VectorSpec(4, ()), split)
    (found,) = neighbours(made, "euclidean")
    assert sorted(found.predictions) == ["test", "valid"]
    counts = KNeighborsClassifier(3).fit(x[split.train], y[split.train]).predict_proba(x[split.test]) * 3
    np.testing.assert_allclose(found.predictions["test"], (counts + 1 / 3) / 4, atol=1e-12)
    assert neighbours(made, "none") == []


def test_an_example_is_not_its_own_neighbour() -> None:
    x = torch.tensor([[0.0], [0.1], [5.0], [5.1], [5.2], [0.2], [0.3], [5.3]])
    codes = np.array([0, 0, 1, 1, 1, 0, 0, 1])
    codes[0] = 1  # its neighbours say 0
    empty = np.empty(0, np.int64)
    made = problem(x, codes, VectorSpec(1, ()), SimpleNamespace(train=np.arange(8), valid=empty, test=empty))
    (found,) = neighbours(made, "euclidean")
    assert found.predictions["train"].argmax(1).tolist() == [0, 0, 1, 1, 1, 0, 0, 1]


def test_R28_tangent_neighbours_are_nearest_of_all_pairs() -> None:
    pictures, y = load_digits(return_X_y=True)
    pixels = torch.from_numpy(pictures.reshape(-1, 1, 8, 8) * 255 / 16).round().to(torch.uint8)
    split = divided(1797, 150, 150)
    split.test = split.test[:80]
    made = problem(pixels, y, ImageSpec(1, 8, 8), split)
    (found,) = neighbours(made, "tangent")
    p = pixels.float() / 255
    said = []
    for row in split.test:
        one, other = p[row].expand(150, 1, 8, 8), p[torch.from_numpy(split.train)]
        apart = tangent_distance(one, other, image_tangents(one), image_tangents(other))
        near = y[split.train][apart.argsort()[:3].numpy()]
        said.append(np.bincount(near, minlength=10))
    agreed = np.isclose(found.predictions["test"], (np.array(said) + 0.1) / 4).all(1).mean()
    assert agreed > 0.9  # candidates are the 50 nearest of 150 by the other distance


def test_numbers_are_means_and_tables_have_no_tangents() -> None:
    x = torch.tensor([[0.0], [0.1], [0.2], [9.0], [0.15]])
    made = problem(x, np.zeros(5, np.int64), VectorSpec(1, ()), divided(5, 4, 4))
    made.split.train, made.split.test = np.arange(4), np.array([4])
    made.scored_rows = lambda seed: {"train": made.split.train, "valid": np.empty(0, np.int64), "test": np.array([4])}
    made.targets = [NumberTarget("t", 10.0, 2.0)]
    made.encoded = torch.tensor([1.0, 2.0, 6.0, 100.0, 0.0])
    (found,) = neighbours(made, "euclidean")
    np.testing.assert_allclose(found.predictions["test"], [16.0])
    with pytest.raises(ConfigError, match="for pictures"):
        neighbours(made, "tangent")
