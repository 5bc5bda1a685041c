"""Two moons: the shapes without noise, the posterior by scipy's quadrature, the Bayes error by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lamina.data.generated.moons import moons_bayes_error, moons_posterior, two_moons
from lamina.errors import ConfigError


def density(x: np.ndarray, which: int, noise: float) -> float:
    def at(a: float) -> float:
        c = (np.cos(a), np.sin(a)) if which == 0 else (1 - np.cos(a), 0.5 - np.sin(a))
        return np.exp(-((x[0] - c[0]) ** 2 + (x[1] - c[1]) ** 2) / (2 * noise**2)) / (2 * np.pi * noise**2) / np.pi

    return integrate.quad(at, 0, np.pi, epsabs=1e-13, epsrel=1e-11, limit=200)[0]


def test_without_noise_points_lie_on_the_half_circles_evenly() -> None:
    x, y, _ = two_moons(4_000, noise=0.0)
    assert y is not None
    upper, lower = x[y == 0].double(), x[y == 1].double()
    torch.testing.assert_close(upper.norm(dim=1), torch.ones(len(upper)).double())
    torch.testing.assert_close((lower - torch.tensor([1.0, 0.5])).norm(dim=1), torch.ones(len(lower)).double())
    assert upper[:, 1].min() >= -1e-6 and lower[:, 1].max() <= 0.5 + 1e-6
    assert stats.kstest(upper[:, 0].acos().numpy() / np.pi, "uniform").pvalue > 1e-3
    assert stats.kstest((1 - lower[:, 0]).acos().numpy() / np.pi, "uniform").pvalue > 1e-3
    assert abs(y.double().mean().item() - 0.5) < 4 * 0.5 / np.sqrt(4_000)


def test_noise_is_normal_in_both_directions_and_points_do_not_depend_on_how_many() -> None:
    clean, noisy = two_moons(3_000, noise=0.0), two_moons(3_000, noise=0.3)
    moved = ((noisy.inputs - clean.inputs) / 0.3).double()
    for axis in (0, 1):
        assert stats.kstest(moved[:, axis].numpy(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(moved.T.numpy())[0, 1]) < 0.08
    assert torch.equal(two_moons(7, noise=0.3).inputs, noisy.inputs[:7])
    assert not torch.equal(two_moons(7, noise=0.3, seed=1).inputs, noisy.inputs[:7])


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
def test_posterior_is_that_of_the_integrals(noise: float) -> None:
    points = torch.tensor([[0.0, 0.25], [0.5, 0.25], [1.0, 0.1], [0.2, 0.4], [1.9, 0.45], [-0.9, 0.2]])
    expected = []
    for p in points.double().numpy():
        p0, p1 = density(p, 0, noise), density(p, 1, noise)
        expected.append(p1 / (p0 + p1))
    np.testing.assert_allclose(moons_posterior(points, noise), expected, rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_bayes_error_is_what_the_best_rule_errs(noise: float) -> None:
    n = 20_000
    x, y, _ = two_moons(n, noise=noise)
    p = moons_posterior(x, noise)
    error = ((p > 0.5).long() != y).double().mean().item()
    bayes = moons_bayes_error(noise)
    assert error == pytest.approx(bayes, abs=4 * np.sqrt(bayes * (1 - bayes) / n) + 1e-4)
    assert torch.minimum(p, 1 - p).mean().item() == pytest.approx(bayes, abs=4 * np.sqrt(bayes / n) + 1e-4)


def test_what_cannot_be_is_refused() -> None:
    for n, noise in ((0, 0.1), (3, -1.0), (3, float("nan"))):
        with pytest.raises(ConfigError, match="two_moons"):
            two_moons(n, noise=noise)
    with pytest.raises(ConfigError, match="above 0"):
        moons_bayes_error(0.0)
