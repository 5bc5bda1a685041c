"""Layers of several types of units, against the parts on their own and by enumeration."""

from __future__ import annotations

import math

import pytest
import torch

from energy.machines import machine
from lamina.energy import Bernoulli, Binomial, Gaussian, Softmax
from lamina.energy.joined_units import Joined
from lamina.errors import ConfigError

JOINED = Joined(((Bernoulli(), 2), (Softmax(3), 3), (Binomial(2), 1)))


def test_partition_and_mean_are_sums_over_the_values() -> None:
    theta = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = JOINED.values()
    assert values is not None and values.shape == (4 * 3 * 3, 6)
    values = values.double()
    weights = values @ theta + JOINED.log_base(values)
    torch.testing.assert_close(JOINED.log_partition(theta), weights.logsumexp(0))
    torch.testing.assert_close(JOINED.mean(theta), weights.softmax(0) @ values)
    draws = JOINED.sample(theta.expand(40_000, -1), torch.Generator().manual_seed(1))
    torch.testing.assert_close(draws.mean(0), JOINED.mean(theta), rtol=0.0, atol=0.02)
    assert bool((draws[:, 2:5].sum(1) == 1).all())


def test_a_machine_with_it_sums_to_one_from_both_sides() -> None:
    rbm = machine(6, 3, JOINED)
    values = JOINED.values()
    assert values is not None
    by_visible = -rbm.free_energy(values.double())
    torch.testing.assert_close(by_visible.logsumexp(0), rbm.log_partition())
    wide = machine(6, 9, JOINED)  # enumerates the visible side
    assert 2**9 > 36
    torch.testing.assert_close((-wide.free_energy(values.double())).logsumexp(0), wide.log_partition())


def test_too_many_states_are_left_to_the_other_side() -> None:
    units = Joined(((Bernoulli(), 40), (Softmax(10), 10)))
    assert units.values() is None
    assert Joined(((Gaussian(learn_variance=False), 1), (Softmax(2), 2))).values() is None
    rbm = machine(50, 3, units)
    assert math.isfinite(float(rbm.log_partition()))
    v = units.sample(torch.zeros(500, 50).double(), torch.Generator().manual_seed(0))
    rbm.set_visible_bias(v)
    torch.testing.assert_close(units.mean(rbm.visible_bias.detach()), v.mean(0), rtol=0.0, atol=0.002)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="Joined: needs at least one part"):
        Joined(())
    with pytest.raises(ConfigError, match="Joined: the parts have 6 units and the layer 7"):
        machine(7, 3, JOINED)
    with pytest.raises(ConfigError, match="Softmax: 4 visible units"):
        machine(6, 3, Joined(((Bernoulli(), 2), (Softmax(3), 4))))
