"""The sigmoid belief network against the enumeration of all its states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy.machines import bars_and_stripes
from energy.nets import all_hidden, array, chi_square, counted, log_bernoulli, shaken
from energy.oracle import Array, binary, log_sum
from lamina.energy import Gaussian
from lamina.energy.directed import DirectedLayers
from lamina.energy.sigmoid_belief import SigmoidBeliefNetwork
from lamina.errors import ConfigError

G = torch.Generator
SIZES = (4, 3, 3, 2)


def network(sizes: tuple[int, ...] = SIZES, seed: int = 0, size: float = 1.0) -> SigmoidBeliefNetwork:
    made = shaken(SigmoidBeliefNetwork(sizes), seed, size)
    assert isinstance(made, SigmoidBeliefNetwork)
    return made


def log_table(net: SigmoidBeliefNetwork) -> tuple[list[Array], Array]:
    """All states, and log p of each."""
    units = all_hidden(net.layers.sizes)
    total = log_bernoulli(units[-1], array(net.prior_bias))
    for layer, below, above in zip(net.layers.down, units, units[1:], strict=False):
        total = total + log_bernoulli(below, above @ array(layer.weight).T + array(layer.bias))
    return units, total


def test_U16_the_joint_is_the_product_of_the_layers() -> None:
    net = network()
    units, expected = log_table(net)
    found = net.log_joint([torch.from_numpy(u) for u in units]).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert abs(np.exp(found).sum() - 1) < 1e-12


def test_U16_the_likelihood_is_the_joints_sum() -> None:
    net, x = network(), binary(4)
    units, table = log_table(net)
    expected = [float(log_sum(table[(units[0] == row).all(1)])) for row in x]
    np.testing.assert_allclose(net.log_likelihood(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-12)


def test_U16_ancestral_samples_have_the_networks_distribution() -> None:
    net = network(seed=2)
    units, table = log_table(net)
    draws = net.sample(60_000, G().manual_seed(0))
    states = np.concatenate(units, 1)
    assert chi_square(counted(torch.cat(draws, 1), states), np.exp(table)) > 1e-3


def test_U17_the_bound_and_its_gap_are_the_definitions() -> None:
    net, x = network(seed=3), binary(4)
    units, table = log_table(net)
    q = np.zeros_like(table)
    for layer, below, above in zip(net.layers.up, units, units[1:], strict=False):
        q = q + log_bernoulli(above, below @ array(layer.weight).T + array(layer.bias))
    found = net.exact_bound(torch.from_numpy(x))
    for row, value, gap in zip(x, found.bound.detach().numpy(), found.gap.detach().numpy(), strict=True):
        here = (units[0] == row).all(1)
        assert abs(np.exp(q[here]).sum() - 1) < 1e-12
        assert abs((np.exp(q[here]) * (table[here] - q[here])).sum() - value) < 1e-11
        posterior = table[here] - float(log_sum(table[here]))
        assert abs((np.exp(q[here]) * (q[here] - posterior)).sum() - gap) < 1e-11
        assert gap > 0


def test_sampled_weights_estimate_bound_and_likelihood() -> None:
    net, x = network(size=0.4), torch.from_numpy(binary(4))
    weights = net.log_weights(x, 4000, G().manual_seed(0)).detach()
    exact = net.exact_bound(x)
    torch.testing.assert_close(weights.mean(0), exact.bound.detach(), rtol=0.0, atol=0.1)
    estimate = weights.logsumexp(0) - np.log(4000)
    torch.testing.assert_close(estimate, exact.log_likelihood.detach(), rtol=0.0, atol=0.1)


def test_U16_maximum_likelihood_by_enumeration_learns() -> None:
    pictures = bars_and_stripes(2).double()
    net = SigmoidBeliefNetwork((4, 4, 2), std=0.5, generator=G().manual_seed(0)).double()
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = -net.log_likelihood(pictures).mean()
        loss.backward()
        optimizer.step()
    assert 0 < float(loss.detach()) - np.log(6) < 0.05


def test_recognition_starts_as_the_transposed_and_grey_inputs_flow() -> None:
    net = SigmoidBeliefNetwork((4, 3, 2), std=1.0, generator=G().manual_seed(0))
    for up, down in zip(net.layers.up, net.layers.down, strict=True):
        assert torch.equal(up.weight, down.weight.t())
    x = torch.rand(5, 4, generator=G().manual_seed(1))
    expected = torch.sigmoid(torch.sigmoid(x @ net.layers.up[0].weight.t()) @ net.layers.up[1].weight.t())
    torch.testing.assert_close(net(x), expected)


def test_gaussian_inputs_have_densities() -> None:
    net = SigmoidBeliefNetwork((1, 2), Gaussian(learn_variance=False))
    shaken(net)
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    assert abs(float(torch.trapezoid(net.log_likelihood(grid).exp(), grid[:, 0]).detach()) - 1) < 1e-9


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="SigmoidBeliefNetwork: needs at least one hidden layer"):
        SigmoidBeliefNetwork((4,))
    with pytest.raises(ConfigError, match="DirectedLayers: sizes must be at least 1"):
        DirectedLayers((4, 0))
