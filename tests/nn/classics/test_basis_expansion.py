"""Polynomial basis against numpy's polynomials."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import ConfigError
from lamina.nn.classics import PolynomialBasis, linear_regression


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_C41_polyfit(degree: int) -> None:
    g = np.random.default_rng(0)
    x = g.uniform(-1, 1, 40)
    y = np.sin(3 * x) + 0.1 * g.normal(size=40)
    basis = PolynomialBasis(degree)
    layer = linear_regression(basis(torch.from_numpy(x).unsqueeze(1)), torch.from_numpy(y), bias=False)
    np.testing.assert_allclose(
        layer.weight[0].detach().numpy(), np.polynomial.polynomial.polyfit(x, y, degree), rtol=1e-9
    )


@settings(max_examples=30, deadline=None)
@given(degree=st.integers(1, 6), d=st.integers(1, 4), constant=st.booleans(), seed=st.integers(0, 99))
def test_C41_every_power_of_every_input_in_order(degree: int, d: int, constant: bool, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(2, 3, d))
    found = PolynomialBasis(degree, constant)(torch.from_numpy(x)).numpy()
    powers = [x**p for p in range(1, degree + 1)]
    expected = np.concatenate([np.ones((2, 3, 1))] * constant + powers, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_C41_the_courses_basis() -> None:
    assert PolynomialBasis(2)(torch.tensor([[3.0]])).tolist() == [[1.0, 3.0, 9.0]]
    assert repr(PolynomialBasis(2)) == "PolynomialBasis(degree=2, constant=True)"


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="degree"):
        PolynomialBasis(0)
