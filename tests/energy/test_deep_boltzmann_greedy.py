"""Pre-training of deep Boltzmann machines: the doubled machines against their definition, and how they are composed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator

from energy.machines import arrays, bars_and_stripes
from energy.oracle import log_sum, states
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM, Bernoulli, Binomial, ContrastiveDivergence
from lamina.energy.deep_boltzmann import DeepBoltzmannMachine
from lamina.energy.deep_boltzmann_greedy import pretrain_deep_boltzmann
from lamina.training import GradientStep, Step

G = torch.Generator
PICTURES = bars_and_stripes(2).double()
DATA = InMemory(Batch(PICTURES.repeat(10, 1)), 60)


def test_U19_two_tied_copies_of_the_visible_units_are_one_binomial_unit() -> None:
    # By enumeration of a machine with the visible layer written twice: P(v, v) is the doubled machine's.
    rbm = RBM(3, 2, Binomial(2), std=1.0, generator=G().manual_seed(0)).double()
    w, b, c = arrays(rbm)
    v, h = states([[0.0], [1.0]], 3), states([[0.0], [1.0]], 2)
    twice = np.array([np.concatenate([x, y]) for x in v for y in v])
    exponent = twice @ np.tile(b, 2)
    exponent = exponent + log_sum((h @ c)[None] + twice @ np.tile(w, 2).T @ h.T, axis=1)
    log_z = float(log_sum(exponent))
    assert abs(float(rbm.log_partition().detach()) - log_z) < 1e-12
    same = (twice[:, :3] == twice[:, 3:]).all(1)
    found = rbm.log_likelihood(torch.from_numpy(2.0 * v), rbm.log_partition()).detach().numpy()
    np.testing.assert_allclose(found, exponent[same] - log_z, atol=1e-12)


def test_U19_the_machines_their_data_and_what_becomes_of_them() -> None:
    machine = DeepBoltzmannMachine((4, 5, 4, 3), std=0.3, generator=G().manual_seed(0)).double()
    before = [w.detach().clone() for w in machine.weights]
    seen: list[tuple[RBM, torch.Tensor]] = []

    def learn(rbm: RBM, generator: Generator) -> Step:
        seen.append((rbm, rbm.weight.detach().clone()))
        return GradientStep(rbm, ContrastiveDivergence(generator=generator), torch.optim.SGD(rbm.parameters(), 0.05))

    layers = pretrain_deep_boltzmann(machine, DATA, learn, epochs=20, generator=G().manual_seed(1))
    first, second, third = (rbm for rbm, _ in seen)
    assert [layer.model for layer in layers] == [first, second, third]
    assert [(rbm.visible, rbm.hidden) for rbm, _ in seen] == [
        (Binomial(2), Bernoulli()),
        (Bernoulli(), Bernoulli()),
        (Bernoulli(), Binomial(2)),
    ]
    torch.testing.assert_close(seen[0][1], before[0])
    torch.testing.assert_close(seen[1][1], 2 * before[1])
    torch.testing.assert_close(seen[2][1], before[2])
    w, b = machine.weights, machine.biases
    for weight, rbm, factor in zip(w, (first, second, third), (1.0, 0.5, 1.0), strict=True):
        torch.testing.assert_close(weight, factor * rbm.weight)
    torch.testing.assert_close(b[0], first.visible_bias)
    torch.testing.assert_close(b[1], 0.5 * (first.hidden_bias + second.visible_bias))
    torch.testing.assert_close(b[2], 0.5 * (second.hidden_bias + third.visible_bias))
    torch.testing.assert_close(b[3], third.hidden_bias)


def test_U19_each_layer_sees_what_the_one_below_infers_with_doubled_weights() -> None:
    machine = DeepBoltzmannMachine((4, 3, 2), std=1.0, generator=G().manual_seed(0)).double()
    biases: list[torch.Tensor] = []

    def learn(rbm: RBM, generator: Generator) -> Step:
        biases.append(rbm.visible_bias.detach().clone())
        return GradientStep(rbm, ContrastiveDivergence(generator=generator), torch.optim.SGD(rbm.parameters(), 0.0))

    pretrain_deep_boltzmann(machine, DATA, learn, epochs=1, generator=G().manual_seed(1))
    inputs = DATA.data.inputs
    means = torch.sigmoid(2.0 * inputs @ machine.weights[0].t()).detach().mean(0)
    for found, expected in zip(biases, (inputs.mean(0), means), strict=True):
        torch.testing.assert_close(found.sigmoid(), expected + (0.5 - expected) / 61)


def test_U19_pretraining_is_a_better_start() -> None:
    machine = DeepBoltzmannMachine((4, 6, 4), std=0.1, generator=G().manual_seed(0)).double()
    machine.set_visible_bias(PICTURES)
    with torch.no_grad():
        before = float(machine.log_likelihood(PICTURES, machine.log_partition()).mean())

    def learn(rbm: RBM, generator: Generator) -> Step:
        return GradientStep(rbm, ContrastiveDivergence(generator=generator), torch.optim.SGD(rbm.parameters(), 0.3))

    pretrain_deep_boltzmann(machine, DATA, learn, epochs=400, generator=G().manual_seed(1))
    with torch.no_grad():
        after = float(machine.log_likelihood(PICTURES, machine.log_partition()).mean())
    assert after > before + 0.2
