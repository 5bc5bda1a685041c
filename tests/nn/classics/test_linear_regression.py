"""Linear regression against numpy, scikit-learn and the objective's own minimum."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import linear_regression


def problem(n: int, d: int, t: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) + 1.0
    return x, torch.randn(n, t, generator=g, dtype=torch.float64) - 2.0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(30, 4), (5, 20)])
def test_C39_numpys_least_squares(shape: tuple[int, int], bias: bool) -> None:
    x, y = problem(*shape)
    layer = linear_regression(x, y, bias=bias)
    if bias:
        theirs = LinearRegression().fit(x.numpy(), y.numpy())
        np.testing.assert_allclose(layer.weight.detach().numpy(), theirs.coef_, atol=1e-11)
        np.testing.assert_allclose(layer.bias.detach().numpy(), theirs.intercept_, atol=1e-11)
    else:
        expected = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0]
        np.testing.assert_allclose(layer.weight.detach().numpy().T, expected, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), d=st.integers(1, 12), t=st.integers(1, 3), decay=st.floats(1e-3, 1e3), bias=st.booleans())
def test_C39_scikit_learns_ridge(n: int, d: int, t: int, decay: float, bias: bool) -> None:
    x, y = problem(n, d, t)
    theirs = Ridge(alpha=decay, fit_intercept=bias, solver="svd").fit(x.numpy(), y.numpy())
    ours = linear_regression(x, y, decay=decay, bias=bias)
    np.testing.assert_allclose(ours(x).detach().numpy(), theirs.predict(x.numpy()).reshape(n, t), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.coef_.reshape(t, d), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("error", ["half", "whole", "mean"])
def test_C39_E22_each_objective_has_its_own_minimum(error: str) -> None:
    """The derivative of the objective that the name stands for, by autograd, is zero at the answer, and of no other."""
    x, y = problem(20, 3)
    layer = linear_regression(x, y, decay=0.7, error=error)
    residual = (y - layer(x)).square().sum(1)
    objectives = {
        "half": 0.5 * residual.sum(),
        "whole": residual.sum(),
        "mean": 0.5 * residual.mean(),
    }
    for name, value in objectives.items():
        (slope,) = torch.autograd.grad(value + 0.35 * layer.weight.square().sum(), layer.weight, retain_graph=True)
        assert bool(slope.abs().max() < 1e-10) is (name == error)


def test_C39_the_printed_formula_belongs_to_the_halved_error() -> None:
    x, y = problem(20, 3)
    a, b = x.numpy(), y.numpy()
    printed = np.linalg.inv(a.T @ a + 0.7 * np.eye(3)) @ a.T @ b
    np.testing.assert_allclose(linear_regression(x, y, decay=0.7, bias=False).weight.detach().numpy().T, printed)
    halved = np.linalg.inv(a.T @ a + 0.35 * np.eye(3)) @ a.T @ b
    whole = linear_regression(x, y, decay=0.7, error="whole", bias=False)
    np.testing.assert_allclose(whole.weight.detach().numpy().T, halved)


def test_C39_E29_the_gradient_has_a_minus() -> None:
    x, y = problem(10, 2, 1)
    w = torch.randn(2, 1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(0.5 * (y - x @ w).square().sum(), w)
    torch.testing.assert_close(slope, -(x.mT @ (y - x @ w)).detach())


@pytest.mark.parametrize("case", ["wide", "dependent"])
def test_R06_the_pseudoinverse_is_the_limit_of_ridge(case: str) -> None:
    x, y = problem(6, 15) if case == "wide" else problem(12, 4)
    if case == "dependent":
        x = torch.cat([x, x[:, :2] - x[:, 2:]], dim=1)
    expected = np.linalg.pinv(x.numpy()) @ y.numpy()
    at_limit = linear_regression(x, y, bias=False).weight.detach().numpy().T
    np.testing.assert_allclose(at_limit, expected, atol=1e-10)
    distances = [
        np.abs(linear_regression(x, y, decay=a, bias=False).weight.detach().numpy().T - expected).max()
        for a in (1e-1, 1e-2, 1e-3, 1e-4)
    ]
    for larger, smaller in itertools.pairwise(distances):
        assert 8 < larger / smaller < 12  # the distance falls with α itself


def test_W04_least_squares_on_xor_says_one_half() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0.0, 1.0, 1.0, 0.0])
    layer = linear_regression(x, y)
    assert layer.weight.abs().max() < 1e-7
    assert layer.bias.item() == pytest.approx(0.5, abs=1e-7)
    assert layer(x).flatten().tolist() == pytest.approx([0.5] * 4)
    assert (layer(x).flatten() - y).square().mean().item() == pytest.approx(0.25)


def test_type_and_vector_targets() -> None:
    x, y = problem(9, 3)
    layer = linear_regression(x.float(), y[:, 0].float())
    assert (layer.weight.dtype, layer.out_features) == (torch.float32, 1)
    assert linear_regression(x, y, bias=False).bias is None


def test_refusals() -> None:
    x, y = problem(9, 3)
    with pytest.raises(ConfigError, match="decay"):
        linear_regression(x, y, decay=-1.0)
    with pytest.raises(ConfigError, match="error"):
        inspect.unwrap(linear_regression)(x, y, error="sum")  # the annotations would refuse it before
    with pytest.raises(ConfigError, match="target must be finite"):
        linear_regression(x, y.log())
