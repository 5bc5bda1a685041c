"""Contrastive divergence against the enumerated likelihood and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from energy.machines import arrays, machine
from energy.oracle import Enumerated
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import (
    RBM,
    Bernoulli,
    Binomial,
    ContrastiveDivergence,
    Gaussian,
    Rectified,
    Softmax,
)
from lamina.energy.units import Units
from lamina.errors import ConfigError
from lamina.training import GradientStep, fit

DATA = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)


def test_U02_the_value_is_the_free_energy_gap_of_the_samples() -> None:
    rbm = machine(4, 3)
    loss = ContrastiveDivergence(2, generator=torch.Generator().manual_seed(5))(rbm, Batch(DATA))
    samples = rbm.gibbs(DATA, 2, torch.Generator().manual_seed(5))
    expected = rbm.free_energy(DATA).mean() - rbm.free_energy(samples).mean()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.parts["data"] - loss.parts["samples"], expected.detach())


@pytest.mark.parametrize("persistent", [False, True])
def test_U02_many_sweeps_give_the_likelihoods_gradient(persistent: bool) -> None:
    copies = 8000
    rbm = machine(4, 3, size=0.8, chains=3 * copies)
    objective = ContrastiveDivergence(25, persistent=persistent, generator=torch.Generator().manual_seed(0))
    objective(rbm, Batch(DATA.repeat(copies, 1))).total.backward()
    exact = Enumerated(*arrays(rbm)).likelihood_gradient(DATA.numpy())
    for p, gradient in zip((rbm.weight, rbm.visible_bias, rbm.hidden_bias), exact, strict=True):
        assert np.abs(gradient).max() > 0.1
        np.testing.assert_allclose(-p.grad.numpy(), gradient, atol=5 * 0.5 / np.sqrt(3 * copies))


@pytest.mark.parametrize("persistent", [False, True])
def test_U02_the_machines_own_distribution_is_a_fixed_point(persistent: bool) -> None:
    n = 200_000
    rbm = machine(4, 3, chains=n)
    whole = Enumerated(*arrays(rbm))
    generator = torch.Generator().manual_seed(0)
    own, even = (
        torch.from_numpy(whole.v)[torch.multinomial(torch.from_numpy(p), n, replacement=True, generator=generator)]
        for p in (whole.joint.sum(1), np.full(16, 1 / 16))
    )
    largest = []
    for data in (own, even):
        rbm.zero_grad()
        rbm.chains.copy_(own)  # type: ignore[union-attr]
        objective = ContrastiveDivergence(1, persistent=persistent, generator=torch.Generator().manual_seed(1))
        objective(rbm, Batch(data)).total.backward()
        largest.append(max(float(p.grad.abs().max()) for p in rbm.parameters() if p.grad is not None))
    assert largest[0] < 5 * 0.7 / np.sqrt(n)  # a difference of two means of numbers from 0 to 1
    assert largest[1] > 0.05


def test_the_likelihoods_own_gradient_by_autograd_is_the_enumerated_one() -> None:
    rbm = machine(4, 3)
    (rbm.free_energy(DATA).mean() + rbm.log_partition(differentiable=True)).backward()
    exact = Enumerated(*arrays(rbm)).likelihood_gradient(DATA.numpy())
    for p, gradient in zip((rbm.weight, rbm.visible_bias, rbm.hidden_bias), exact, strict=True):
        np.testing.assert_allclose(-p.grad.numpy(), gradient, atol=1e-12)


def test_example_weights_count_examples() -> None:
    rbm = machine(4, 3)
    loss = ContrastiveDivergence(reconstruction="mean", generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([2.0, 0.0, 1.0]).double()
    value = loss(rbm, Batch(DATA, weights=weights)).total
    samples = rbm.gibbs(DATA, 1, torch.Generator().manual_seed(0), reconstruction="mean")
    gap = rbm.free_energy(DATA) - rbm.free_energy(samples)
    torch.testing.assert_close(value, (2 * gap[0] + gap[2]) / 3)


def test_chains_move_on_and_start_where_they_ended() -> None:
    rbm = machine(4, 3, chains=6)
    assert rbm.chains is not None
    began, generator = rbm.chains.clone(), torch.Generator().manual_seed(1)
    ContrastiveDivergence(1, persistent=True, generator=generator)(rbm, Batch(DATA))
    other = torch.Generator().manual_seed(1)
    after = rbm.gibbs(began, 1, other)
    assert torch.equal(rbm.chains, after)
    ContrastiveDivergence(1, persistent=True, generator=generator)(rbm, Batch(DATA))
    assert torch.equal(rbm.chains, rbm.gibbs(after, 1, other))


@pytest.mark.parametrize("persistent", [False, True])
def test_U02_the_likelihood_rises(persistent: bool) -> None:
    kinds = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    generator = torch.Generator().manual_seed(0)
    rbm = RBM(6, 4, chains=300, generator=generator)
    before = float(rbm.log_likelihood(kinds, rbm.log_partition()).mean().detach())
    objective = ContrastiveDivergence(3, persistent=persistent, generator=generator)
    step = GradientStep(rbm, objective, torch.optim.SGD(rbm.parameters(), lr=0.06, momentum=0.5))
    fit(step, InMemory(Batch(kinds.repeat(30, 1)), 60), max_epochs=400)
    after = float(rbm.log_likelihood(kinds, rbm.log_partition()).mean().detach())
    assert before == pytest.approx(-6 * np.log(2), abs=0.05)
    assert after > -1.3  # -log 2 is the best; seeds 0 to 3 gave -0.86 to -1.14


PAIRS: list[tuple[Units, Units]] = [
    (Gaussian(), Bernoulli()),
    (Gaussian(), Rectified()),
    (Gaussian(learn_variance=False), Rectified()),
    (Softmax(3), Bernoulli()),
    (Binomial(4), Rectified()),
    (Bernoulli(), Gaussian(learn_variance=False)),
    (Bernoulli(), Softmax(2)),
    (Binomial(2), Binomial(2)),
]


@pytest.mark.parametrize(("visible", "hidden"), PAIRS, ids=str)
def test_any_pair_of_units_learns_finite_weights(visible: Units, hidden: Units) -> None:
    generator = torch.Generator().manual_seed(0)
    rbm = RBM(6, 4, visible, hidden, generator=generator)
    data = visible.sample(torch.randn(64, 6, generator=generator), generator)
    step = GradientStep(
        rbm, ContrastiveDivergence(generator=generator), torch.optim.SGD(rbm.parameters(), lr=0.01, momentum=0.5)
    )
    start = {name: p.clone() for name, p in rbm.named_parameters()}
    for _ in range(20):
        step(Batch(data))
    for name, p in rbm.named_parameters():
        assert p.isfinite().all()
        assert not torch.equal(p, start[name])


def test_learnt_variances_find_the_datas() -> None:
    generator = torch.Generator().manual_seed(0)
    rbm = RBM(2, 1, Gaussian(), std=0.0, generator=generator)
    data = torch.randn(2000, 2, generator=generator) * torch.tensor([0.5, 2.0])
    rbm.set_visible_bias(data)
    step = GradientStep(rbm, ContrastiveDivergence(generator=generator), torch.optim.Adam(rbm.parameters(), lr=0.03))
    for _ in range(300):
        step(Batch(data))
    assert rbm.visible_log_variance is not None
    std = torch.exp(0.5 * rbm.visible_log_variance.detach())
    torch.testing.assert_close(std, torch.tensor([0.5, 2.0]), rtol=0.1, atol=0)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="ContrastiveDivergence: sweeps must be at least 1"):
        ContrastiveDivergence(0)
    with pytest.raises(ConfigError, match="persistent chains of means"):
        ContrastiveDivergence(persistent=True, reconstruction="mean")
    with pytest.raises(ConfigError, match="reconstruction must be one of sample, mean"):
        ContrastiveDivergence(reconstruction="both")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="draw_data is for Bernoulli visible units, these are Gaussian"):
        ContrastiveDivergence(draw_data=True)(machine(4, 3, Gaussian()), Batch(DATA))
    with pytest.raises(ConfigError, match="keeps no chains"):
        ContrastiveDivergence(persistent=True)(machine(), Batch(DATA))
    with pytest.raises(ConfigError, match="trains an RBM, got a Linear"):
        ContrastiveDivergence()(nn.Linear(4, 3), Batch(DATA))
