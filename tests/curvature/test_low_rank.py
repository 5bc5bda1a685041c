"""Diagonal and low rank against explicit matrices, eigendecompositions and dense solutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from curvature import net
from curvature.test_batch_loss import batch, explicit, matrix
from lamina.curvature.diagonal import curvature_diagonal
from lamina.curvature.lanczos import lanczos
from lamina.curvature.low_rank import DiagonalLowRank, low_rank_from_eigenpairs, low_rank_from_gradients, principal
from lamina.errors import ConfigError


def dense(found: DiagonalLowRank) -> Tensor:
    return matrix(found.product, found.like)


def test_O18_with_all_directions_it_is_exact() -> None:
    loss = batch("mlp", penalty=False)
    for kind in ("empirical-fisher", "gauss-newton"):
        found = low_rank_from_gradients(loss, 18, kind)
        torch.testing.assert_close(dense(found), explicit(loss, kind), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("keep", [True, False])
def test_O18_rank_two_is_the_best_there_is(keep: bool) -> None:
    loss = batch("mlp", penalty=False)
    whole = explicit(loss, "empirical-fisher")
    values, vectors = torch.linalg.eigh(whole)
    best = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].mT
    expected = best + torch.diag((whole - best).diagonal()) if keep else best
    found = low_rank_from_gradients(loss, 2, keep_diagonal=keep)
    torch.testing.assert_close(dense(found), expected, rtol=1e-8, atol=1e-12)


def test_O18_from_eigenpairs_of_products() -> None:
    loss = batch("mlp", penalty=False)
    whole = explicit(loss, "gauss-newton")
    pairs = lanczos(loss.product(), loss.parameters, 3, tolerance=1e-12, generator=net.seeded(0))
    values, vectors = torch.linalg.eigh(whole)
    best = (vectors[:, -3:] * values[-3:]) @ vectors[:, -3:].mT
    torch.testing.assert_close(dense(low_rank_from_eigenpairs(pairs)), best, rtol=1e-7, atol=1e-9)
    found = low_rank_from_eigenpairs(pairs, curvature_diagonal(loss))
    torch.testing.assert_close(dense(found), best + torch.diag((whole - best).diagonal()), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(dense(found).diagonal(), whole.diagonal(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 4])
def test_O18_solution_is_the_dense_one(rank: int) -> None:
    loss = batch("mlp", penalty=False)
    found = low_rank_from_gradients(loss, rank)
    v = torch.randn(len(net.flat(loss.parameters)), generator=net.seeded(1), dtype=torch.float64)
    damped = dense(found) + 0.05 * torch.eye(len(v), dtype=torch.float64)
    solved = net.flat(found.solve(net.unflat(v, loss.parameters), 0.05))
    torch.testing.assert_close(solved, torch.linalg.solve(damped, v), rtol=1e-9, atol=1e-10)


def test_principal_directions_of_few_rows_are_the_rows() -> None:
    rows = torch.randn(3, 7, generator=net.seeded(0))
    assert torch.equal(principal(rows, 3), rows)
    assert principal(rows, 2).shape == (2, 7)


def test_misfits_are_refused() -> None:
    loss = batch("mlp", penalty=False)
    with pytest.raises(ConfigError, match="rank"):
        low_rank_from_gradients(loss, 0)
    with pytest.raises(ConfigError, match="above 0"):
        low_rank_from_gradients(loss, 2, keep_diagonal=False).solve(loss.parameters)
