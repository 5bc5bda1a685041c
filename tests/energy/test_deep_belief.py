"""The deep belief network against the enumeration of all its states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from energy.machines import machine
from energy.nets import all_hidden, array, chi_square, counted, log_bernoulli, shaken
from energy.oracle import Array, binary, log_sum
from lamina.energy import RBM, Binomial, Gaussian, RBMPath, Softmax
from lamina.energy.deep_belief import DeepBeliefNetwork, tied_machine
from lamina.errors import ConfigError
from lamina.nn import MLP
from lamina.samplers import annealed_importance, temperatures

G = torch.Generator
SIZES = (4, 3, 3, 2)
X = torch.from_numpy(binary(4))


def network(sizes: tuple[int, ...] = SIZES, n_classes: int = 0, seed: int = 0, size: float = 1.0) -> DeepBeliefNetwork:
    made = shaken(DeepBeliefNetwork(sizes, n_classes), seed, size)
    assert isinstance(made, DeepBeliefNetwork)
    return made


def log_table(net: DeepBeliefNetwork) -> tuple[list[Array], Array, Array]:
    """All states of x, h¹ … hᴸ⁻¹ (and the label), log p of each, and of each with the label."""
    classes = net.n_classes
    units = all_hidden(net.sizes[:-1])
    w, b, c = array(net.top.weight), array(net.top.visible_bias), array(net.top.hidden_bias)
    top, n = binary(net.sizes[-1]), net.sizes[-2]
    below = np.zeros(len(units[0]))
    for layer, low, high in zip(net.layers.down, units, units[1:], strict=False):
        below = below + log_bernoulli(low, high @ array(layer.weight).T + array(layer.bias))

    def exponent(h: Array) -> Array:
        labels = np.eye(classes) if classes else np.zeros((1, 0))
        v = np.concatenate([np.repeat(h, len(labels), 0), np.tile(labels, (len(h), 1))], 1)
        return log_sum((v @ b)[:, None] + (top @ c)[None] + v @ w.T @ top.T, axis=1).reshape(len(h), len(labels))

    log_z = float(log_sum(exponent(binary(n))))
    joint = below[:, None] + exponent(units[-1]) - log_z
    return units, log_sum(joint, axis=1), joint


@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("sizes", [SIZES, (4, 3), (3, 4, 2)], ids=str)
def test_U15_joint_and_likelihood_are_the_definitions(sizes: tuple[int, ...], n_classes: int) -> None:
    net = network(sizes, n_classes)
    log_z = net.top.log_partition()
    units, table, _ = log_table(net)
    found = net.log_joint([torch.from_numpy(u) for u in units], log_z).detach().numpy()
    np.testing.assert_allclose(found, table, atol=1e-12)
    assert abs(np.exp(table).sum() - 1) < 1e-12
    x = binary(sizes[0])
    expected = [float(log_sum(table[(units[0] == row).all(1)])) for row in x]
    found = net.log_likelihood(torch.from_numpy(x), log_z).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_U15_ancestral_samples_have_the_networks_distribution() -> None:
    net = network()
    units, table, _ = log_table(net)
    draws = net.sample(40_000, 40, G().manual_seed(0))
    assert len(draws) == 3
    states = np.concatenate(units, 1)
    assert chi_square(counted(torch.cat(draws, 1), states), np.exp(table)) > 1e-3


def test_U15_samples_with_a_clamped_label_are_those_given_it() -> None:
    net = network((3, 3, 2), 3, size=0.8)
    units, _, joint = log_table(net)
    states = np.concatenate(units, 1)
    for label in range(3):
        codes = torch.full((20_000,), label)
        draws = net.sample(len(codes), 40, G().manual_seed(label), labels=codes)
        given = np.exp(joint[:, label]) / np.exp(joint[:, label]).sum()
        assert chi_square(counted(torch.cat(draws, 1), states), given) > 1e-3


@pytest.mark.parametrize("deep", [False, True])
def test_W28_U17_a_tied_layer_changes_nothing_and_the_bound_is_tight(deep: bool) -> None:
    rbm = machine(4, 3)
    log_p = -rbm.free_energy(X) - rbm.log_partition()
    machines = [rbm, tied_machine(rbm)]
    machines += [tied_machine(machines[-1])] if deep else []
    net = DeepBeliefNetwork.from_machines(machines)
    assert net.sizes == ((4, 3, 4, 3) if deep else (4, 3, 4))
    found = net.exact_bound(X, net.top.log_partition())
    assert float((found.log_likelihood.exp() - log_p.exp()).abs().max().detach()) < 1e-15
    assert float(found.gap.abs().max().detach()) < 1e-14


def test_U17_under_a_tied_layer_every_sampled_weight_is_the_likelihood() -> None:
    # q is the posterior there, so p(x, h) / q(h | x) is p(x) whatever was drawn: at sizes beyond enumeration too.
    rbm = machine(60, 40, size=0.3)
    net = DeepBeliefNetwork.from_machines([rbm, tied_machine(rbm)])
    x = torch.rand(7, 60, generator=G().manual_seed(0)).round().double()
    weights = net.log_weights(x, 12.5, 9, G().manual_seed(1))
    torch.testing.assert_close(weights, rbm.log_likelihood(x, 12.5).expand(9, 7), rtol=0.0, atol=1e-9)


def test_W29_U17_the_gap_is_the_divergence_of_q_from_the_posterior() -> None:
    for seed in range(20):  # recognition weights are drawn apart from the generative ones: any q of this form
        net = network((3, 2, 2, 3), seed=seed)
        units, table, _ = log_table(net)
        q = np.zeros_like(table)
        for layer, low, high in zip(net.layers.up, units, units[1:], strict=False):
            q = q + log_bernoulli(high, low @ array(layer.weight).T + array(layer.bias))
        x = binary(3)
        found = net.exact_bound(torch.from_numpy(x), net.top.log_partition())
        for row, bound, gap in zip(x, found.bound.detach().numpy(), found.gap.detach().numpy(), strict=True):
            here = (units[0] == row).all(1)
            posterior = table[here] - float(log_sum(table[here]))
            assert abs((np.exp(q[here]) * (q[here] - posterior)).sum() - gap) < 1e-11
            assert abs((np.exp(q[here]) * (table[here] - q[here])).sum() - bound) < 1e-11


@pytest.mark.parametrize("n_classes", [0, 3])
def test_U17_sampled_weights_with_an_estimated_partition_function(n_classes: int) -> None:
    net = network((4, 5, 6), n_classes, size=0.5)
    log_z = net.top.log_partition()
    exact = net.exact_bound(X, log_z)
    path = RBMPath(net.top)
    estimate = annealed_importance(path, temperatures((1.0, 200)), 500, G().manual_seed(0))
    assert abs(estimate.log_z - float(log_z)) < 0.03
    weights = net.log_weights(X, estimate.log_z, 3000, G().manual_seed(1)).detach()
    assert weights.shape == (3000, 16)
    torch.testing.assert_close(weights.mean(0), exact.bound.detach(), rtol=0.0, atol=0.1)
    torch.testing.assert_close(weights.logsumexp(0) - np.log(3000), exact.log_likelihood.detach(), rtol=0.0, atol=0.1)


def test_label_probabilities_are_bayes_rule_of_the_top() -> None:
    net = network((3, 3, 2), 3)
    x = torch.from_numpy(binary(3))
    h = array(net.layers.means(x)[-1])
    w, b, c = array(net.top.weight), array(net.top.visible_bias), array(net.top.hidden_bias)
    top = binary(2)
    scores = np.stack(
        [
            log_sum((np.concatenate([h, np.tile(y, (len(h), 1))], 1) @ w.T + c) @ top.T, axis=1) + h @ b[:3] + y @ b[3:]
            for y in np.eye(3)
        ],
        1,
    )
    expected = scores - log_sum(scores, axis=1)[:, None]
    np.testing.assert_allclose(net.label_log_prob(x).detach().numpy(), expected, atol=1e-12)


def test_the_classifier_has_the_networks_hidden_means_and_fresh_outputs() -> None:
    for n_classes in (0, 3):
        net = network(SIZES, n_classes)
        made = net.to_classifier(5, G().manual_seed(1))
        assert list(dict(made.named_children())) == list(dict(MLP(4, 5, (3, 3, 2), "sigmoid").named_children()))
        assert {type(m) for m in made.children()} == {nn.Linear, nn.Sigmoid}
        hidden = nn.Sequential(*list(made.children())[:-1])
        torch.testing.assert_close(hidden(X), net(X))
        assert made(X).shape == (16, 5)
        before = net(X).detach()
        with torch.no_grad():
            made.get_submodule("linear1").weight.zero_()  # type: ignore[union-attr, operator]
        assert torch.equal(net(X), before)
    with torch.no_grad():
        given = torch.cat([net.layers.means(X)[-1], torch.zeros(16, 3).double()], 1)
    torch.testing.assert_close(net(X), net.top(given))  # no label is a label of zeros


def test_machines_stack_as_they_are() -> None:
    machines = [machine(4, 3, Gaussian(learn_variance=False)), machine(3, 2, seed=1)]
    net = DeepBeliefNetwork.from_machines(machines)
    torch.testing.assert_close(net.layers.up[0].mean(X), machines[0](X))
    h = machines[0].sample_hidden(X)
    torch.testing.assert_close(net.layers.down[0].mean(h), machines[0].visible_given(h))
    torch.testing.assert_close(net.top_free_energy(h), machines[1].free_energy(h))
    alone = DeepBeliefNetwork.from_machines([machine(4, 3)])
    torch.testing.assert_close(alone.log_joint([X], 0.0), -machine(4, 3).free_energy(X))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="DeepBeliefNetwork: needs at least one hidden layer"):
        DeepBeliefNetwork((4,))
    with pytest.raises(ConfigError, match="DeepBeliefNetwork: n_classes must be 0 for none or at least 2, got 1"):
        DeepBeliefNetwork((4, 3), 1)
    with pytest.raises(ConfigError, match="DeepBeliefNetwork: the directed layers have Gaussian units of variance 1"):
        DeepBeliefNetwork((4, 3), visible=Gaussian())
    with pytest.raises(ConfigError, match="the network has no labels"):
        network().label_log_prob(X)
    with pytest.raises(ConfigError, match="the network has no labels"):
        network().sample(2, 1, labels=torch.zeros(2))
    owner = "DeepBeliefNetwork.from_machines: "
    with pytest.raises(ConfigError, match=owner + "needs at least one machine"):
        DeepBeliefNetwork.from_machines([])
    wrong: list[list[RBM]] = [
        [machine(4, 3), machine(4, 2)],
        [machine(4, 3, hidden=Binomial(2)), machine(3, 2)],
        [machine(4, 3), machine(3, 2, Softmax(3))],
    ]
    for machines in wrong:
        with pytest.raises(ConfigError, match=owner + "machines must have Bernoulli hidden units"):
            DeepBeliefNetwork.from_machines(machines)
    with pytest.raises(ConfigError, match="tied_machine: learnt variances"):
        tied_machine(machine(4, 3, Gaussian()))
