"""Draws of 0 and 1: their law to the last level, their independence, and the recipe written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.energy.binary_draws import BinaryDraws, draw_binary

G = torch.Generator
LEVEL = 2.0**-16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_share_of_ones_is_p_between_two_levels_too(dtype: torch.dtype) -> None:
    # Rows share r, so each draw of one row counts for the levels below 2^-16.
    p = torch.tensor([0.5, 0.3, 0.999, 0.01, 0.0, 1.0, 2.0**-24, 1.0 - 2.0**-20], dtype=dtype)
    generator, n = G().manual_seed(0), 200_000
    ones = draw_binary(p.expand(n, -1), generator).double().mean(0)
    q = p.double()
    assert bool(((ones - q).abs() <= 5 * (q * (1 - q) / n).sqrt() + LEVEL).all())
    assert ones[4] == 0 and ones[5] == 1


def test_r_decides_between_two_levels() -> None:
    # With k known, x is 1 for k + r < 2^16 p: of p a quarter above a level, three draws in four have r above it.
    n = 40_000
    p = torch.full((n,), (20_000 + 0.25) * LEVEL, dtype=torch.float64)
    generator = G().manual_seed(1)
    words = torch.empty(n // 4, dtype=torch.int64).random_(-(2**63), None, generator=G().manual_seed(1))
    k = words.numpy().view(np.uint16) ^ 0x8000
    x = draw_binary(p, generator).numpy()
    assert np.array_equal(x[k < 20_000], np.ones((k < 20_000).sum()))
    assert np.array_equal(x[k > 20_000], np.zeros((k > 20_000).sum()))
    at_edge = torch.from_numpy(k.astype(np.float64) + 0.25) * LEVEL  # all units: their share is that of r < 1/4
    share = float(draw_binary(at_edge, G().manual_seed(1)).mean())
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / n)


def test_units_and_rows_are_independent() -> None:
    n = 40_000  # repetitions side by side, of 6 units each, with 4 rows
    drawn = draw_binary(torch.full((4, n * 6), 0.3), G().manual_seed(2))
    x = drawn.view(4, n, 6).transpose(0, 1).reshape(n, 24).double()
    covariance = (x - x.mean(0)).t() @ (x - x.mean(0)) / n
    away = (covariance - 0.21 * torch.eye(24)).abs()
    assert float(away.max()) < 5 * 0.25 / np.sqrt(n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_the_same_memory_the_draws_are_the_same(dtype: torch.dtype) -> None:
    p = torch.rand(7, 5, generator=G().manual_seed(0)).to(dtype)
    expected, draws = draw_binary(p, G().manual_seed(3)), BinaryDraws(p)
    assert 5 < float(expected.float().sum()) < 30
    for _ in range(2):
        out, kept = torch.empty_like(p), p.clone()
        assert draws(kept, G().manual_seed(3), out, torch.empty_like(p)) is out
        assert torch.equal(out, expected) and torch.equal(kept, p)
        assert torch.equal(draws(kept, G().manual_seed(3), torch.empty_like(p), kept), expected)
        both = p.clone()
        draws(both, G().manual_seed(3), both, torch.empty_like(p))
        assert torch.equal(both, expected)
    assert torch.equal(draw_binary(p.clone(), G().manual_seed(3), spend=True), expected)
    generator = G().manual_seed(3)
    draws(p, generator, out := torch.empty_like(p), torch.empty_like(p))
    assert not torch.equal(draws(p, generator, out.clone(), torch.empty_like(p)), out)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 5), (0, 4), (4, 0)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    assert draw_binary(torch.full(shape, 0.5), G().manual_seed(0)).shape == shape
    grown = torch.full(shape, 0.5, requires_grad=True)
    assert not draw_binary(grown, G().manual_seed(0)).requires_grad


def test_other_types_take_a_uniform_number_each() -> None:
    p = torch.rand(9, 4, generator=G().manual_seed(0)).to(torch.bfloat16)
    uniform = torch.empty_like(p).uniform_(generator=G().manual_seed(5))
    assert torch.equal(draw_binary(p, G().manual_seed(5)), (uniform < p).to(torch.bfloat16))
