"""The mixture-density network's output against PyTorch's mixtures, one Gaussian, and the EM algorithm."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor, distributions

from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outputs_of(likelihood: GaussianMixture, n: int = 7) -> Tensor:
    return torch.randn(n, likelihood.n_outputs, generator=seeded(), dtype=torch.float64)


@pytest.mark.parametrize("form", ["diagonal", "shared"])
def test_L08_one_component_is_gaussian(form: str) -> None:
    mixture, y = GaussianMixture(1, 3, form), torch.randn(7, 3, generator=seeded(1)).double()
    outputs = outputs_of(mixture)
    torch.testing.assert_close(mixture.log_prob(outputs, y), Gaussian(3).log_prob(outputs[:, 1:], y))
    gradient = mixture.nll_gradient(outputs, y)
    torch.testing.assert_close(gradient[:, 1:], Gaussian(3).nll_gradient(outputs[:, 1:], y))
    assert (gradient[:, 0] == 0).all()
    torch.testing.assert_close(mixture.mean(outputs), Gaussian(3).mean(outputs[:, 1:]))
    torch.testing.assert_close(mixture.spread(outputs), Gaussian(3).spread(outputs[:, 1:]))
    for ours, theirs in zip(mixture.interval(outputs), Gaussian(3).interval(outputs[:, 1:]), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("form", "own"), [("diagonal", (4, 2)), ("shared", (1, 2)), ("isotropic", (4, 1))])
def test_L08_mixture_is_torchs(form: str, own: tuple[int, int]) -> None:
    mixture, y = GaussianMixture(4, 2, form), torch.randn(7, 2, generator=seeded(1)).double()
    outputs = outputs_of(mixture)
    assert mixture.n_outputs == 4 + 8 + own[0] * own[1]
    raw = outputs[:, 12:].reshape(7, *own).expand(7, 4, 2)
    scales = torch.exp(raw / (1 + (raw / 14) ** 2) ** 0.5)
    parts = distributions.Independent(distributions.Normal(outputs[:, 4:12].reshape(7, 4, 2), scales), 1)
    theirs = distributions.MixtureSameFamily(distributions.Categorical(logits=outputs[:, :4]), parts)
    torch.testing.assert_close(mixture.log_prob(outputs, y), theirs.log_prob(y), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mixture.mean(outputs), theirs.mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mixture.spread(outputs), theirs.variance.sqrt(), rtol=1e-10, atol=1e-10)


def test_L08_quantiles_bracket_the_level() -> None:
    mixture = GaussianMixture(3)
    outputs = outputs_of(mixture)
    weights, means, scales = (
        part.numpy() for part in (mixture.weights(outputs), mixture.means(outputs), mixture.scales(outputs))
    )
    low, high = mixture.interval(outputs, 0.8)
    for n in range(len(outputs)):
        for end, q in ((low[n].item(), 0.1), (high[n].item(), 0.9)):

            def shortfall(y: float, n: int = n, q: float = q) -> float:
                return float((weights[n] * stats.norm.cdf(y, means[n, :, 0], scales[n, :, 0])).sum()) - q

            assert math.isclose(optimize.brentq(shortfall, -100, 100, xtol=1e-12), end, abs_tol=1e-9)


def test_L08_likeliest_is_one_of_the_means_where_the_mean_lies_between() -> None:
    two = torch.tensor([[0.2, 0.0, -3.0, 3.0, -2.0, -2.0]])
    assert GaussianMixture(2).likeliest(two).tolist() == [-3.0]
    assert abs(GaussianMixture(2).predict(two).item()) < 0.5
    by_target = GaussianMixture(2).responsibilities(two.repeat(2, 1), torch.tensor([-3.0, 3.0]))
    torch.testing.assert_close(by_target, torch.eye(2), rtol=0, atol=1e-6)


def em(y: np.ndarray, start: np.ndarray, form: str, rounds: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expectation and maximisation, as in the textbook."""
    n, t = y.shape
    m = len(start)
    share, mean, variance = np.full(m, 1 / m), start.copy(), np.ones((m, t))
    for _ in range(rounds):
        log_joint = np.log(share) + stats.norm.logpdf(y[:, None], mean, np.sqrt(variance)).sum(2)
        owned = np.exp(log_joint - log_joint.max(1, keepdims=True))
        owned /= owned.sum(1, keepdims=True)
        total = owned.sum(0)
        share, mean = total / n, owned.T @ y / total[:, None]
        squares = np.einsum("nm,nmt->mt", owned, (y[:, None] - mean) ** 2)
        if form == "diagonal":
            variance = squares / total[:, None]
        elif form == "shared":
            variance = np.repeat(squares.sum(0, keepdims=True) / n, m, axis=0)
        else:
            variance = np.repeat(squares.sum(1, keepdims=True) / (t * total[:, None]), t, axis=1)
    return share, mean, variance


@pytest.mark.parametrize("form", ["diagonal", "shared", "isotropic"])
@pytest.mark.parametrize("t", [1, 2])
def test_L08_constant_network_finds_what_em_finds(form: str, t: int) -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(-2, 0.5, (60, t)), rng.normal(1.5, 1.0, (140, t))])
    start = np.stack([np.full(t, -1.0), np.full(t, 1.0)])
    share, mean, variance = em(y, start, form)
    mixture, target = GaussianMixture(2, t, form), torch.from_numpy(y)
    constant = torch.zeros(mixture.n_outputs, dtype=torch.float64)
    constant[2 : 2 + 2 * t] = torch.from_numpy(start.ravel())
    constant.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [constant], max_iter=500, tolerance_grad=1e-13, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -mixture.log_prob(constant.expand(len(y), -1), target).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    best = constant.detach()[None]
    np.testing.assert_allclose(mixture.weights(best)[0], share, rtol=1e-6)
    np.testing.assert_allclose(mixture.means(best)[0], mean, rtol=1e-6)
    np.testing.assert_allclose(mixture.scales(best)[0], np.sqrt(variance), rtol=1e-6)
    assert mixture.nll_gradient(best.expand(len(y), -1), target).mean(0).abs().max() < 1e-7


def test_L08_samples_follow_the_distribution_function() -> None:
    mixture = GaussianMixture(3)
    outputs = outputs_of(mixture, 1)
    draws = mixture.sample(outputs.expand(20_000, -1), seeded(3)).numpy()
    weights, means, scales = (
        part[0].numpy().reshape(3)
        for part in (mixture.weights(outputs), mixture.means(outputs), mixture.scales(outputs))
    )
    assert stats.kstest(draws, lambda y: (weights * stats.norm.cdf(y[:, None], means, scales)).sum(1)).pvalue > 1e-3
