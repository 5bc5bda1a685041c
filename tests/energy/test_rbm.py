"""The machine against sums over all its states, quadrature, and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.neural_network import BernoulliRBM

from energy.machines import arrays, machine
from energy.oracle import Enumerated, binary, log_sum, states
from lamina.energy import RBM, Bernoulli, Binomial, Gaussian, Rectified, Softmax
from lamina.energy.units import Units
from lamina.errors import ConfigError


@pytest.mark.parametrize("mutant", [None, "weight", "visible_bias", "hidden_bias"])
@pytest.mark.parametrize("size", [(4, 3), (3, 4), (6, 4)])
def test_U01_energies_and_conditionals_are_the_definitions(size: tuple[int, int], mutant: str | None) -> None:
    rbm = machine(*size)
    oracle = Enumerated(*arrays(rbm))
    if mutant is not None:
        with torch.no_grad():
            getattr(rbm, mutant).neg_()
    v, h = torch.from_numpy(oracle.v), torch.from_numpy(oracle.h)
    pairs = list(itertools.product(range(len(v)), range(len(h))))
    energy = rbm.energy(v[[i for i, _ in pairs]], h[[j for _, j in pairs]]).detach().numpy()
    right = [
        np.allclose(-energy, oracle.exponent.ravel(), rtol=1e-12),
        np.allclose(-rbm.free_energy(v).detach().numpy(), log_sum(oracle.exponent, axis=1), rtol=1e-12),
        np.allclose(-rbm.hidden_free_energy(h).detach().numpy(), log_sum(oracle.exponent, axis=0), rtol=1e-12),
        math.isclose(float(rbm.log_partition()), oracle.log_z, rel_tol=1e-12),
    ]
    assert right == [mutant is None] * 4
    if mutant is None:
        given_v = oracle.joint / oracle.joint.sum(1, keepdims=True)
        given_h = oracle.joint / oracle.joint.sum(0, keepdims=True)
        np.testing.assert_allclose(rbm.hidden_given(v).detach().numpy(), given_v @ oracle.h, rtol=1e-12)
        np.testing.assert_allclose(rbm.visible_given(h).detach().numpy(), given_h.T @ oracle.v, rtol=1e-12)
        np.testing.assert_allclose(rbm(v).detach().numpy(), given_v @ oracle.h, rtol=1e-12)
        some = oracle.v[1:4]
        ours = rbm.log_likelihood(torch.from_numpy(some), rbm.log_partition()).detach().numpy()
        np.testing.assert_allclose(ours, oracle.log_p(some), rtol=1e-11)


COUNTED: dict[str, tuple[Units, list[list[float]]]] = {
    "bernoulli": (Bernoulli(), [[0.0], [1.0]]),
    "binomial": (Binomial(2), [[0.0], [1.0], [2.0]]),
    "softmax": (Softmax(3), np.eye(3).tolist()),
}


@pytest.mark.parametrize("hidden", list(COUNTED))
@pytest.mark.parametrize("visible", list(COUNTED))
def test_all_pairs_of_counted_units(visible: str, hidden: str) -> None:
    (a, a_values), (b, b_values) = COUNTED[visible], COUNTED[hidden]
    rbm = machine(3, 3, a, b, size=0.7)
    w, bv, bh = arrays(rbm)
    v, h = states(a_values, 3 // len(a_values[0])), states(b_values, 3 // len(b_values[0]))

    def base(name: str, x: np.ndarray) -> np.ndarray:
        return (math.log(2) * (x == 1)).sum(1) if name == "binomial" else np.zeros(len(x))

    exponent = (v @ bv + base(visible, v))[:, None] + (h @ bh + base(hidden, h)) + v @ w.T @ h.T
    rows, columns = np.divmod(np.arange(exponent.size), len(h))
    energy = rbm.energy(torch.from_numpy(v[rows]), torch.from_numpy(h[columns])).detach().numpy()
    np.testing.assert_allclose(-energy, exponent.ravel(), rtol=1e-11, atol=1e-12)
    free = -rbm.free_energy(torch.from_numpy(v)).detach().numpy()
    np.testing.assert_allclose(free, log_sum(exponent, axis=1), rtol=1e-12)
    assert math.isclose(float(rbm.log_partition()), float(log_sum(exponent)), rel_tol=1e-12)
    joint = np.exp(exponent - log_sum(exponent))
    given = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(rbm.hidden_given(torch.from_numpy(v)).detach().numpy(), given @ h, rtol=1e-11)


def test_gaussian_visible_units_against_quadrature() -> None:
    rbm = machine(2, 3, Gaussian(), size=0.5)
    w, b, c = arrays(rbm)
    s = np.exp(rbm.visible_log_variance.detach().numpy())
    h = binary(3)

    def log_p_star(v: np.ndarray) -> float:
        exponent = -((v - b) ** 2 / (2 * s)).sum() + h @ c + h @ w @ (v / s)
        return float(log_sum(exponent))

    point = np.array([0.3, -0.8])
    assert math.isclose(
        -float(rbm.free_energy(torch.from_numpy(point)[None]).detach()), log_p_star(point), rel_tol=1e-12
    )
    total = integrate.dblquad(lambda y, x: math.exp(log_p_star(np.array([x, y]))), -9, 9, -9, 9, epsabs=1e-8)[0]
    assert math.isclose(float(rbm.log_partition()), math.log(total), rel_tol=1e-7)
    mean = rbm.visible_given(torch.from_numpy(h)).detach().numpy()
    np.testing.assert_allclose(mean, b + h @ w, rtol=1e-12)
    drawn = rbm.sample_visible(torch.from_numpy(h[5:6]).expand(40_000, -1), torch.Generator().manual_seed(0)).numpy()
    assert (np.abs(drawn.mean(0) - mean[5]) < 5 * np.sqrt(s / 40_000)).all()
    np.testing.assert_allclose(drawn.var(0), s, rtol=5 * math.sqrt(2 / 40_000))
    v, pair = torch.from_numpy(point)[None], torch.from_numpy(h[5:6])
    expected = ((point - b) ** 2 / (2 * s)).sum() - h[5] @ c - h[5] @ w @ (point / s)
    assert math.isclose(float(rbm.energy(v, pair).detach()), expected, rel_tol=1e-12)


def test_gaussian_hidden_units_against_quadrature() -> None:
    rbm = machine(3, 1, Bernoulli(), Gaussian(learn_variance=False))
    w, b, c = arrays(rbm)

    def joint(h: float, v: np.ndarray) -> float:
        return math.exp(v @ b - 0.5 * (h - c[0]) ** 2 + h * (w[0] @ v))

    for v in binary(3):
        total = integrate.quad(joint, -15, 15, args=(v,))[0]
        assert math.isclose(-float(rbm.free_energy(torch.from_numpy(v)[None]).detach()), math.log(total), rel_tol=1e-8)
    h = torch.tensor([[0.7]], dtype=torch.float64)
    for v in binary(3):
        energy = float(rbm.energy(torch.from_numpy(v)[None], h).detach())
        assert math.isclose(-energy, math.log(joint(0.7, v)), rel_tol=1e-11)
    exponent = [v @ b - 0.5 * (0.7 - c[0]) ** 2 + 0.7 * (w[0] @ v) for v in binary(3)]
    assert math.isclose(-float(rbm.hidden_free_energy(h).detach()), float(log_sum(np.array(exponent))), rel_tol=1e-12)


def test_rectified_machine_is_nearly_one_of_many_binary_copies() -> None:
    rbm = machine(4, 2, Bernoulli(), Rectified())
    copies = RBM(4, 120).double()
    with torch.no_grad():
        copies.weight.copy_(rbm.weight.repeat_interleave(60, 0))
        copies.visible_bias.copy_(rbm.visible_bias)
        copies.hidden_bias.copy_(rbm.hidden_bias.repeat_interleave(60) - torch.arange(60).repeat(2) - 0.5)
    v = torch.from_numpy(binary(4))
    gap = copies.free_energy(v) - rbm.free_energy(v)
    assert torch.allclose(gap, rbm.hidden_input(v).sigmoid().sum(1) / 24, atol=1e-3)


def test_log_partition_differentiates_to_the_means() -> None:
    rbm = machine(4, 3)
    oracle = Enumerated(*arrays(rbm))
    rbm.log_partition(differentiable=True).backward()
    np.testing.assert_allclose(rbm.visible_bias.grad, oracle.joint.sum(1) @ oracle.v, rtol=1e-12)
    np.testing.assert_allclose(rbm.weight.grad, oracle.h.T @ oracle.joint.T @ oracle.v, rtol=1e-12)


def test_long_gibbs_chains_reach_the_machines_distribution() -> None:
    rbm = machine(4, 3, size=0.7)
    oracle = Enumerated(*arrays(rbm))
    n, generator = 20_000, torch.Generator().manual_seed(0)
    v = rbm.gibbs(torch.zeros(n, 4).double(), 30, generator)
    index = (v.numpy() @ np.array([8, 4, 2, 1])).astype(int)
    p, counts = oracle.joint.sum(1), np.bincount(index, minlength=16)
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)) + 1).all()


def test_a_sweep_of_means_draws_only_the_hidden_units() -> None:
    rbm, v = machine(4, 3), torch.ones(5, 4).double()
    out = rbm.gibbs(v, 1, torch.Generator().manual_seed(0), reconstruction="mean")
    h = rbm.sample_hidden(v, torch.Generator().manual_seed(0))
    assert torch.equal(out, rbm.visible_given(h))


def test_free_energy_is_scikit_learns() -> None:
    rbm, peer = machine(6, 4), BernoulliRBM(4)
    peer.components_, peer.intercept_visible_, peer.intercept_hidden_ = arrays(rbm)
    v = binary(6)
    np.testing.assert_allclose(rbm.free_energy(torch.from_numpy(v)).detach().numpy(), peer._free_energy(v), rtol=1e-12)
    np.testing.assert_allclose(rbm(torch.from_numpy(v)).detach().numpy(), peer.transform(v), rtol=1e-12)


def test_U21_a_trained_machine_scores_its_data_above_noise_with_the_same_means() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]]).double()
    rbm = machine(8, 4, size=0.01)
    optimizer = torch.optim.Adam(rbm.parameters(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (rbm.free_energy(kinds).mean() + rbm.log_partition(differentiable=True)).backward()
        optimizer.step()
    noise = (torch.rand(200, 8, generator=generator) < 0.5).double()
    gap = rbm.free_energy(noise).mean() - rbm.free_energy(kinds).mean()
    assert float(gap.detach()) > 3.0


def test_visible_biases_from_data() -> None:
    data = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    rbm = RBM(2, 3, std=0.0)
    rbm.set_visible_bias(data)
    torch.testing.assert_close(rbm.visible_given(torch.zeros(1, 3))[0], torch.tensor([3.5 / 4, 1.5 / 4]))
    gaussian = RBM(2, 3, Gaussian())
    gaussian.set_visible_bias(data)
    torch.testing.assert_close(gaussian.visible_bias.detach(), data.mean(0))
    groups = RBM(2, 3, Softmax(2), std=0.0)
    groups.set_visible_bias(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(groups.visible_given(torch.zeros(1, 3))[0], torch.tensor([2.5 / 4, 1.5 / 4]))


def test_a_missing_group_leaves_the_machine_without_it() -> None:
    rbm = machine(6, 2, Softmax(3))
    smaller = RBM(3, 2, Softmax(3)).double()
    with torch.no_grad():
        smaller.weight.copy_(rbm.weight[:, :3])
        smaller.visible_bias.copy_(rbm.visible_bias[:3])
        smaller.hidden_bias.copy_(rbm.hidden_bias)
    v = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]).double()
    torch.testing.assert_close(rbm.free_energy(v), smaller.free_energy(v[:, :3]))


def test_chains_are_carried_by_the_state() -> None:
    rbm = RBM(5, 3, chains=7, generator=torch.Generator().manual_seed(0))
    other = RBM(5, 3, chains=7)
    other.load_state_dict(rbm.state_dict())
    assert rbm.chains is not None and torch.equal(rbm.chains, other.chains)
    assert "chains" not in RBM(5, 3).state_dict()


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="both sides Gaussian"):
        RBM(3, 2, Gaussian(), Gaussian(learn_variance=False))
    with pytest.raises(ConfigError, match="RBM: n_visible and n_hidden must be at least 1"):
        RBM(0, 2)
    with pytest.raises(ConfigError, match=r"Rectified: .*only be hidden"):
        RBM(3, 2, Rectified())
    with pytest.raises(ConfigError, match="Gaussian: the variance"):
        RBM(3, 2, Bernoulli(), Gaussian())
