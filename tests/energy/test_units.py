"""Unit types against sums over their values, quadrature, SciPy's dilogarithm, and the copies they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from energy.oracle import log_sum, states
from lamina.energy.units import Bernoulli, Binomial, Gaussian, Rectified, Softmax, Units
from lamina.errors import ConfigError

THETA = torch.tensor([[-1.3, 0.4, 2.1, -0.2], [0.7, -2.0, 0.1, 1.5]], dtype=torch.float64)
LOG_CHOOSE = {0.0: 0.0, 1.0: math.log(3), 2.0: math.log(3), 3.0: 0.0}
COUNTED: list[tuple[Units, list[list[float]], int]] = [
    (Bernoulli(), [[0.0], [1.0]], 4),
    (Binomial(3), [[0.0], [1.0], [2.0], [3.0]], 4),
    (Softmax(2), [[1.0, 0.0], [0.0, 1.0]], 2),
    (Softmax(4), np.eye(4).tolist(), 1),
]
ALL: list[Units] = [unit for unit, _, _ in COUNTED] + [Gaussian(), Rectified()]


def log_base(unit: Units, x: np.ndarray) -> np.ndarray:
    if isinstance(unit, Binomial):
        return np.array([sum(LOG_CHOOSE[float(value)] for value in row) for row in x])
    return np.zeros(len(x))


@pytest.mark.parametrize(("unit", "values", "sites"), COUNTED)
def test_partition_and_mean_are_sums_over_the_values(unit: Units, values: list[list[float]], sites: int) -> None:
    x = states(values, sites)
    exponent = THETA.numpy() @ x.T + log_base(unit, x)
    np.testing.assert_allclose(unit.log_partition(THETA).numpy(), log_sum(exponent, axis=1), rtol=1e-13)
    p = np.exp(exponent - log_sum(exponent, axis=1)[:, None])
    np.testing.assert_allclose(unit.mean(THETA).numpy(), p @ x, rtol=1e-12)
    np.testing.assert_allclose(unit.log_base(torch.from_numpy(x)).numpy(), log_base(unit, x), atol=1e-13)
    assert sorted(map(tuple, unit.values().tolist())) == sorted(map(tuple, values))


@pytest.mark.parametrize(("unit", "values", "sites"), COUNTED)
def test_samples_have_the_states_probabilities(unit: Units, values: list[list[float]], sites: int) -> None:
    n, x = 20_000, states(values, sites)
    exponent = THETA[0].numpy() @ x.T + log_base(unit, x)
    p = np.exp(exponent - log_sum(exponent))
    drawn = unit.sample(THETA[:1].expand(n, -1), torch.Generator().manual_seed(1)).numpy()
    counts = np.array([(drawn == row).all(1).sum() for row in x])
    assert counts.sum() == n
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)) + 1).all()


@pytest.mark.parametrize("unit", ALL, ids=str)
def test_the_mean_is_the_partitions_derivative_and_natural_its_inverse(unit: Units) -> None:
    theta = THETA.clone().requires_grad_()
    (slope,) = torch.autograd.grad(unit.log_partition(theta).sum(), theta)
    torch.testing.assert_close(slope, unit.mean(THETA), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(unit.mean(unit.natural(unit.mean(THETA))), unit.mean(THETA))


def test_gaussian_against_quadrature() -> None:
    theta, unit = 0.7, Gaussian()

    def density(x: float) -> float:
        return math.exp(theta * x + float(unit.log_base(torch.tensor([x], dtype=torch.float64))))

    total = integrate.quad(density, -12, 12)[0]
    assert math.isclose(
        float(unit.log_partition(torch.tensor([theta], dtype=torch.float64))), math.log(total), rel_tol=1e-10
    )
    bias = torch.tensor([0.4, -1.2], dtype=torch.float64)
    assert math.isclose(float(unit.offset(bias)), 0.5 * (0.16 + 1.44), rel_tol=1e-12)


def test_gaussian_samples_have_unit_variance() -> None:
    drawn = Gaussian().sample(torch.full((40_000,), 0.5, dtype=torch.float64), torch.Generator().manual_seed(0))
    assert abs(float(drawn.mean()) - 0.5) < 5 / 200
    assert abs(float(drawn.var()) - 1.0) < 5 * math.sqrt(2 / 40_000)


def test_rectified_partition_is_the_dilogarithm() -> None:
    theta = np.linspace(-30.0, 30.0, 241)
    expected = -special.spence(1.0 + np.exp(theta))  # SciPy's spence(1 - z) is Li₂(z)
    ours = Rectified().log_partition(torch.from_numpy(theta)[:, None]).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


def test_rectified_is_nearly_a_sum_of_binary_copies() -> None:
    theta = torch.linspace(-6, 12, 37, dtype=torch.float64)
    copies = theta[:, None] - torch.arange(1, 80) + 0.5
    summed = torch.log1p(torch.exp(copies)).sum(1)
    gap = Rectified().log_partition(theta[:, None]) - summed
    torch.testing.assert_close(gap, theta.sigmoid() / 24, rtol=0, atol=3e-4)  # the midpoint rule's first error
    assert (copies.sigmoid().sum(1) - Rectified().mean(theta)).abs().max() < 0.011


def test_rectified_samples_are_the_papers() -> None:
    theta = torch.full((40_000,), 0.8, dtype=torch.float64)
    drawn = Rectified().sample(theta, torch.Generator().manual_seed(0))
    sigma = math.sqrt(1 / (1 + math.exp(-0.8)))
    z = 0.8 / sigma
    above, density = 0.5 * math.erfc(-z / math.sqrt(2)), math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    assert abs(float(drawn.mean()) - (0.8 * above + sigma * density)) < 5 * float(drawn.std()) / 200
    assert abs(float((drawn == 0).double().mean()) - (1 - above)) < 5 * math.sqrt(above * (1 - above)) / 200
    assert float(drawn.min()) == 0.0


def test_same_generator_same_draws() -> None:
    for unit in ALL:
        first, second = (unit.sample(THETA, torch.Generator().manual_seed(3)) for _ in range(2))
        assert first.dtype == torch.float64
        assert torch.equal(first, second)


def test_what_has_no_meaning_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="Softmax: 5 visible units are not whole groups of 2"):
        Softmax(2).check(5, "visible")
    with pytest.raises(ConfigError, match="Gaussian: the variance of a hidden unit"):
        Gaussian().check(5, "hidden")
    with pytest.raises(ConfigError, match=r"Rectified: .*can only be hidden"):
        Rectified().check(5, "visible")
    with pytest.raises(ConfigError, match="Rectified: has no energy"):
        Rectified().log_base(THETA)
    with pytest.raises(ConfigError, match="Binomial: n must"):
        Binomial(0)
    with pytest.raises(ConfigError, match="Softmax: k must"):
        Softmax(1)
