"""Tangent distance: against scipy's least squares, and unchanged by the transforms that made the tangents."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq
from torch import Tensor

from lamina.errors import ConfigError
from lamina.metrics.tangent_distance import tangent_distance
from lamina.penalties.image_tangents import image_tangents


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("two_sided", [False, True])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), size=st.integers(6, 9), k=st.integers(1, 3))
def test_R27_is_the_residual_of_least_squares(two_sided: bool, seed: int, n: int, size: int, k: int) -> None:
    x, y, v, w = normal(n, size, seed=seed), normal(n, size, seed=seed + 1), normal(k, n, size, seed=seed + 2), None
    if two_sided:
        w = normal(2, n, size, seed=seed + 3)
    got = tangent_distance(x, y, v, w)
    for row in range(n):
        columns = [v[:, row].numpy().T] + ([-w[:, row].numpy().T] if w is not None else [])
        plane, apart = np.concatenate(columns, axis=1), (y - x)[row].numpy()
        best = lstsq(plane, apart)[0]
        assert math.isclose(got[row].item(), float(np.linalg.norm(apart - plane @ best)), rel_tol=1e-9, abs_tol=1e-12)


def test_R27_a_point_on_the_plane_is_at_distance_zero() -> None:
    x, v = normal(3, 8, seed=0), normal(2, 3, 8, seed=1)
    y = x + 3.0 * v[0] - 2.0 * v[1]
    assert tangent_distance(x, y, v).max() < 1e-12
    assert tangent_distance(y, x, v).max() < 1e-12
    off = normal(3, 8, seed=2)
    one, two = tangent_distance(x, off, v), tangent_distance(x, off, v, normal(2, 3, 8, seed=3))
    euclidean = torch.linalg.vector_norm(x - off, dim=1)
    assert (two <= one).all() and (one <= euclidean).all() and (two < euclidean).any()


@pytest.mark.parametrize("name", ["translation-x", "rotation", "scaling"])
def test_R27_unchanged_by_the_transform_to_first_order(name: str) -> None:
    """Moving a picture by a costs a in Euclidean distance and only a^2 in tangent distance."""
    at = torch.arange(21, dtype=torch.float64) - 10
    x, y = at.repeat(21, 1), at.unsqueeze(1).repeat(1, 21)

    def picture(a: float) -> Tensor:
        if name == "translation-x":
            u, v = x + a, y
        elif name == "scaling":
            u, v = (1 + a) * x, (1 + a) * y
        else:
            u, v = math.cos(a) * x + math.sin(a) * y, math.cos(a) * y - math.sin(a) * x
        return torch.exp(-((u - 3).square() / 8 + (v + 1).square() / 18))[None, None]

    still = picture(0.0)
    h = 1e-5
    tangent = ((picture(h) - picture(-h)) / (2 * h))[None]
    steps = (0.02, 0.04)
    tangential = [tangent_distance(still, picture(a), tangent).item() for a in steps]
    euclidean = [(still - picture(a)).norm().item() for a in steps]
    assert math.isclose(euclidean[1] / euclidean[0], 2.0, rel_tol=0.05)
    assert math.isclose(tangential[1] / tangential[0], 4.0, rel_tol=0.1)
    ours = image_tangents(still, name, smoothing=0.3)  # numerical tangents do it up to their own error
    assert tangent_distance(still, picture(steps[1]), ours).item() < 0.1 * euclidean[1]


def test_R27_tangents_that_repeat_or_vanish_change_nothing() -> None:
    x, y, v = normal(3, 8, seed=0), normal(3, 8, seed=1), normal(2, 3, 8, seed=2)
    more = torch.cat([v, 1e6 * v[:1], torch.zeros(1, 3, 8, dtype=torch.float64)])
    torch.testing.assert_close(tangent_distance(x, y, more), tangent_distance(x, y, v), rtol=1e-9, atol=1e-12)
    nothing = torch.zeros(1, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(tangent_distance(x, y, nothing), torch.linalg.vector_norm(x - y, dim=1))


def test_float32_pictures() -> None:
    x, y, v = normal(2, 1, 5, 5, seed=0), normal(2, 1, 5, 5, seed=1), normal(3, 2, 1, 5, 5, seed=2)
    got = tangent_distance(x.float(), y.float(), v.float(), v.float())
    assert got.dtype is torch.float32
    torch.testing.assert_close(got.double(), tangent_distance(x, y, v, v), rtol=1e-5, atol=1e-6)


def test_refusals() -> None:
    x = normal(2, 4, seed=0)
    with pytest.raises(ConfigError, match="one shape"):
        tangent_distance(x, x[:1].repeat(2, 2), normal(1, 2, 4, seed=1))
    with pytest.raises(ConfigError, match="tangents must have shape"):
        tangent_distance(x, x, normal(1, 2, 5, seed=1))
