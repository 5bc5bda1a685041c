"""The path of a machine: its ends, its ratios, and its transitions, against the enumerated machine in between."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from energy.machines import arrays, machine
from energy.oracle import binary, log_sum, negative_energy
from lamina.energy import RBM, Bernoulli, Binomial, Gaussian, RBMPath, Rectified, Softmax
from lamina.energy.units import Units
from lamina.errors import ConfigError
from lamina.samplers import annealed_importance, reverse_annealed_importance, temperatures

G = torch.Generator


def between(rbm: RBM, base: np.ndarray, beta: float) -> np.ndarray:
    """log p*_β(v) of all v."""
    w, b, c = arrays(rbm)
    exponent = negative_energy(beta * w, (1 - beta) * base + beta * b, beta * c, binary(len(b)), binary(len(c)))
    return log_sum(exponent, axis=1)


def test_ratios_and_start_are_the_enumerated_ones() -> None:
    rbm = machine(4, 3)
    data = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]]).double()
    path = RBMPath(rbm, data)
    base = np.log((data.numpy().sum(0) + 0.5) / (2.5 - data.numpy().sum(0)))
    state = path.state(torch.from_numpy(binary(4)))
    ours = path.log_ratio(state, 0.7, 0.2).numpy()
    np.testing.assert_allclose(ours, between(rbm, base, 0.7) - between(rbm, base, 0.2), rtol=1e-11)
    assert math.isclose(float(path.log_z_start), float(log_sum(between(rbm, base, 0.0))), rel_tol=1e-12)
    drawn = path.visible(path.start(20_000, G().manual_seed(0))).numpy()
    p = 1 / (1 + np.exp(-base))
    assert (np.abs(drawn.mean(0) - p) < 5 * np.sqrt(p * (1 - p) / 20_000)).all()


def test_transitions_keep_their_distribution() -> None:
    rbm, n = machine(4, 3), 40_000
    path, generator = RBMPath(rbm), G().manual_seed(0)
    log_p = between(rbm, arrays(rbm)[1], 0.6)
    p = np.exp(log_p - log_sum(log_p))
    index = torch.multinomial(torch.from_numpy(p), n, replacement=True, generator=generator)
    state = path.move(path.state(torch.from_numpy(binary(4))[index]), 0.6, generator)
    moved = (path.visible(state).numpy() @ np.array([8, 4, 2, 1])).astype(int)
    counts = np.bincount(moved, minlength=16)
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)) + 1).all()
    torch.testing.assert_close(state.hidden, rbm.hidden_input(path.visible(state)).detach())


UNITS: list[tuple[Units, Units]] = [
    (Bernoulli(), Bernoulli()),
    (Binomial(3), Bernoulli()),
    (Softmax(3), Binomial(2)),
    (Gaussian(), Bernoulli()),
    (Bernoulli(), Gaussian(learn_variance=False)),
    (Gaussian(learn_variance=False), Softmax(2)),
]


@pytest.mark.parametrize(("visible", "hidden"), UNITS, ids=str)
def test_one_step_of_importance_sampling_is_unbiased(visible: Units, hidden: Units) -> None:
    rbm = machine(6, 2, visible, hidden, size=0.3)
    estimate = annealed_importance(RBMPath(rbm), (0.0, 0.4, 1.0), 20_000, G().manual_seed(0))
    assert abs(estimate.log_z - float(rbm.log_partition())) < 4 * estimate.standard_error
    assert estimate.standard_error < 0.02


@pytest.mark.parametrize("seed", [0, 1])
def test_the_enumerated_log_z_lies_within_three_standard_errors(seed: int) -> None:
    rbm = machine(6, 4, size=0.9, seed=seed)
    exact, path, ladder = float(rbm.log_partition()), RBMPath(rbm), temperatures((0.5, 10), (1.0, 30))
    inside = exact_inside = 0
    for run in range(100):
        estimate = annealed_importance(path, ladder, 50, G().manual_seed(run))
        inside += abs(estimate.log_z - exact) <= 3 * estimate.standard_error
        exact_inside += estimate.low <= exact <= estimate.high
    assert inside >= 95
    assert exact_inside >= 95


def test_forward_is_below_and_reverse_above_on_average() -> None:
    rbm = machine(5, 4, size=2.0)
    exact, path, ladder = float(rbm.log_partition()), RBMPath(rbm), (0.0, 0.3, 1.0)
    states = torch.from_numpy(binary(5))
    p = torch.exp(-rbm.free_energy(states).detach() - exact)
    forward, reverse = [], []
    for run in range(200):
        generator = G().manual_seed(run)
        forward.append(annealed_importance(path, ladder, 10, generator).log_z)
        samples = states[torch.multinomial(p, 10, replacement=True, generator=generator)]
        reverse.append(reverse_annealed_importance(path, ladder, path.state(samples), generator).log_z)
    assert np.mean(forward) < exact - 0.05
    assert np.mean(reverse) > exact + 0.05
    generator = G().manual_seed(0)
    many = states[torch.multinomial(p, 20_000, replacement=True, generator=generator)]
    estimate = reverse_annealed_importance(path, temperatures((1.0, 40)), path.state(many), generator)
    assert abs(estimate.log_z - exact) < 4 * estimate.standard_error < 0.1
    assert estimate.low < estimate.log_z < estimate.high


def test_rectified_units_are_refused() -> None:
    with pytest.raises(ConfigError, match="RBMPath: samples of Rectified units"):
        RBMPath(RBM(3, 2, Bernoulli(), Rectified()))
