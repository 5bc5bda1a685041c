"""Pairs of neighbours against a full table of distances; the others are no neighbours and evenly drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.data.nearest_pairs import nearest_pairs
from lamina.errors import ConfigError


def test_U10_neighbours_by_the_whole_table() -> None:
    x = torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0))
    pairs, similar = nearest_pairs(x, 3)
    rows = x.flatten(1).numpy()
    distance = np.linalg.norm(rows[:, None] - rows, axis=2) + 1e9 * np.eye(40)
    expected = {tuple(sorted((i, int(j)))) for i in range(40) for j in distance[i].argsort()[:3]}
    alike = [tuple(pair) for pair in pairs[similar].tolist()]
    assert len(alike) == len(set(alike)) and set(alike) == expected
    unlike = [tuple(pair) for pair in pairs[~similar].tolist()]
    assert len(set(unlike)) == len(unlike) == len(alike)
    assert not set(unlike) & expected and all(i < j for i, j in unlike)
    assert torch.equal(nearest_pairs(rows, 3)[0], pairs)
    assert not torch.equal(nearest_pairs(rows, 3, seed=1)[0], pairs)


def test_U10_others_are_drawn_evenly_from_what_is_left() -> None:
    x = torch.arange(12.0)[:, None]
    drawn = np.zeros((12, 12))
    for seed in range(120):
        pairs, similar = nearest_pairs(x, 1, seed=seed)
        for i, j in pairs[~similar].tolist():
            drawn[i, j] += 1
    left = np.triu(np.ones((12, 12)), 2).astype(bool)
    assert not drawn[~left].any()
    mean = drawn[left].mean()
    assert (abs(drawn[left] - mean) < 5 * np.sqrt(mean)).all()


def test_refusals() -> None:
    for rows, neighbours in ((1, 1), (5, 0)):
        with pytest.raises(ConfigError, match="two rows or more"):
            nearest_pairs(torch.rand(rows, 2), neighbours)
    with pytest.raises(ConfigError, match="all are neighbours"):
        nearest_pairs(torch.rand(5, 2), 4)
