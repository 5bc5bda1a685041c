"""The limited-memory matrix against BFGS's update written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.optim.limited_memory import DiagonalPlusLowRank, Pair, compact, damped, initial_scale, two_loops


def some_pairs(m: int, n: int = 7, seed: int = 0) -> list[Pair]:
    """Steps on a quadratic, so that s·y > 0."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, n))
    h = a @ a.T + 0.5 * np.eye(n)
    steps = [rng.standard_normal(n) for _ in range(m)]
    return [Pair.of(torch.tensor(s), torch.tensor(h @ s)) for s in steps]


def dense(pairs: list[Pair], diagonal: np.ndarray) -> np.ndarray:
    """H by the definition of BFGS, from γD."""
    s, y = (v.numpy() for v in pairs[-1][:2])
    h = (s @ y) / (y @ (diagonal * y)) * np.diag(diagonal)
    eye = np.eye(len(diagonal))
    for pair in pairs:
        s, y = pair.s.numpy(), pair.y.numpy()
        rho = 1 / (s @ y)
        h = (eye - rho * np.outer(s, y)) @ h @ (eye - rho * np.outer(y, s)) + rho * np.outer(s, s)
    return h


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_O19_two_loops_and_compact_form_are_bfgs(m: int, scaled: bool) -> None:
    pairs = some_pairs(m)
    shares = torch.linspace(0.1, 1.0, 7, dtype=torch.float64) if scaled else None
    h = dense(pairs, np.ones(7) if shares is None else shares.numpy())
    low_rank = compact(pairs, shares)
    assert isinstance(low_rank, DiagonalPlusLowRank)
    assert low_rank.factors.shape == (7, 2 * m)
    whole = torch.diag(low_rank.diagonal) + low_rank.factors @ low_rank.middle @ low_rank.factors.mT
    np.testing.assert_allclose(whole.numpy(), h, rtol=1e-9, atol=1e-10)
    for column in torch.eye(7, dtype=torch.float64):
        np.testing.assert_allclose(two_loops(column, pairs, shares).numpy(), h @ column.numpy(), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(low_rank.product(column), whole @ column)
    assert np.linalg.eigvalsh(h).min() > 0


@pytest.mark.parametrize("m", [1, 4])
def test_O19_secant_equation(m: int) -> None:
    pairs = some_pairs(m, seed=3)
    torch.testing.assert_close(two_loops(pairs[-1].y, pairs), pairs[-1].s)
    torch.testing.assert_close(compact(pairs).product(pairs[-1].y), pairs[-1].s)


def test_O19_one_pair_is_memoryless_bfgs() -> None:
    """-H g as Nocedal & Wright print it, eq. 7.21 with H₀ = I, and scaled by γ as Shanno has it."""
    ((s, y, _),) = pairs = some_pairs(1, seed=5)
    g = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gamma = (s @ y) / (y @ y)
    ys = y @ s
    by_hand = gamma * (g - (s @ g) / ys * y - (y @ g) / ys * s) + (1 + gamma * (y @ y) / ys) * (s @ g) / ys * s
    torch.testing.assert_close(two_loops(g, pairs), by_hand)
    torch.testing.assert_close(initial_scale(pairs[0]), gamma)


def test_without_pairs_it_is_the_diagonal_and_the_argument_stays() -> None:
    v, d = torch.randn(4, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 0.5, 0.0, 2.0])
    kept = v.clone()
    torch.testing.assert_close(two_loops(v, [], d), d * v)
    torch.testing.assert_close(two_loops(v, []), v)
    two_loops(v.double().repeat(2)[:7], some_pairs(2))
    assert torch.equal(v, kept)


def test_O19_a_damped_pair_keeps_the_matrix_positive_definite() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 5))
    b = a @ a.T + np.eye(5)
    for seed in range(20):
        draw = np.random.default_rng(seed)
        s, y = draw.standard_normal(5), draw.standard_normal(5)
        bs = b @ s
        pair = damped(Pair.of(torch.tensor(s), torch.tensor(y)), torch.tensor(bs), 0.2)
        r = pair.y.numpy()
        np.testing.assert_array_equal(pair.s.numpy(), s)
        if s @ y >= 0.2 * (s @ bs):
            np.testing.assert_allclose(r, y)
        else:
            assert s @ r == pytest.approx(0.2 * (s @ bs))
            psi = 0.8 * (s @ bs) / (s @ bs - s @ y)
            np.testing.assert_allclose(r, psi * y + (1 - psi) * bs)
        after = b - np.outer(bs, bs) / (s @ bs) + np.outer(r, r) / (s @ r)
        assert np.linalg.eigvalsh(after).min() > 0
