"""Learning of deep Boltzmann machines: the bound's gradient, the chains, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy.machines import bars_and_stripes
from energy.test_deep_boltzmann import made, oracle
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM, ContrastiveDivergence
from lamina.energy.deep_boltzmann import DeepBoltzmannMachine
from lamina.energy.deep_boltzmann_greedy import pretrain_deep_boltzmann
from lamina.energy.mean_field_learning import MeanFieldLearning
from lamina.errors import ConfigError
from lamina.training import GradientStep, Step, fit

G = torch.Generator
X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def test_U19_the_gradient_is_the_bounds() -> None:
    chains = 40_000
    machine = made((3, 3, 2), size=0.8, chains=chains)
    MeanFieldLearning(100, 40, G().manual_seed(0))(machine, Batch(X)).total.backward()
    found = [p.grad.clone() for p in machine.parameters()]
    machine.zero_grad()
    # The mean field is a maximum of the bound, so its own change adds nothing; log Z has derivatives.
    (-machine.bound(X, machine.log_partition(), machine.mean_field(X, 100)).mean()).backward()
    for gradient, p in zip(found, machine.parameters(), strict=True):
        assert float(p.grad.abs().max()) > 0.05
        torch.testing.assert_close(gradient, p.grad, rtol=0.0, atol=5 * 0.5 / np.sqrt(chains))
    # And by differences of the enumerated log Z and the bound, in one weight.
    weight, step = machine.weights[1], 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0] += sign * step
            values.append(float(machine.bound(X, oracle(machine).log_z, machine.mean_field(X, 300)).mean()))
            weight[0, 0] -= sign * step
    assert abs(-(values[0] - values[1]) / (2 * step) - float(weight.grad[0, 0])) < 1e-7


def test_chains_move_on_and_weights_count_examples() -> None:
    machine = made((3, 3, 2), chains=6)
    assert machine.chains is not None
    began = machine.split(machine.chains.clone())
    weights = torch.tensor([2.0, 0.0]).double()
    loss = MeanFieldLearning(3, 2, G().manual_seed(1))(machine, Batch(X, weights=weights))
    moved = machine.gibbs(began, 2, G().manual_seed(1))
    assert torch.equal(machine.chains, torch.cat(moved, 1))
    torch.testing.assert_close(loss.parts["samples"], machine.energy(moved).mean().detach())
    data = machine.energy([X, *machine.mean_field(X, 3)])[0]
    torch.testing.assert_close(loss.parts["data"], data.detach())
    torch.testing.assert_close(loss.total.detach(), loss.parts["data"] - loss.parts["samples"])


def test_U19_it_learns_after_pretraining() -> None:
    pictures = bars_and_stripes(2)
    data = InMemory(Batch(pictures.repeat(20, 1)), 120)
    machine = DeepBoltzmannMachine((4, 6, 4), std=0.1, chains=200, generator=G().manual_seed(0))

    def learn(rbm: RBM, generator: torch.Generator) -> Step:
        return GradientStep(rbm, ContrastiveDivergence(generator=generator), torch.optim.SGD(rbm.parameters(), 0.3))

    pretrain_deep_boltzmann(machine, data, learn, epochs=400, generator=G().manual_seed(1))
    with torch.no_grad():
        before = float(machine.bound(pictures, machine.log_partition()).mean())
    learning = MeanFieldLearning(10, 5, G().manual_seed(2))
    step = GradientStep(machine, learning, torch.optim.SGD(machine.parameters(), 0.2))
    fit(step, data, max_epochs=400)
    with torch.no_grad():
        log_z = machine.log_partition()
        bound = float(machine.bound(pictures, log_z).mean())
        likelihood = float(machine.log_likelihood(pictures, log_z).mean())
    assert bound > before + 0.3  # seeds 0 and 1 gave 0.52 and 0.61
    assert -2.05 < bound <= likelihood < -np.log(6)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="MeanFieldLearning: mean_field_sweeps and sweeps must be at least 1"):
        MeanFieldLearning(0)
    with pytest.raises(ConfigError, match="MeanFieldLearning: trains a DeepBoltzmannMachine, got a RBM"):
        MeanFieldLearning()(RBM(3, 2), Batch(X))
    with pytest.raises(ConfigError, match="MeanFieldLearning: the machine keeps no chains"):
        MeanFieldLearning()(made((3, 3, 2)), Batch(X))
