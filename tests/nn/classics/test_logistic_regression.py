"""Logistic regression against scikit-learn, central differences, and the cases without a minimum."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from lamina.errors import ConfigError, DivergedError
from lamina.nn.classics import logistic_derivatives, logistic_regression


def problem(n: int = 200, d: int = 3, seed: int = 0, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) * torch.arange(1, d + 1) + 0.5
    z = x @ torch.linspace(-1, 1, d, dtype=torch.float64) - 0.3
    return x, (torch.rand(n, generator=g, dtype=torch.float64) < torch.sigmoid(z / noise)).long()


def cross_entropy(w: np.ndarray, x: np.ndarray, t: np.ndarray) -> float:
    """Σ log(1 + e^z) - t z, in extended precision."""
    z = (x @ w).astype(np.longdouble)
    return float((np.log1p(np.exp(z)) - t * z).sum())


@pytest.mark.parametrize("strength", [np.inf, 2.0, 0.01])
def test_C40_scikit_learns_optimum(strength: float) -> None:
    x, t = problem()
    theirs = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x.numpy(), t)
    ours = logistic_regression(x, t, decay=0.0 if strength == np.inf else 1 / strength)
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.coef_, rtol=1e-7)
    np.testing.assert_allclose(ours.bias.detach().numpy(), theirs.intercept_, rtol=1e-7)
    probability = torch.sigmoid(ours(x)).squeeze(1)
    np.testing.assert_allclose(probability.detach().numpy(), theirs.predict_proba(x.numpy())[:, 1], rtol=1e-6)


def test_C40_E12_gradient_and_hessian_are_those_of_central_differences() -> None:
    x, t = problem(20)
    w = np.array([0.3, -0.2, 0.5])
    loss, gradient, hessian = logistic_derivatives(torch.from_numpy(w), x, t.double())
    a, b, h = x.numpy(), t.numpy(), 1e-4
    assert loss.item() == pytest.approx(cross_entropy(w, a, b), rel=1e-12)
    eye = np.eye(3) * h
    first = [(cross_entropy(w + e, a, b) - cross_entropy(w - e, a, b)) / (2 * h) for e in eye]
    np.testing.assert_allclose(gradient.numpy(), first, rtol=1e-6)
    second = [
        [
            sum(s * r * cross_entropy(w + s * e + r * f, a, b) for s in (1, -1) for r in (1, -1)) / (4 * h * h)
            for e in eye
        ]
        for f in eye
    ]
    np.testing.assert_allclose(hessian.numpy(), second, rtol=1e-5)


def test_C40_derivatives_are_finite_for_any_logit() -> None:
    x = torch.tensor([[1e4], [-1e4]])
    loss, gradient, hessian = logistic_derivatives(torch.ones(1), x, torch.tensor([0.0, 1.0]))
    assert loss.item() == 2e4
    assert gradient.item() == 2e4
    assert hessian.item() == 0.0


@settings(max_examples=20, deadline=None)
@example(seed=258, decay=1 / 3, scale=25.0078125)  # the decrease drowned in rounding
@given(seed=st.integers(0, 1000), decay=st.floats(0.01, 100), scale=st.floats(0.01, 30))
def test_C40_the_gradient_vanishes_at_the_answer(seed: int, decay: float, scale: float) -> None:
    x, t = problem(30, 2, seed)
    x = x * scale
    layer = logistic_regression(x, t, decay=decay)
    weight, bias = (p.detach() for p in layer.parameters())
    z = (x @ weight.mT).squeeze(1) + bias
    error = torch.sigmoid(z) - t
    assert error.sum().abs() < 1e-6
    assert (error @ x + decay * weight[0]).abs().max() < 1e-6 * max(1.0, float(x.abs().sum(0).max()))


def test_C40_halved_steps_lead_to_the_same_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for more than half of the promised decrease, which no whole Newton step on a parabola brings."""
    x, t = problem()
    whole = logistic_regression(x, t)
    monkeypatch.setattr(sys.modules[logistic_regression.__module__], "_ARMIJO", 0.6)
    halved = logistic_regression(x, t)
    torch.testing.assert_close(halved.weight, whole.weight, rtol=1e-6, atol=1e-8)
    assert not torch.equal(halved.weight, whole.weight)


def test_C40_one_far_example_does_not_lead_astray() -> None:
    x = torch.tensor([[-1.0], [1.0], [-0.5], [0.5], [200.0]], dtype=torch.float64)
    t = torch.tensor([0, 1, 1, 0, 0])
    layer = logistic_regression(x, t)
    weight = np.append(layer.weight.detach().numpy(), layer.bias.detach().numpy())
    rows = np.column_stack([x.numpy(), np.ones(5)])
    best = cross_entropy(weight, rows, t.numpy())
    for step in np.random.default_rng(0).normal(size=(50, 2)) * 1e-3:
        assert cross_entropy(weight + step * np.abs(weight), rows, t.numpy()) > best


def test_C40_dependent_columns_give_the_same_predictions() -> None:
    x, t = problem()
    twice = torch.cat([x, x[:, :1] + x[:, 1:2]], dim=1)
    torch.testing.assert_close(logistic_regression(twice, t)(twice), logistic_regression(x, t)(x), rtol=1e-6, atol=1e-8)


def test_C40_without_a_minimum_it_says_so() -> None:
    x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.raises(DivergedError, match="separates the classes"):
        logistic_regression(x, torch.tensor([0, 0, 1, 1]))
    with pytest.raises(DivergedError, match="some examples may lie on it"):  # all but the examples at 0 are separated
        logistic_regression(torch.tensor([[-1.0], [0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1, 1]))
    assert logistic_regression(x, torch.tensor([0, 0, 1, 1]), decay=0.1).weight.item() > 0
    with pytest.raises(DivergedError, match="1 steps"):
        logistic_regression(*problem(), max_iterations=1)
    with pytest.raises(ConfigError, match="hold 0 and 1"):
        logistic_regression(x, torch.tensor([0, 1, 2, 1]))
    with pytest.raises(ConfigError, match="decay"):
        logistic_regression(x, torch.tensor([0, 1, 0, 1]), decay=float("inf"))
