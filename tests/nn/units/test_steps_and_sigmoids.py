"""Step, sigmoid and tanh units against Python's own mathematics."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.units import Heaviside, ScaledSigmoid, ScaledTanh

Z = torch.linspace(-6, 6, 241, dtype=torch.float64)


def derivative(unit: nn.Module, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(unit(z).sum(), z)
    return gradient


def by_hand(function, z: Tensor) -> Tensor:
    return torch.tensor([function(x) for x in z.tolist()], dtype=torch.float64)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_C03_step_fires_at_zero_and_above(values: list[float]) -> None:
    z = torch.tensor(values)
    for unit in (Heaviside(), Heaviside(straight_through=True)):
        got = unit(z)
        assert got.dtype == z.dtype
        assert got.tolist() == [1.0 if x >= 0 else 0.0 for x in values]


def test_C03_the_tie_decides_exclusive_or() -> None:
    """x1 xor x2 = U(z2 - z1 - 1) with z1 = U(x1 + x2 - 2), z2 = U(x1 + x2 - 1): every active unit stands at 0."""
    step = Heaviside()
    for x1, x2 in itertools.product((0.0, 1.0), repeat=2):
        z1, z2 = step(torch.tensor(x1 + x2 - 2)), step(torch.tensor(x1 + x2 - 1))
        assert step(z2 - z1 - 1).item() == float(x1 != x2)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # PyTorch's own, from jvp
def test_C03_no_gradient_unless_straight_through() -> None:
    z = torch.tensor([-2.0, 0.0, 3.0, math.inf], requires_grad=True)
    assert not Heaviside()(z).requires_grad
    weights = torch.tensor([1.0, 2.0, -3.0, 4.0])
    out = Heaviside(straight_through=True)(z)
    (gradient,) = torch.autograd.grad((weights * out).sum(), z)
    assert out.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert torch.equal(gradient, weights)
    unit = Heaviside(straight_through=True)
    value, tangent = torch.func.jvp(unit, (z.detach(),), (weights,))
    assert torch.equal(tangent, weights)
    assert torch.equal(torch.func.vmap(unit)(z.detach()), value)


@pytest.mark.parametrize("slope", [0.5, 1.0, 3.0])
def test_C04_sigmoid_with_a_slope(slope: float) -> None:
    unit = ScaledSigmoid(slope)
    g = unit(Z)
    torch.testing.assert_close(g, by_hand(lambda z: 1 / (1 + math.exp(-slope * z)), Z))
    torch.testing.assert_close(derivative(unit, Z), slope * g * (1 - g))
    step = 1e-6
    torch.testing.assert_close(derivative(unit, Z), (unit(Z + step) - unit(Z - step)) / (2 * step), rtol=0, atol=1e-9)
    ends = torch.tensor([-1000.0, 1000.0])
    assert unit(ends).tolist() == [0.0, 1.0]
    assert derivative(unit, ends).tolist() == [0.0, 0.0]


def test_C04_slope_one_is_torchs_and_a_steep_one_is_the_step() -> None:
    assert torch.equal(ScaledSigmoid()(Z), nn.Sigmoid()(Z))
    away = Z[Z.abs() > 1e-3]
    torch.testing.assert_close(ScaledSigmoid(1e4)(away), Heaviside()(away), rtol=0, atol=1e-12)


def test_C05_tanh_is_a_sigmoid_of_twice_the_slope() -> None:
    torch.testing.assert_close(ScaledTanh(1.0, 1.0)(Z), 2 * ScaledSigmoid(2.0)(Z) - 1)
    assert torch.equal(ScaledTanh(1.0, 1.0)(Z), nn.Tanh()(Z))


@pytest.mark.parametrize("scale, slope", [(1.716, 2 / 3), (1.0, 2.0), (0.3, 1.0)])
def test_C05_scaled_tanh_and_its_derivative(scale: float, slope: float) -> None:
    unit = ScaledTanh(scale, slope)
    g = unit(Z)
    torch.testing.assert_close(g, by_hand(lambda z: scale * math.tanh(slope * z), Z))
    torch.testing.assert_close(derivative(unit, Z), slope * (scale - g**2 / scale))
    if scale == 1.0:
        torch.testing.assert_close(derivative(unit, Z), slope * (1 - g**2))  # the course's α (1 - g²)


def test_W33_one_goes_to_one() -> None:
    assert ScaledTanh()(torch.tensor(1.0, dtype=torch.float64)).item() == pytest.approx(1.00006, abs=5e-6)
    z = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(ScaledTanh()(z), z, create_graph=True)
    (second,) = torch.autograd.grad(first, z, create_graph=True)
    (third,) = torch.autograd.grad(second, z)
    # The second derivative is largest near 1: that of tanh at artanh(1/√3) · 3/2 = 0.988.
    assert second.item() < 0
    assert abs(third.item()) < 0.02


@pytest.mark.parametrize("make", [lambda x: ScaledSigmoid(x), lambda x: ScaledTanh(x), lambda x: ScaledTanh(1.0, x)])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan], ids=str)
def test_numbers_that_are_not_above_zero(make, bad) -> None:
    with pytest.raises(ConfigError, match="must be a finite number above 0"):
        make(bad)


def test_what_is_printed() -> None:
    assert repr(Heaviside()) == "Heaviside(straight_through=False)"
    assert repr(ScaledSigmoid(2.0)) == "ScaledSigmoid(slope=2)"
    assert repr(ScaledTanh()) == "ScaledTanh(scale=1.716, slope=0.666667)"
