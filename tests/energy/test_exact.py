"""Enumeration: every state once, in pieces, and no more states than can be waited for."""

from __future__ import annotations

import math

import pytest
import torch

from lamina.energy import RBM, Binomial, Gaussian, Softmax, all_states
from lamina.energy.exact import count_states, log_sum_over_states
from lamina.energy.units import Bernoulli, Units
from lamina.errors import ConfigError


@pytest.mark.parametrize(("units", "n", "number"), [(Bernoulli(), 5, 32), (Binomial(2), 3, 27), (Softmax(3), 6, 9)])
@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_every_state_once(units: Units, n: int, number: int, at_once: int) -> None:
    pieces = list(all_states(units, n, torch.zeros(1).double(), at_once))
    assert all(len(piece) <= at_once for piece in pieces)
    whole = torch.cat(pieces)
    assert whole.dtype == torch.float64
    assert whole.shape == (number, n)
    assert len(whole.unique(dim=0)) == number
    assert count_states(units, n) == number


def test_pieces_add_up() -> None:
    weights = torch.linspace(-1, 2, 12).double()
    total = log_sum_over_states(Bernoulli(), 12, lambda x: x @ weights, weights, width=2**19)  # 4 states a piece
    assert math.isclose(float(total), float(torch.log1p(weights.exp()).sum()), rel_tol=1e-12)


def test_the_side_with_fewer_states_is_enumerated() -> None:
    wide = RBM(200, 5, std=0.1, generator=torch.Generator().manual_seed(0)).double()
    narrow = RBM(5, 200, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        narrow.weight.copy_(wide.weight.t())
    torch.testing.assert_close(wide.log_partition(), narrow.log_partition(), rtol=1e-12, atol=0)


def test_too_many_states_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"states of 26 Bernoulli units are 6\.71e") as caught:
        RBM(30, 26).log_partition()
    assert "annealed_importance" in caught.value.mend
    with pytest.raises(ConfigError, match="Gaussian units are without number"):
        next(all_states(Gaussian(), 2, torch.zeros(1), 4))
