"""Projection onto norm constraints: nearest points by numpy, and the optimum of the penalty with the multiplier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from lamina.errors import ConfigError
from lamina.optim.norm_constraint import project_norm_


def blocks(w: np.ndarray, per: str) -> list[tuple]:
    """Index of every group of a weight, one after the other."""
    if per == "unit":
        return [(i,) for i in range(w.shape[0])]
    if per == "column":
        return [(slice(None), j) for j in range(w.shape[1])]
    return [(...,)]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["layer", "unit", "column"]), st.sampled_from([(3, 4), (2, 3, 2, 2), (1, 5)]), st.floats(0.1, 5))
def test_R05_projection_group_by_group(per: str, shape: tuple[int, ...], limit: float) -> None:
    w = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = w.numpy().copy()
    for place in blocks(expected, per):
        norm = np.sqrt((expected[place] ** 2).sum())
        if norm > limit:
            expected[place] = expected[place] * limit / norm
    project_norm_([w], limit, per)
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-13)


def test_R05_whole_is_one_ball_for_all_parameters() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 4, generator=generator), torch.randn(5, generator=generator)]
    before = torch.cat([p.flatten() for p in parts])
    project_norm_(parts, 1.5, "whole")
    torch.testing.assert_close(torch.cat([p.flatten() for p in parts]), before * 1.5 / before.norm())
    project_norm_(parts, 10.0, "whole")
    torch.testing.assert_close(torch.cat([p.flatten() for p in parts]), before * 1.5 / before.norm())
    project_norm_([], 1.0, "whole")


def test_R05_inside_nothing_moves_by_a_bit_and_zero_stays_zero() -> None:
    w = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    w[1] = 0.0
    for per in ("whole", "layer", "unit", "column"):
        kept = w.clone()
        project_norm_([kept], 100.0, per)
        assert torch.equal(kept, w)
    project_norm_([w], 0.1, "unit")
    assert (w[1] == 0).all()
    torch.testing.assert_close(w.norm(dim=1), torch.tensor([0.1, 0.0, 0.1, 0.1]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 3))
def test_R05_it_is_the_nearest_point_of_the_ball(seed: int, limit: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    w = 2 * torch.randn(1, 3, generator=generator, dtype=torch.float64)
    projected = w.clone()
    project_norm_([projected], limit)
    assert projected.norm() <= limit * (1 + 1e-12)
    others = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    others *= (
        limit
        * torch.rand(500, 1, generator=generator, dtype=torch.float64) ** (1 / 3)
        / others.norm(dim=1, keepdim=True)
    )
    assert ((others - w).norm(dim=1) >= (projected - w).norm() - 1e-12).all()


def test_R05_same_optimum_as_the_penalty_with_the_multiplier() -> None:
    """Projected gradient descent ends where ½ (w-w*)ᵀH(w-w*) + α*/2 ‖w‖² has its minimum, ‖w(α*)‖ = k."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 4))
    hessian, wanted, limit = a @ a.T + np.eye(4), rng.standard_normal(4) * 2, 1.2

    def penalised(alpha: float) -> np.ndarray:
        return np.linalg.solve(hessian + alpha * np.eye(4), hessian @ wanted)

    multiplier = brentq(lambda alpha: np.linalg.norm(penalised(alpha)) - limit, 0.0, 1e4, xtol=1e-14)
    h, target, w = torch.tensor(hessian), torch.tensor(wanted), torch.zeros(1, 4, dtype=torch.float64)
    for _ in range(1500):
        w -= 0.05 * (w[0] - target) @ h
        project_norm_([w], limit, "whole")
    np.testing.assert_allclose(w.numpy()[0], penalised(multiplier), rtol=1e-9)
    gradient = ((w[0] - target) @ h).numpy()
    np.testing.assert_allclose(gradient, -multiplier * w.numpy()[0], rtol=1e-8)  # Karush, Kuhn, Tucker
    unit = w.numpy()[0] / np.linalg.norm(w.numpy())  # the gradient of ‖w‖ - k, whose multiplier is α* k
    np.testing.assert_allclose(gradient, -multiplier * limit * unit, rtol=1e-8)


def test_refusals() -> None:
    w = torch.ones(2, 2)
    for limit in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="limit"):
            project_norm_([w], limit)
    with pytest.raises(ConfigError, match="per"):
        project_norm_([w], 1.0, "row")
    with pytest.raises(ConfigError, match="rows and columns"):
        project_norm_([torch.ones(2)], 1.0, "unit")
