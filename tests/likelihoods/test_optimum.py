"""A constant network fitted by maximum likelihood finds the sample's own moments, to the last digits."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson


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
