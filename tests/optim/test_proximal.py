"""Proximal operators: against the minimisation that defines them, in closed form, and scikit-learn's solvers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.linear_model import ElasticNet, Lasso

from lamina.errors import ConfigError
from lamina.optim.proximal import proximal_step_, soft_threshold


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.floats(0, 2), st.floats(0, 2), st.floats(0.01, 1))
def test_R02_operator_is_the_minimum_that_defines_it(w: float, l1: float, l2: float, rate: float) -> None:
    best = minimize_scalar(
        lambda v: 0.5 * (v - w) ** 2 + rate * (l1 * abs(v) + 0.5 * l2 * v * v), bounds=(-4, 4), method="bounded"
    ).x
    x = torch.tensor([w], dtype=torch.float64)
    proximal_step_([x], l1, rate, l2=l2)
    assert x.item() == pytest.approx(best, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.floats(-5, 5), st.floats(0, 3))
def test_R02_soft_threshold_in_closed_form_with_exact_zeros(w: float, t: float) -> None:
    got = soft_threshold(torch.tensor([w], dtype=torch.float64), t).item()
    assert got == pytest.approx(np.sign(w) * max(abs(w) - t, 0.0), abs=1e-12)
    if abs(w) <= t:
        assert got == 0.0


def test_soft_threshold_is_softshrink_and_takes_a_threshold_for_each_weight() -> None:
    w = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(soft_threshold(w, 0.4), torch.nn.functional.softshrink(w, 0.4))
    t = torch.tensor([0.0, 0.5, 10.0])
    each = soft_threshold(w, t)
    assert torch.equal(each[:, 0], w[:, 0])
    assert (each[:, 2] == 0).all()


def test_W25_R02_proximal_descent_on_a_diagonal_quadratic_ends_at_the_soft_threshold() -> None:
    """argmin ½ Σ H_ii (w_i - w*_i)² + α ‖w‖₁ = sign(w*) max(|w*| - α/H_ii, 0)."""
    curvature = torch.tensor([0.5, 1.0, 4.0, 10.0], dtype=torch.float64)
    wanted = torch.tensor([1.0, -0.29, 0.06, -2.0], dtype=torch.float64)
    alpha, rate = 0.3, 0.09
    w = torch.zeros(4, dtype=torch.float64)
    for _ in range(600):
        w -= rate * curvature * (w - wanted)
        proximal_step_([w], alpha, rate)
    expected = wanted.sign() * (wanted.abs() - alpha / curvature).clamp(min=0)
    torch.testing.assert_close(w, expected, rtol=1e-12, atol=1e-14)
    assert w[1] == 0.0
    assert w[2] == 0.0


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_R02_proximal_descent_is_scikit_learns_lasso_and_elastic_net(ratio: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 8)) @ rng.standard_normal((8, 8)) / 3
    y = x @ np.array([3.0, 0, 0, -2, 0, 0, 1, 0]) + 0.1 * rng.standard_normal(80)
    alpha = 0.1
    kind = Lasso(alpha, tol=1e-13, max_iter=10**6, fit_intercept=False) if ratio == 1.0 else None
    oracle = kind or ElasticNet(alpha, l1_ratio=ratio, tol=1e-13, max_iter=10**6, fit_intercept=False)
    coefficients = oracle.fit(x, y).coef_
    gram, moment = torch.tensor(x.T @ x / 80), torch.tensor(x.T @ y / 80)
    rate = 1.0 / float(torch.linalg.eigvalsh(gram)[-1])
    w = torch.zeros(8, dtype=torch.float64)
    for _ in range(6000):
        w -= rate * (gram @ w - moment)
        proximal_step_([w], alpha * ratio, rate, l2=alpha * (1 - ratio))
    np.testing.assert_allclose(w.numpy(), coefficients, atol=1e-8)
    assert np.array_equal(w.numpy() == 0, coefficients == 0)
    assert ratio < 1 or (coefficients == 0).any()


def test_a_rate_that_is_a_tensor() -> None:
    w, same = torch.tensor([1.0, -0.1]), torch.tensor([1.0, -0.1])
    proximal_step_([w], 2.0, torch.tensor(0.1), l2=0.5)
    proximal_step_([same], 2.0, 0.1, l2=0.5)
    torch.testing.assert_close(w, same)
    for bad in ({"l1": -1.0}, {"l1": 0.1, "l2": -1.0}, {"l1": float("nan")}):
        with pytest.raises(ConfigError, match="at least 0"):
            proximal_step_([w], learning_rate=0.1, **bad)
