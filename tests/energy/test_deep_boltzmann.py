"""The deep Boltzmann machine against the enumeration of all its states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy.nets import EnumeratedDeepBoltzmann, array, chi_square, counted, shaken
from energy.oracle import binary
from lamina.energy.deep_boltzmann import DeepBoltzmannMachine
from lamina.errors import ConfigError

G = torch.Generator
SIZES = [(4, 3, 2), (4, 3, 3, 2), (2, 3, 2, 3, 2)]


def made(
    sizes: tuple[int, ...] = (4, 3, 3, 2), seed: int = 0, size: float = 1.0, chains: int = 0
) -> DeepBoltzmannMachine:
    machine = shaken(DeepBoltzmannMachine(sizes, chains=chains), seed, size)
    assert isinstance(machine, DeepBoltzmannMachine)
    return machine


def oracle(machine: DeepBoltzmannMachine) -> EnumeratedDeepBoltzmann:
    return EnumeratedDeepBoltzmann([array(w) for w in machine.weights], [array(b) for b in machine.biases])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_U19_energy_partition_function_and_likelihood_are_the_definitions(sizes: tuple[int, ...]) -> None:
    machine = made(sizes)
    exact = oracle(machine)
    energy = machine.energy([torch.from_numpy(u) for u in exact.units]).detach().numpy()
    np.testing.assert_allclose(energy, -exact.exponent, atol=1e-12)
    log_z = machine.log_partition()
    assert abs(float(log_z.detach()) - exact.log_z) < 1e-12
    x = binary(sizes[0])
    found = machine.log_likelihood(torch.from_numpy(x), log_z).detach().numpy()
    np.testing.assert_allclose(found, exact.log_p(x), atol=1e-12)


def test_U19_sweeps_keep_the_distribution_clamped_or_not() -> None:
    machine, chains = made((3, 3, 2, 2)), 20_000
    exact = oracle(machine)
    states = np.concatenate(exact.units, 1)
    start = [torch.zeros(chains, n).double() for n in machine.sizes]
    drawn = machine.gibbs(start, 60, G().manual_seed(0))
    assert chi_square(counted(torch.cat(drawn, 1), states), exact.p) > 1e-3
    x = torch.tensor([1.0, 0.0, 1.0]).double()
    drawn = machine.gibbs([x.expand(chains, -1), *start[1:]], 60, G().manual_seed(1), clamped=True)
    assert bool((drawn[0] == x).all())
    here = exact.rows(x.numpy())
    given = exact.p[here] / exact.p[here].sum()
    assert chi_square(counted(torch.cat(drawn[1:], 1), states[here][:, 3:]), given) > 1e-3


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_U19_the_mean_field_bound_is_below_the_likelihood_by_the_divergence(sizes: tuple[int, ...]) -> None:
    machine = made(sizes)
    exact, x = oracle(machine), binary(sizes[0])
    t = torch.from_numpy(x)
    means = machine.mean_field(t, 200)
    for k in range(1, len(sizes)):  # a fixed point of every layer
        torch.testing.assert_close(means[k - 1], torch.sigmoid(machine.layer_input(k, [t, *means])).detach())
    found = machine.exact_bound(t, exact.log_z, means)
    torch.testing.assert_close(found.bound, machine.bound(t, exact.log_z, means))
    assert bool((found.gap > 0).all())
    q = torch.cat(means, 1).numpy()
    states = np.concatenate(exact.units[1:], 1)
    for n, row in enumerate(x):
        here = exact.rows(row)
        posterior = exact.p[here] / exact.p[here].sum()
        product = np.where(states[here] > 0, q[n], 1 - q[n]).prod(1)
        divergence = (product * np.log(product / posterior)).sum()
        assert abs(float(found.gap[n].detach()) - divergence) < 1e-11


def test_each_sweep_of_the_mean_field_raises_the_bound() -> None:
    machine, x = made(size=2.0), torch.from_numpy(binary(4))
    bounds = torch.stack([machine.bound(x, 0.0, machine.mean_field(x, sweeps)).detach() for sweeps in range(12)])
    assert bool((bounds.diff(dim=0) > -1e-12).all())
    assert float((bounds[-1] - bounds[0]).max()) > 0.1


def test_U19_the_bound_is_tight_where_the_posterior_is_a_product() -> None:
    machine = made((4, 3, 2))
    with torch.no_grad():
        machine.weights[1].zero_()
    exact, x = oracle(machine), torch.from_numpy(binary(4))
    found = machine.exact_bound(x, exact.log_z)
    assert float(found.gap.abs().max().detach()) < 1e-14
    np.testing.assert_allclose(machine.bound(x, exact.log_z).detach().numpy(), exact.log_p(x.numpy()), atol=1e-13)


def test_the_start_doubles_what_comes_from_below_except_at_the_top() -> None:
    machine, x = made((4, 3, 2)), torch.rand(5, 4, generator=G().manual_seed(0)).double()
    first, last = machine.mean_field(x, 0)
    w, b = machine.weights, machine.biases
    torch.testing.assert_close(first, torch.sigmoid(2 * x @ w[0].t() + b[1]).detach())
    torch.testing.assert_close(last, torch.sigmoid(first @ w[1].t() + b[2]).detach())
    assert torch.equal(machine(x), machine.mean_field(x)[-1])


def test_visible_biases_start_with_the_datas_means() -> None:
    machine = DeepBoltzmannMachine((2, 3, 2), std=0.0)
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    machine.set_visible_bias(x)
    torch.testing.assert_close(machine.biases[0].detach().sigmoid(), torch.tensor([3.5 / 4, 1.5 / 4]))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="DeepBoltzmannMachine: needs at least two hidden layers"):
        DeepBoltzmannMachine((4, 3))
    with pytest.raises(ConfigError, match="DeepBoltzmannMachine: sizes must be at least 1"):
        DeepBoltzmannMachine((4, 0, 3))
