"""Mutual information against scikit-learn's, and the selection against the obvious double loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from lamina.autoencoders.feature_selection import _voted, mutual_information, select_features
from lamina.data.batch import Batch
from lamina.errors import ConfigError


def example(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Ten features of three classes; feature j tells of the class with strength (3, 0, 2, 0, 1, 0, …)."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(3, (n,), generator=g)
    strength = torch.tensor([3.0, 0, 2, 0, 1, 0, 0, 0, 0, 0])
    return strength * codes[:, None] + torch.randn(n, 10, generator=g), codes


@pytest.mark.parametrize("bins", [2, 7, 10])
def test_U11_mutual_information_is_that_of_the_binned_feature(bins: int) -> None:
    x, codes = example(501, 0)
    x[:, 9] = x[:, 9].round()  # equal values
    found = mutual_information(x.double(), codes, bins=bins)
    for j in range(10):
        values = x[:, j].numpy()
        edges = np.sort(values)[[k * 501 // bins for k in range(1, bins)]]
        assert found[j].item() == pytest.approx(mutual_info_score(np.digitize(values, edges), codes), abs=1e-9)


def test_U11_mutual_information_of_what_tells_all_and_of_what_tells_nothing() -> None:
    codes = torch.arange(900) % 3
    x = torch.stack([codes * 5.0, torch.ones(900), torch.randn(900), 1e6 * codes**2 + 0.5], dim=1)
    found = mutual_information(x, codes)
    assert found[[0, 3]].tolist() == pytest.approx([math.log(3)] * 2)
    assert found[1].item() == 0.0
    assert found[2].item() < 3 * (9 * 2) / (2 * 900)


@pytest.mark.parametrize("neighbours", [1, 4, 5])
def test_U11_selection_is_the_double_loop(neighbours: int) -> None:
    (x, t), (u, v) = example(150, 1), example(80, 2)
    order = sorted(range(10), key=lambda j: -mutual_information(x, t)[j].item())
    errors = []
    for w in range(1, 11):
        knn = KNeighborsClassifier(neighbours).fit(x[:, order[:w]].numpy(), t.numpy())
        near = t.numpy()[knn.kneighbors(u[:, order[:w]].numpy(), return_distance=False)]
        wrong = 0
        for row, truth in zip(near.tolist(), v.tolist(), strict=True):
            most = max(row.count(c) for c in row)
            wrong += next(c for c in row if row.count(c) == most) != truth
        errors.append(wrong)
    best = 1 + int(np.argmin(errors))
    found = select_features(Batch(x, t), Batch(u, v), counts=range(1, 11), neighbours=neighbours)
    assert found.tolist() == order[:best]
    assert len(set(errors)) > 2


def test_U11_what_tells_of_the_class_is_found_among_noise() -> None:
    g = torch.Generator().manual_seed(0)
    (x, t), (u, v) = example(300, 3), example(200, 4)
    x, u = (torch.cat([part, torch.randn(len(part), 200, generator=g)], 1) for part in (x, u))
    found = select_features(Batch(x, t), Batch(u, v)).tolist()
    assert found[:2] == [0, 2] and len(found) <= 4


def test_refusals() -> None:
    x, t = example(20, 0)
    whole = Batch(x, t)
    for bad in (Batch(x), Batch(x[:, :3], t)):
        with pytest.raises(ConfigError, match="same features with class codes"):
            select_features(whole, bad)
    for given in ({"counts": [11]}, {"counts": [0]}, {"neighbours": 21}, {"counts": []}):
        with pytest.raises(ConfigError, match="counts must lie"):
            select_features(whole, whole, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two bins"):
        mutual_information(x, t, bins=1)


def test_U11_among_voters_of_as_many_votes_the_nearer_decides() -> None:
    assert _voted(torch.tensor([[2, 1, 1, 2], [0, 1, 1, 2], [1, 0, 0, 1]]), 3).tolist() == [2, 1, 1]
