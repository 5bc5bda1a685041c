"""Annealed importance sampling along a path of Gaussians whose partition functions are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.samplers import annealed_importance, reverse_annealed_importance, temperatures

MEAN, PRECISION, FACTOR = 1.5, 4.0, 3.0
LOG_Z = math.log(FACTOR) + 0.5 * math.log(2 * math.pi / PRECISION)


class Gaussians:
    """p*_β(x) = N(x; 0, 1)^(1 - β) (3 exp(-2 (x - 1.5)²))^β, from which ``move`` draws afresh."""

    log_z_start = torch.tensor(0.0)

    def start(self, chains: int, generator: Generator | None = None) -> Tensor:
        return torch.randn(chains, generator=generator, dtype=torch.float64)

    def log_ratio(self, state: Tensor, new: float, old: float) -> Tensor:
        end = math.log(FACTOR) - 0.5 * PRECISION * (state - MEAN) ** 2
        return (new - old) * (end + 0.5 * state**2 + 0.5 * math.log(2 * math.pi))

    def move(self, state: Tensor, beta: float, generator: Generator | None = None) -> Tensor:
        precision = (1 - beta) + beta * PRECISION
        noise = torch.randn(state.shape, generator=generator, dtype=torch.float64)
        return beta * PRECISION * MEAN / precision + noise / math.sqrt(precision)


def test_the_known_log_z_lies_within_three_standard_errors() -> None:
    ladder = temperatures((0.2, 10), (1.0, 20))
    inside = 0
    for run in range(100):
        estimate = annealed_importance(Gaussians(), ladder, 50, Generator().manual_seed(run))
        inside += abs(estimate.log_z - LOG_Z) < 3 * estimate.standard_error
    assert inside >= 95


def test_backwards_too() -> None:
    generator, inside = Generator().manual_seed(0), 0
    for _ in range(100):
        start = MEAN + torch.randn(50, generator=generator, dtype=torch.float64) / math.sqrt(PRECISION)
        estimate = reverse_annealed_importance(Gaussians(), temperatures((1.0, 30)), start, generator)
        inside += abs(estimate.log_z - LOG_Z) < 3 * estimate.standard_error
    assert inside >= 95


def test_the_estimate_is_made_of_the_weights() -> None:
    estimate = annealed_importance(Gaussians(), (0.0, 0.2, 0.5, 1.0), 200, Generator().manual_seed(0))
    path, generator = Gaussians(), Generator().manual_seed(0)
    x = path.start(200, generator)
    log_w = path.log_ratio(x, 0.2, 0.0)
    x = path.move(x, 0.2, generator)
    log_w = log_w + path.log_ratio(x, 0.5, 0.2)
    log_w = log_w + path.log_ratio(path.move(x, 0.5, generator), 1.0, 0.5)
    torch.testing.assert_close(estimate.log_weights, log_w)
    w = log_w.exp()
    error = float(w.std()) / math.sqrt(200)
    assert math.isclose(estimate.log_z, math.log(float(w.mean())), rel_tol=1e-12)
    assert math.isclose(estimate.standard_error, error / float(w.mean()), rel_tol=1e-12)
    assert math.isclose(estimate.high, math.log(float(w.mean()) + 3 * error), rel_tol=1e-12)
    assert math.isclose(estimate.low, math.log(float(w.mean()) - 3 * error), rel_tol=1e-12)
    assert math.isclose(estimate.effective_chains, float(w.sum() ** 2 / (w**2).sum()), rel_tol=1e-12)


def test_the_error_is_the_spread_of_estimates() -> None:
    estimates = [
        annealed_importance(Gaussians(), temperatures((1.0, 10)), 100, Generator().manual_seed(i)) for i in range(300)
    ]
    spread = float(torch.tensor([e.log_z for e in estimates]).std())
    told = sum(e.standard_error for e in estimates) / 300
    assert 0.8 < told / spread < 1.2


def test_backwards_the_bounds_change_sides() -> None:
    class Doubtful(Gaussians):
        def log_ratio(self, state: Tensor, new: float, old: float) -> Tensor:
            return (new - old) * 20.0 * state

    start = torch.tensor([0.1, 0.9], dtype=torch.float64)
    estimate = reverse_annealed_importance(Doubtful(), (0.0, 1.0), start)
    assert estimate.high == math.inf
    assert estimate.low < estimate.log_z
    assert annealed_importance(Doubtful(), (0.0, 1.0), 2, Generator().manual_seed(0)).low == -math.inf


def test_the_ladder_of_the_paper() -> None:
    ladder = temperatures((0.5, 500), (0.9, 4000), (1.0, 10000))
    assert len(ladder) == 14_501
    assert ladder[0] == 0 and ladder[500] == 0.5 and ladder[-1] == 1
    assert math.isclose(float(ladder[4500]), 0.9)
    steps = ladder.diff()
    assert (steps > 0).all()
    torch.testing.assert_close(steps[[0, 1000, 14_000]], torch.tensor([1e-3, 1e-4, 1e-5]).double())


def test_refusals() -> None:
    for legs in [((0.5, 10),), ((1.0, 0),), ((0.6, 5), (0.5, 5), (1.0, 5)), ()]:
        with pytest.raises(ConfigError, match="temperatures: legs must rise to 1"):
            temperatures(*legs)
    for betas in [(0.0, 0.5), (0.1, 1.0), (0.0, 0.7, 0.6, 1.0), (0.0,)]:
        with pytest.raises(ConfigError, match="annealed_importance: temperatures must rise"):
            annealed_importance(Gaussians(), betas)
    with pytest.raises(ConfigError, match="chains must be at least 2"):
        annealed_importance(Gaussians(), (0.0, 1.0), 1)
    with pytest.raises(ConfigError, match="needs at least 2 chains"):
        reverse_annealed_importance(Gaussians(), (0.0, 1.0), torch.zeros(1).double())
