"""A constant network fitted by maximum likelihood finds the sample's own moments, to the last digits."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor

from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.power import Power
from lamina.likelihoods.student_t import StudentT


def fitted(likelihood: Likelihood, target: Tensor, mutant: float = 1.0) -> Tensor:
    """Minimise the mean loss over one shared output vector, by L-BFGS in float64."""
    constant = torch.zeros(likelihood.n_outputs, dtype=torch.float64, requires_grad=True)
    exact = {"tolerance_grad": 1e-13, "tolerance_change": 0.0, "max_iter": 500}
    optimizer = torch.optim.LBFGS([constant], line_search_fn="strong_wolfe", **exact)

    def closure() -> Tensor:
        optimizer.zero_grad()
        outputs = constant.expand(len(target), -1)
        loss = -likelihood.log_prob(mutant * outputs if mutant != 1.0 else outputs, target).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return constant.detach()[None]


G = torch.Generator().manual_seed(0)
REAL = 3.0 + 2.0 * torch.randn(200, generator=G, dtype=torch.float64)
COUNTS = torch.poisson(torch.full((200,), 4.3, dtype=torch.float64), generator=G)
CODES = torch.randint(0, 3, (200,), generator=G)
YES = (torch.rand(200, generator=G) < 0.3).long()


@pytest.mark.parametrize("mutant", [1.0, 1.01])
def test_L07_gaussian_finds_mean_and_variance(mutant: float) -> None:
    best = fitted(Gaussian(), REAL, mutant)
    y = REAL.numpy()
    found = (Gaussian().mean(best).item(), Gaussian().spread(best).item())
    assert np.allclose(found, (np.mean(y), np.std(y)), rtol=1e-7) is (mutant == 1.0)


def test_L06_fixed_spread_finds_the_mean() -> None:
    assert math.isclose(Gaussian(scale=0.7).mean(fitted(Gaussian(scale=0.7), REAL)).item(), REAL.mean(), rel_tol=1e-9)


def test_poisson_finds_the_rate() -> None:
    assert math.isclose(Poisson().mean(fitted(Poisson(), COUNTS)).item(), COUNTS.mean(), rel_tol=1e-8)


def test_bernoulli_finds_the_frequency() -> None:
    assert math.isclose(Bernoulli().mean(fitted(Bernoulli(), YES)).item(), YES.double().mean(), rel_tol=1e-8)


def test_categorical_finds_the_frequencies() -> None:
    expected = np.bincount(CODES.numpy(), minlength=3) / len(CODES)
    np.testing.assert_allclose(Categorical(3).mean(fitted(Categorical(3), CODES))[0], expected, rtol=1e-7)


def test_smoothing_keeps_a_share_for_the_others() -> None:
    smoothed = Categorical(3, smoothing=0.2)
    np.testing.assert_allclose(smoothed.mean(fitted(smoothed, torch.ones(5).long()))[0], [0.1, 0.8, 0.1], rtol=1e-7)


def test_heads_find_each_of_them() -> None:
    heads = Heads((Gaussian(), Categorical(3), Poisson()), ("size", "kind", "count"))
    best = fitted(heads, torch.stack([REAL, CODES.double(), COUNTS], dim=1))
    frequencies = np.bincount(CODES.numpy(), minlength=3) / len(CODES)
    expected = [REAL.mean().item(), *frequencies, COUNTS.mean().item()]
    np.testing.assert_allclose(heads.mean(best)[0], expected, rtol=1e-6)


SKEWED = torch.exp(REAL[:199] / 2.0)  # an odd number, so that the median is one of them; its mean lies far to the right


def test_L02_laplace_finds_the_median_and_the_mean_absolute_error() -> None:
    y = np.sort(SKEWED.numpy())
    median = y[99]
    assert abs(y.mean() - median) > 0.5
    likelihood = Laplace()
    log_b = math.log(np.abs(y - median).mean())
    raw = log_b / math.sqrt(1 - (log_b / 14) ** 2)
    best = torch.tensor([[median, raw]], dtype=torch.float64)
    gradient = likelihood.nll_gradient(best.expand(199, -1), SKEWED).mean(0)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("scale", [None, 0.7])
def test_L02_any_other_constant_than_the_median_is_worse(scale: float | None) -> None:
    likelihood, median = Laplace(scale=scale), SKEWED.median().item()

    def loss(at: float) -> float:
        outputs = torch.zeros(199, likelihood.n_outputs, dtype=torch.float64)
        outputs[:, 0] = at
        return -likelihood.log_prob(outputs, SKEWED).mean().item()

    candidates = [*SKEWED.tolist(), SKEWED.mean().item(), median - 1e-6, median + 1e-6]
    assert loss(median) == min(map(loss, candidates)) < loss(SKEWED.mean().item()) - 1e-3


def test_L03_power_of_two_finds_the_mean_and_of_one_and_a_half_its_own_centre() -> None:
    y = SKEWED.numpy()
    assert math.isclose(Power(2.0).mean(fitted(Power(2.0), SKEWED)).item(), y.mean(), rel_tol=1e-7)
    centre = optimize.brentq(lambda c: (np.sign(y - c) * np.abs(y - c) ** 0.5).sum(), y.min(), y.max(), xtol=1e-13)
    scale = (1.5 * np.mean(np.abs(y - centre) ** 1.5)) ** (1 / 1.5)  # where the derivative by log s is zero
    low, high = Power(1.5).interval(fitted(Power(1.5), SKEWED), 0.9)
    expected = stats.gennorm(1.5, centre, scale).interval(0.9)
    np.testing.assert_allclose([low.item(), high.item()], expected, rtol=1e-6)


def test_student_t_finds_what_reweighting_finds() -> None:
    y, v = SKEWED.numpy(), 3.0
    centre, square = y.mean(), y.var()
    for _ in range(2000):  # the EM algorithm of the t distribution
        weight = (v + 1) / (v + (y - centre) ** 2 / square)
        centre = (weight * y).sum() / weight.sum()
        square = (weight * (y - centre) ** 2).mean()
    low, high = StudentT(freedom=v).interval(fitted(StudentT(freedom=v), SKEWED), 0.9)
    expected = stats.t(v, centre, math.sqrt(square)).interval(0.9)
    np.testing.assert_allclose([low.item(), high.item()], expected, rtol=1e-6)


def test_full_gaussian_finds_mean_and_covariance() -> None:
    mixing = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-1.0, 0.3, 2.0]], dtype=torch.float64)
    y = torch.randn(200, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64) @ mixing.T + 1.0
    best = fitted(FullGaussian(3), y)
    np.testing.assert_allclose(FullGaussian(3).mean(best)[0], y.mean(0), rtol=1e-6)
    np.testing.assert_allclose(FullGaussian(3).covariance(best)[0], np.cov(y.numpy().T, bias=True), rtol=1e-6)
