"""Laplace, power and Student-t: normalisers by quadrature, limits, intervals, and what an outlier does."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.power import Power
from lamina.likelihoods.student_t import StudentT


def seeded_outputs(n: int, width: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def density(likelihood: Likelihood, y: float) -> float:
    outputs = torch.zeros(1, 1, dtype=torch.float64)
    return likelihood.log_prob(outputs, torch.tensor([y], dtype=torch.float64)).exp().item()


@pytest.mark.parametrize(
    "likelihood",
    [Laplace(scale=0.8), Power(1.0, scale=0.8), Power(1.3, scale=2.0), Power(2.0, scale=0.3), StudentT(1, 2.5, 0.7)],
)
def test_L03_density_integrates_to_one(likelihood: Likelihood) -> None:
    half = integrate.quad(lambda y: density(likelihood, y), 0.0, math.inf, epsabs=1e-13, epsrel=1e-12)[0]
    assert abs(2.0 * half - 1.0) < 1e-10


@pytest.mark.parametrize("scale", [None, 0.7])
def test_L03_power_of_one_is_laplace_and_of_two_gaussian(scale: float | None) -> None:
    outputs, y = seeded_outputs(20, 1 if scale else 2), seeded_outputs(20, 1)[:, 0] + 1.0
    torch.testing.assert_close(
        Power(1.0, scale=scale).log_prob(outputs, y), Laplace(scale=scale).log_prob(outputs, y), rtol=1e-13, atol=1e-13
    )
    torch.testing.assert_close(
        Power(1.0, scale=scale).nll_gradient(outputs, y), Laplace(scale=scale).nll_gradient(outputs, y)
    )
    if scale is not None:
        normal = Gaussian(scale=scale / math.sqrt(2.0))
        torch.testing.assert_close(Power(2.0, scale=scale).log_prob(outputs, y), normal.log_prob(outputs, y))
        torch.testing.assert_close(Power(2.0, scale=scale).nll_gradient(outputs, y), normal.nll_gradient(outputs, y))


def test_L03_scale_one_is_the_error_to_the_power() -> None:
    outputs, y = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    loss = [-Power(1.5, 2, scale=1.0).log_prob(outputs, target).item() for target in (y, outputs)]
    assert math.isclose(loss[0] - loss[1], 2**1.5 + 1.0, rel_tol=1e-14)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
def test_L03_two_finite_derivatives_at_the_centre(exponent: float) -> None:
    outputs = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    value = -Power(exponent, scale=1.0).log_prob(outputs, torch.zeros(1)).sum()
    (slope,) = torch.autograd.grad(value, outputs, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), outputs, materialize_grads=True)
    assert slope.item() == 0.0 and curvature.item() == (2.0 if exponent == 2.0 else 0.0)


def test_L02_every_error_pulls_alike() -> None:
    outputs, y = torch.zeros(3, 1), torch.tensor([0.1, 1e3, -5.0])
    assert Laplace(scale=0.5).nll_gradient(outputs, y).flatten().tolist() == [-2.0, -2.0, 2.0]
    loss = -Laplace(scale=1.0).log_prob(outputs, y) - math.log(2.0)
    torch.testing.assert_close(loss, y.abs())


def test_student_t_gives_an_outlier_up() -> None:
    outputs, y = torch.zeros(3, 1).double(), torch.tensor([1.0, 2.0, 1e3]).double()
    pull = StudentT(freedom=4.0, scale=1.0).nll_gradient(outputs, y)[:, 0].abs()
    np.testing.assert_allclose(pull, [1.0, 1.25, 5e3 / (4 + 1e6)], rtol=1e-14)  # largest at √ν


def test_student_t_of_many_degrees_is_gaussian() -> None:
    outputs, y = seeded_outputs(9, 2), torch.zeros(9)
    torch.testing.assert_close(
        StudentT(freedom=1e9).log_prob(outputs, y), Gaussian().log_prob(outputs, y), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
def test_intervals_are_scipys(level: float) -> None:
    outputs = seeded_outputs(5, 2)
    r = outputs[:, 1].numpy()
    m, s = outputs[:, 0].numpy(), np.exp(r / np.sqrt(1 + (r / 14) ** 2))
    for likelihood, theirs in (
        (Laplace(), stats.laplace(m, s)),
        (Power(1.4), stats.gennorm(1.4, m, s)),
        (StudentT(freedom=3.5), stats.t(3.5, m, s)),
    ):
        np.testing.assert_allclose(torch.stack(likelihood.interval(outputs, level)), theirs.interval(level), rtol=1e-9)
        with pytest.raises(ConfigError, match="level must lie strictly"):
            likelihood.interval(outputs, 1.0)


@pytest.mark.parametrize(
    ("likelihood", "theirs"),
    [
        (Laplace(scale=0.5), stats.laplace(0, 0.5)),
        (Power(1.4, scale=2.0), stats.gennorm(1.4, 0, 2.0)),
        (StudentT(freedom=3.5, scale=2.0), stats.t(3.5, 0, 2.0)),
    ],
)
def test_samples_follow_the_distribution_function(likelihood: Likelihood, theirs: stats.rv_continuous) -> None:
    draws = likelihood.sample(torch.zeros(20_000, 1).double(), torch.Generator().manual_seed(1))
    assert stats.kstest(draws.numpy(), theirs.cdf).pvalue > 1e-3
