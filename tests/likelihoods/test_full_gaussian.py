"""A full covariance against PyTorch's multivariate normal and the sample's own moments."""

import numpy as np
import pytest
import torch
from torch import Tensor, distributions

from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian import Gaussian


def outputs_of(n: int, t: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, FullGaussian(t).n_outputs, generator=generator, dtype=torch.float64)


def by_definition(outputs: Tensor, t: int) -> Tensor:
    """The precision written out, entry by entry."""
    precision = torch.zeros(len(outputs), t, t, dtype=torch.float64)
    for n, o in enumerate(outputs):
        whitener, k = torch.zeros(t, t, dtype=torch.float64), 2 * t
        for i in range(t):
            whitener[i, i] = torch.exp(-o[t + i] / torch.sqrt(1 + (o[t + i] / 14) ** 2))
            for j in range(i):
                whitener[i, j] = o[k]
                k += 1
        precision[n] = whitener.T @ whitener
    return precision


@pytest.mark.parametrize("t", [1, 2, 4])
def test_log_prob_and_covariance_are_torchs(t: int) -> None:
    outputs, likelihood = outputs_of(8, t), FullGaussian(t)
    theirs = distributions.MultivariateNormal(outputs[:, :t], precision_matrix=by_definition(outputs, t))
    y = theirs.sample()
    torch.testing.assert_close(likelihood.log_prob(outputs, y), theirs.log_prob(y), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(likelihood.covariance(outputs), theirs.covariance_matrix, rtol=1e-8, atol=1e-10)
    expected = theirs.variance.sqrt()
    torch.testing.assert_close(likelihood.spread(outputs).view(8, t), expected, rtol=1e-8, atol=1e-10)


def test_without_couplings_it_is_gaussian() -> None:
    outputs, y = outputs_of(6, 3), torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).double()
    outputs[:, 6:] = 0.0
    plain = outputs[:, :6]
    torch.testing.assert_close(FullGaussian(3).log_prob(outputs, y), Gaussian(3).log_prob(plain, y))
    torch.testing.assert_close(FullGaussian(3).nll_gradient(outputs, y)[:, :6], Gaussian(3).nll_gradient(plain, y))
    torch.testing.assert_close(FullGaussian(3).spread(outputs), Gaussian(3).spread(plain))
    for ours, theirs in zip(FullGaussian(3).interval(outputs), Gaussian(3).interval(plain), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_target_is_gaussian() -> None:
    outputs, y = outputs_of(6, 1), torch.zeros(6).double()
    torch.testing.assert_close(FullGaussian().log_prob(outputs, y), Gaussian().log_prob(outputs, y))


def test_samples_have_the_covariance() -> None:
    outputs, n = outputs_of(1, 3), 100_000
    draws = FullGaussian(3).sample(outputs.expand(n, -1), torch.Generator().manual_seed(2)).numpy()
    expected = FullGaussian(3).covariance(outputs)[0].numpy()
    sizes = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(np.cov(draws.T) - expected) < 5 * sizes * np.sqrt(2 / n)).all()
