"""The sparsifying logistic against its recursion, example by example."""

from __future__ import annotations

import math

import pytest
import torch

from lamina.autoencoders.sparsifying_logistic import SparsifyingLogistic
from lamina.errors import ConfigError

ETA, BETA = 0.1, 1.5


def test_U09_is_the_recursion_of_the_paper() -> None:
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = SparsifyingLogistic(4, ETA, BETA).double()
    zeta = [1.0] * 4
    for row in z:  # one example a batch: the paper's rule to the letter
        found = unit(row[None])[0]
        unit.follow(row[None])
        for j in range(4):
            e = ETA * math.exp(BETA * row[j])
            zeta_new = e + (1 - ETA) * zeta[j]
            assert float(found[j]) == pytest.approx(e / zeta_new, rel=1e-12)
            zeta[j] = zeta_new
    at_once = SparsifyingLogistic(4, ETA, BETA).double()
    at_once.follow(z[:5])
    at_once.follow(z[5:])
    torch.testing.assert_close(at_once.log_zeta.exp(), torch.tensor(zeta, dtype=torch.float64))
    torch.testing.assert_close(unit.log_zeta, at_once.log_zeta)


def test_the_mean_is_about_eta_whatever_the_inputs_level() -> None:
    z = torch.randn(4_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5
    z = z + torch.tensor([-40.0, 0.0, 300.0], dtype=torch.float64)
    unit = SparsifyingLogistic(3, 0.05, 1.0).double()
    unit.follow(z)
    torch.testing.assert_close(unit(z).mean(0), torch.full((3,), 0.05, dtype=torch.float64), rtol=0.25, atol=0.0)
    assert unit(z).isfinite().all() and unit(-z).isfinite().all()


def test_calling_it_moves_nothing_and_the_state_is_kept() -> None:
    z = torch.randn(5, 2)
    unit = SparsifyingLogistic(2)
    assert torch.equal(unit(z), unit(z))
    unit.follow(z)
    other = SparsifyingLogistic(2)
    other.load_state_dict(unit.state_dict())
    assert torch.equal(other(z), unit(z)) and not torch.equal(unit(z), SparsifyingLogistic(2)(z))


@pytest.mark.parametrize("arguments", [(0, 0.1, 1.0), (2, 0.0, 1.0), (2, 1.0, 1.0), (2, 0.1, 0.0), (2, 0.1, math.inf)])
def test_refuses(arguments: tuple[int, float, float]) -> None:
    with pytest.raises(ConfigError):
        SparsifyingLogistic(*arguments)
