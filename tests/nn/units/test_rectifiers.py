"""Rectifiers: the noisy one against closed forms of a rectified Gaussian, PyTorch's own against the definitions."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.units import NoisyReLU

Z = torch.linspace(-6, 6, 241, dtype=torch.float64)


def derivative(unit: nn.Module, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(unit(z).sum(), z)
    return gradient


def by_hand(function, z: Tensor) -> Tensor:
    return torch.tensor([function(x) for x in z.tolist()], dtype=torch.float64)


def test_C08_biases_of_a_tenth_make_units_begin_active() -> None:
    """With b = 0.1 every unit is on at x = 0 and passes its gradient; with b = 0 none does."""
    for bias, share in ((0.1, 1.0), (0.0, 0.0)):
        layer = nn.Linear(5, 40)
        nn.init.constant_(layer.bias, bias)
        h = nn.ReLU()(layer(torch.zeros(1, 5)))
        (gradient,) = torch.autograd.grad(h.sum(), layer.bias)
        assert (h > 0).float().mean().item() == share
        assert gradient.mean().item() == share


@pytest.mark.parametrize("slope", [0.1, 0.01])
def test_C10_leaky_relu_and_its_derivative(slope: float) -> None:
    unit = nn.LeakyReLU(slope)
    torch.testing.assert_close(unit(Z), by_hand(lambda z: max(0, z) + slope * min(0, z), Z), rtol=0, atol=0)
    torch.testing.assert_close(derivative(unit, Z), by_hand(lambda z: 1.0 if z > 0 else slope, Z), rtol=0, atol=0)


def test_C11_slope_minus_one_is_the_absolute_value() -> None:
    unit = nn.LeakyReLU(-1.0)
    assert torch.equal(unit(Z), Z.abs())
    assert torch.equal(unit(-Z), unit(Z))  # polarity does not matter
    away = Z[Z.abs() > 1e-3]
    assert torch.equal(derivative(unit, away), away.sign())
    assert derivative(unit, torch.zeros(1)).item() == -1.0  # at 0 the one from the left


def test_C12_prelu_learns_its_slopes() -> None:
    """∂L/∂a_i = Σ_n min(0, z_ni) δ_ni."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    delta = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    unit = nn.PReLU(3, dtype=torch.float64)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([0.25, -0.5, 2.0]))
    slopes = unit.weight.tolist()
    out = unit(z)
    dz, da = torch.autograd.grad((out * delta).sum(), (z, unit.weight))
    for i in range(3):
        column = [(z[n, i].item(), delta[n, i].item()) for n in range(7)]
        assert da[i].item() == pytest.approx(sum(min(0, v) * d for v, d in column))
        for n, (v, d) in enumerate(column):
            assert out[n, i].item() == pytest.approx(max(0, v) + slopes[i] * min(0, v))
            assert dz[n, i].item() == pytest.approx(d * (1.0 if v > 0 else slopes[i]))
    assert nn.PReLU().weight.tolist() == [0.25]  # the paper's start


def test_C13_elu_of_the_course() -> None:
    for a in (1.0, 0.5):
        unit = nn.ELU(a)
        torch.testing.assert_close(unit(Z), by_hand(lambda z, a=a: z if z > 0 else a * math.expm1(z), Z))
        torch.testing.assert_close(derivative(unit, Z), by_hand(lambda z, a=a: 1.0 if z > 0 else a * math.exp(z), Z))


def softplus(z: float) -> float:
    """log(1 + e^z) with 400 decimal places."""
    with localcontext() as context:
        context.prec = 400
        return float((1 + Decimal(z).exp()).ln())


def test_C18_softplus_to_the_last_place_and_at_the_ends() -> None:
    z = torch.cat(
        (Z, torch.tensor([-700.0, -100.0, -30.0, 15.0, 19.9, 20.1, 25.0, 39.0, 41.0, 100.0, 1000.0]).double())
    )
    expected = by_hand(softplus, z)
    # PyTorch takes z itself above its threshold: at the default of 20 that is 2.1e-9 off, less than float32 can show.
    torch.testing.assert_close(nn.Softplus(threshold=40)(z), expected, rtol=4e-16, atol=0)
    error = (nn.Softplus()(z) - expected).abs()
    assert error.max() < math.exp(-20)
    assert error.max() > 1e-9
    torch.testing.assert_close(nn.Softplus()(z.float()), expected.float(), rtol=3e-7, atol=0)
    sigmoid = by_hand(lambda v: 1 / (1 + math.exp(-v)), z)
    torch.testing.assert_close(derivative(nn.Softplus(threshold=40), z), sigmoid, rtol=1e-14, atol=0)
    ends = torch.tensor([-1e4, 1e4])
    assert nn.Softplus()(ends).tolist() == [0.0, 1e4]
    assert derivative(nn.Softplus(), ends).tolist() == [0.0, 1.0]


def test_C19_hard_tanh() -> None:
    unit = nn.Hardtanh()
    assert torch.equal(unit(Z), by_hand(lambda z: max(-1.0, min(1.0, z)), Z))
    inside = Z[Z.abs() != 1]
    assert torch.equal(derivative(unit, inside), by_hand(lambda z: float(-1 < z < 1), inside))


# Noisy ReLU


def rectified(mean: float, std: float) -> tuple[float, float]:
    """Mean and variance of max(0, mean + std · N(0, 1))."""
    a = mean / std
    above, density = 0.5 * math.erfc(-a / math.sqrt(2)), math.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    first = mean * above + std * density
    second = (mean**2 + std**2) * above + mean * std * density
    return first, second - first**2


@pytest.mark.parametrize("std", [0.5, 1.0, 3.0, None], ids=str)
@pytest.mark.parametrize("z", [-1.0, 0.0, 0.7, 2.0])
def test_C09_mean_and_variance_of_a_rectified_gaussian(z: float, std: float | None) -> None:
    n = 200_000
    unit = NoisyReLU(std, torch.Generator().manual_seed(1))
    sigma = 1 / math.sqrt(1 + math.exp(-z)) if std is None else std
    draws = unit(torch.full((n,), z, dtype=torch.float64))
    mean, variance = rectified(z, sigma)
    assert abs(draws.mean().item() - mean) < 4 * math.sqrt(variance / n)
    spread = (draws - mean).square()
    assert abs(spread.mean().item() - variance) < 4 * spread.std().item() / math.sqrt(n)


def test_C09_noise_only_while_training() -> None:
    unit = NoisyReLU(2.0)
    assert (unit(Z) != nn.ReLU()(Z)).any()
    state = torch.random.get_rng_state()
    assert torch.equal(unit.eval()(Z), nn.ReLU()(Z))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_C09_the_generator_decides() -> None:
    draws = [NoisyReLU(1.0, torch.Generator().manual_seed(seed))(Z) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    unit = NoisyReLU(1.0, torch.Generator().manual_seed(3))
    assert not torch.equal(unit(Z), unit(Z))
    a, b = unit(torch.full((2, 50_000), 3.0))
    assert abs(torch.corrcoef(torch.stack((a, b)))[0, 1].item()) < 4 / math.sqrt(50_000)


@settings(deadline=None)
@given(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.1, 1.0, None]))
def test_C09_gradient_is_the_switch_and_finite(z: float, std: float | None) -> None:
    x = torch.full((64,), z, requires_grad=True)
    out = NoisyReLU(std, torch.Generator().manual_seed(0))(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.isfinite().all()
    if std is not None:
        assert torch.equal(gradient, (out > 0).float())


def test_C09_the_papers_noise_grows_with_the_input() -> None:
    """g = z + sqrt(sigmoid(z)) e where positive: differences with the noise held fixed."""

    def unit(z: Tensor) -> Tensor:
        return NoisyReLU(None, torch.Generator().manual_seed(5))(z)

    z = Z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(unit(z).sum(), z)
    step = 1e-6
    numeric = (unit(Z + step) - unit(Z - step)) / (2 * step)
    torch.testing.assert_close(gradient, numeric, rtol=0, atol=1e-8)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_C09_std_above_zero(bad: float) -> None:
    with pytest.raises(ConfigError, match="NoisyReLU: std must be"):
        NoisyReLU(bad)


def test_C09_what_is_printed() -> None:
    assert [repr(NoisyReLU(0.5)), repr(NoisyReLU(None))] == ["NoisyReLU(std=0.5)", "NoisyReLU(std=None)"]
