"""Parallel tempering against the enumerated distribution of machines with two modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy.machines import arrays, bars_and_stripes, machine
from energy.nets import chi_square, counted, total_variation
from energy.oracle import Enumerated, log_sum
from lamina.data.batch import Batch
from lamina.energy import RBM, ContrastiveDivergence, ContrastiveDivergenceStep, Gaussian, Rectified
from lamina.energy.tempering import parallel_tempering
from lamina.errors import ConfigError

G = torch.Generator
LADDER = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)


def two_modes() -> RBM:
    """All units on or all off, equally likely, and hardly anything between."""
    rbm = RBM(6, 6, std=0.0).double()
    with torch.no_grad():
        rbm.weight.fill_(2.0)
        rbm.visible_bias.fill_(-6.0)
        rbm.hidden_bias.fill_(-6.0)
    return rbm


def test_U02_tempered_chains_visit_both_modes_and_plain_ones_do_not() -> None:
    rbm = two_modes()
    exact = Enumerated(*arrays(rbm))
    p = exact.joint.sum(1)
    assert abs(p[0] - p[-1]) < 1e-9 and p[0] > 0.4
    chains = 400
    start = torch.zeros(chains, 6).double()
    plain = rbm.gibbs(start, 200, G().manual_seed(0))
    assert total_variation(counted(plain, exact.v), p) > 0.25
    moved = parallel_tempering(rbm, start.repeat(len(LADDER), 1), LADDER, 200, G().manual_seed(0))
    assert total_variation(counted(moved.v[:chains], exact.v), p) < 0.08
    assert bool((moved.swaps > 0.1).all()) and bool((moved.swaps < 1).all())


def test_U02_each_rung_keeps_its_own_distribution() -> None:
    rbm, ladder, rows = machine(4, 3, size=1.5), (1.0, 0.5, 0.2), 4000
    exact = Enumerated(*arrays(rbm))
    moved = parallel_tempering(rbm, torch.zeros(3 * rows, 4).double(), ladder, 30, G().manual_seed(1))
    for beta, some in zip(ladder, moved.v.split(rows), strict=True):
        tempered = beta * exact.exponent
        p = np.exp(log_sum(tempered, axis=1) - log_sum(tempered))
        assert chi_square(counted(some, exact.v), p) > 1e-3


def test_the_share_of_swaps_is_that_of_the_rule() -> None:
    # Two rungs in their own distributions: the mean of min(1, e^…) over both, enumerated.
    rbm, rows = machine(3, 2), 20_000
    exact = Enumerated(*arrays(rbm))
    s = exact.exponent.reshape(-1)
    p1, p2 = (np.exp(beta * s) / np.exp(beta * s).sum() for beta in (1.0, 0.3))
    expected = (p1[:, None] * p2 * np.minimum(1.0, np.exp(0.7 * (s[None] - s[:, None])))).sum()
    start = parallel_tempering(rbm, torch.zeros(2 * rows, 3).double(), (1.0, 0.3), 20, G().manual_seed(0)).v
    share = parallel_tempering(rbm, start, (1.0, 0.3), 1, G().manual_seed(5)).swaps
    assert abs(float(share[0]) - expected) < 0.015


def test_gaussian_units_keep_their_variance_at_every_temperature() -> None:
    rbm = machine(2, 2, Gaussian())
    moved = parallel_tempering(rbm, torch.zeros(8000, 2).double(), (1.0, 0.0), 5, G().manual_seed(0))
    assert rbm.visible_log_variance is not None
    hottest = moved.v[4000:]
    torch.testing.assert_close(hottest.std(0), torch.exp(0.5 * rbm.visible_log_variance).detach(), rtol=0.05, atol=0.0)
    assert float(hottest.mean(0).abs().max()) < 0.1


def test_the_objective_uses_the_coldest_rung_and_keeps_all() -> None:
    rbm = machine(4, 3, chains=9)
    assert rbm.chains is not None
    began = rbm.chains.clone()
    data = torch.ones(5, 4).double()
    ladder = (1.0, 0.5, 0.0)
    objective = ContrastiveDivergence(2, True, generator=G().manual_seed(3), temperatures=ladder)
    loss = objective(rbm, Batch(data))
    moved = parallel_tempering(rbm, began, ladder, 2, G().manual_seed(3)).v
    assert torch.equal(rbm.chains, moved)
    torch.testing.assert_close(loss.total, rbm.free_energy(data).mean() - rbm.free_energy(moved[:3]).mean())


def test_U02_bars_and_stripes_of_side_4_are_learnt_to_their_entropy() -> None:
    pictures, ladder = bars_and_stripes(4), (1.0, 0.8, 0.6, 0.4, 0.2)
    assert len(pictures) == 30
    generator = G().manual_seed(0)
    rbm = RBM(16, 24, std=0.1, chains=100 * len(ladder), generator=generator)
    step = ContrastiveDivergenceStep(rbm, persistent=True, temperatures=ladder, momentum=0.5, generator=generator)
    batch = Batch(pictures.repeat(5, 1))
    for rate, updates in ((0.2, 2000), (0.04, 1000), (0.008, 1000)):
        for group in step.optimizer.param_groups:
            group["lr"] = rate
        for _ in range(updates):
            step(batch)
    mean = float(rbm.log_likelihood(pictures, rbm.log_partition()).mean().detach())
    assert 0 < -np.log(30) - mean < 0.15


def test_refusals() -> None:
    rbm = machine(4, 3)
    for ladder in ((1.0,), (0.9, 0.1), (1.0, 0.5, 0.5), (1.0, -0.1)):
        with pytest.raises(ConfigError, match="parallel_tempering: temperatures are inverse ones"):
            parallel_tempering(rbm, torch.zeros(4, 4).double(), ladder)
    with pytest.raises(ConfigError, match="5 chains are not whole rungs of 2"):
        parallel_tempering(rbm, torch.zeros(5, 4).double(), (1.0, 0.0))
    with pytest.raises(ConfigError, match="Rectified"):
        parallel_tempering(machine(4, 3, hidden=Rectified()), torch.zeros(4, 4).double(), (1.0, 0.0))
    with pytest.raises(ConfigError, match="ContrastiveDivergence: only persistent chains"):
        ContrastiveDivergence(temperatures=(1.0, 0.0))
