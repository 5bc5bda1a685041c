"""Gaussian, Bernoulli and Poisson: intervals, tails and limits against scipy and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Gaussian, Heads, Poisson


@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
def test_gaussian_interval_is_scipys(level: float) -> None:
    outputs = torch.tensor([[0.0, 0.0], [3.0, 1.0], [-2.0, -1.5]], dtype=torch.float64)
    low, high = Gaussian().interval(outputs, level)
    expected = stats.norm.interval(level, Gaussian().mean(outputs), Gaussian().spread(outputs))
    np.testing.assert_allclose(torch.stack([low, high]), expected, rtol=1e-12)


@given(log_rate=st.floats(-12, 17), level=st.floats(0.01, 0.999))
@settings(max_examples=300, deadline=None)
def test_poisson_interval_is_scipys(log_rate: float, level: float) -> None:
    outputs = torch.tensor([[log_rate]], dtype=torch.float64)
    low, high = Poisson().interval(outputs, level)
    rate = Poisson().mean(outputs).item()
    for ours, q in ((low.item(), (1 - level) / 2), (high.item(), (1 + level) / 2)):
        theirs = stats.poisson.ppf(q, rate)
        if ours != theirs:  # q within rounding of a step of the distribution
            assert abs(stats.poisson.cdf(min(ours, theirs), rate) - q) < 1e-9


def test_L01_scale_one_is_squared_error() -> None:
    outputs, y = torch.tensor([[1.0], [2.0]]).double(), torch.tensor([3.0, -1.0]).double()
    expected = 0.5 * (outputs[:, 0] - y) ** 2 + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(-Gaussian(scale=1.0).log_prob(outputs, y), expected, rtol=1e-15, atol=0)
    torch.testing.assert_close(Gaussian(scale=1.0).nll_gradient(outputs, y)[:, 0], outputs[:, 0] - y)


def test_M18_spread_is_floored_and_its_slope_never_vanishes() -> None:
    outputs = torch.tensor([[0.0, -1e4], [0.0, 1e4]], requires_grad=True)
    spread = Gaussian().spread(outputs)
    assert spread[0] >= math.exp(-14) * 0.999 and spread[1] <= math.exp(14) * 1.001
    (-Gaussian().log_prob(outputs, torch.tensor([1.0, 1.0]))).sum().backward()
    assert outputs.grad is not None and outputs.grad[0, 1] < 0 < outputs.grad[1, 1]  # both are driven back


def test_outputs_for_a_mean_and_a_spread_have_them() -> None:
    mean, spread = torch.tensor([-3.0, 0.0, 1e4]).double(), torch.tensor([1e-6, 0.7, 1e6]).double()
    outputs = Gaussian().outputs_for(mean, spread)
    torch.testing.assert_close(Gaussian().mean(outputs), mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(Gaussian().spread(outputs), spread, rtol=1e-9, atol=0)
    two = Gaussian(2).outputs_for(torch.stack([mean, -mean], 1), torch.stack([spread, spread.flip(0)], 1))
    torch.testing.assert_close(Gaussian(2).spread(two)[:, 1], spread.flip(0), rtol=1e-9, atol=0)
    assert torch.equal(Gaussian(scale=2.0).outputs_for(mean, spread), mean[:, None])
    assert Gaussian().outputs_for(mean, torch.tensor([0.0, 1.0, 1e30]).double()).isfinite().all()


def test_learnt_log_scale_is_the_output_itself_near_zero() -> None:
    r = torch.linspace(-1, 1, 21, dtype=torch.float64)
    log_s = Gaussian().spread(torch.stack([torch.zeros(21).double(), r], dim=1)).log()
    assert (log_s - r).abs().max() < 0.0026  # r³/392


def test_poisson_goes_on_along_its_tangent() -> None:
    at = torch.tensor([[19.0], [20.0], [21.0], [25.0]], dtype=torch.float64)
    e20 = math.exp(20.0)
    np.testing.assert_allclose(Poisson().mean(at), [math.exp(19.0), e20, 2 * e20, 6 * e20], rtol=1e-14)


def test_poisson_gradient_beyond_the_knee() -> None:
    at, y = (
        torch.tensor([[20.5], [30.0], [1e4]], dtype=torch.float64, requires_grad=True),
        torch.tensor([0.0, 1e9, 5.0]),
    )
    (-Poisson().log_prob(at, y)).sum().backward()
    torch.testing.assert_close(Poisson().nll_gradient(at.detach(), y), at.grad, rtol=1e-12, atol=0)


def test_L04_bernoulli_in_the_far_tail() -> None:
    z = torch.tensor([[1e3], [-1e3], [40.0]], dtype=torch.float64)
    wrong, right = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])
    assert Bernoulli().log_prob(z, wrong).tolist() == [-1000.0, -1000.0, -40.0]
    np.testing.assert_allclose(Bernoulli().log_prob(z, right), [0.0, 0.0, -math.exp(-40.0)], rtol=1e-14)


def test_bernoulli_probabilities_stand_in_two_columns() -> None:
    z = torch.tensor([[0.0], [2.0]])
    p = Bernoulli().probabilities(z)
    assert p.shape == (2, 2) and Bernoulli(3).probabilities(torch.zeros(5, 3)).shape == (5, 3, 2)
    torch.testing.assert_close(p[:, 1], Bernoulli().mean(z))
    torch.testing.assert_close(p.sum(1), torch.ones(2))
    assert Bernoulli().predict(z).tolist() == [0, 1]


@pytest.mark.parametrize("likelihood", [Gaussian(), Poisson()])
@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_level_out_of_range_is_refused(likelihood: Gaussian | Poisson, level: float) -> None:
    with pytest.raises(ConfigError, match="level must lie strictly between 0 and 1"):
        likelihood.interval(torch.zeros(1, likelihood.n_outputs), level)


def test_heads_say_where_each_stands() -> None:
    heads = Heads((Gaussian(), Bernoulli()), ("size", "kind"))
    assert heads.slices() == {"size": slice(0, 2), "kind": slice(2, 3)} and heads.n_outputs == 3
    outputs = torch.arange(6.0).view(2, 3)
    assert [part.shape[1] for part in heads.split(outputs)] == [2, 1]
    assert torch.equal(heads.split(outputs)[1], outputs[:, 2:])


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_beta_weights_each_term_by_its_spread_and_leaves_it_out_of_the_gradient(beta: float, n_targets: int) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(7, 2 * n_targets, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.randn(7, n_targets, dtype=torch.float64, generator=generator)
    likelihood = Gaussian(n_targets, beta=beta)
    mean, raw = outputs[:, :n_targets], outputs[:, n_targets:]
    spread = torch.exp(raw / (1.0 + (raw / 14.0) ** 2) ** 0.5)
    terms = torch.distributions.Normal(mean, spread).log_prob(target) * spread.detach() ** (2 * beta)
    expected = terms.sum(1)
    assert torch.allclose(likelihood.log_prob(outputs, target), expected, rtol=1e-12)
    (gradient,) = torch.autograd.grad(-expected.sum(), outputs)
    assert torch.allclose(likelihood.nll_gradient(outputs.detach(), target), gradient, rtol=1e-10)
    if beta == 1.0:  # then the mean learns as under squared error
        assert torch.allclose(gradient[:, :n_targets], mean.detach() - target, rtol=1e-10)
