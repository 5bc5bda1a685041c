"""Orthogonal matching pursuit against scikit-learn, all supports of a small dictionary, and its definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp
from torch import Tensor

from lamina.autoencoders import MatchingPursuitFeatures, orthogonal_matching_pursuit
from lamina.errors import ConfigError


def problem(n: int, d: int, atoms: int, seed: int = 0, unit: bool = True) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64)
    w = torch.randn(d, atoms, generator=g, dtype=torch.float64)
    return x, w / w.norm(dim=0) if unit else w


def by_hand(x: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    """The definition, one example at a time, each least-squares problem solved anew."""
    h = np.zeros(w.shape[1])
    chosen: list[int] = []
    residual = x
    for _ in range(k):
        match = np.abs(w.T @ residual) / np.linalg.norm(w, axis=0)
        match[chosen] = -1
        chosen.append(int(match.argmax()))
        solved = np.linalg.lstsq(w[:, chosen], x, rcond=None)[0]
        residual = x - w[:, chosen] @ solved
    h[chosen] = solved
    return h


@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_R24_scikit_learns_codes(k: int) -> None:
    x, w = problem(40, 10, 25)
    theirs = orthogonal_mp(w.numpy(), x.numpy().T, n_nonzero_coefs=k).T
    np.testing.assert_allclose(orthogonal_matching_pursuit(x, w, k).numpy(), theirs, rtol=1e-9, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 5), d=st.integers(1, 8), atoms=st.integers(1, 12), data=st.data())
def test_R24_its_definition_for_atoms_of_any_length(seed: int, n: int, d: int, atoms: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, min(d, atoms)))
    x, w = problem(n, d, atoms, seed, unit=False)
    codes = orthogonal_matching_pursuit(x, w, k)
    assert codes.shape == (n, atoms)
    assert ((codes != 0).sum(1) <= k).all()
    for row, code in zip(x.numpy(), codes.numpy(), strict=True):
        np.testing.assert_allclose(code, by_hand(row, w.numpy(), k), rtol=1e-6, atol=1e-8)
    residual = x - codes @ w.mT
    for r, code in zip(residual, codes, strict=True):
        assert (w[:, code != 0].mT @ r).abs().max() < 1e-8 * float(w.norm(dim=0).max())


def test_R24_greedy_is_no_better_than_the_best_support_and_often_is_it() -> None:
    x, w = problem(60, 6, 8, seed=3)
    codes = orthogonal_matching_pursuit(x, w, 2)
    greedy = (x - codes @ w.mT).square().sum(1).numpy()
    best = np.full(60, np.inf)
    for support in itertools.combinations(range(8), 2):
        part = w.numpy()[:, support]
        residual = x.numpy().T - part @ np.linalg.lstsq(part, x.numpy().T, rcond=None)[0]
        best = np.minimum(best, (residual**2).sum(0))
    assert (greedy >= best - 1e-12).all()
    assert (greedy < best + 1e-9).mean() > 0.5
    one = orthogonal_matching_pursuit(x, w, 1)
    alone = np.square(x.numpy()).sum(1) - np.square(x.numpy() @ w.numpy()).max(1)
    np.testing.assert_allclose((x - one @ w.mT).square().sum(1).numpy(), alone, rtol=1e-9)  # with one atom it is exact


def test_R24_orthogonal_atoms_are_solved_exactly() -> None:
    x, w = problem(20, 7, 7, seed=1)
    q = torch.linalg.qr(w)[0]
    products = x @ q
    kept = products.abs().argsort(1, descending=True)[:, :3]
    expected = torch.zeros_like(products).scatter(1, kept, products.gather(1, kept))
    torch.testing.assert_close(orthogonal_matching_pursuit(x, q, 3), expected, rtol=1e-10, atol=1e-12)


def test_R24_sparse_codes_are_recovered_and_no_more_atoms_are_taken() -> None:
    _, w = problem(1, 40, 60, seed=2)
    codes = torch.zeros(30, 60, dtype=torch.float64)
    g = torch.Generator().manual_seed(5)
    for row in codes[1:]:  # the first example stays zero
        row[torch.randperm(60, generator=g)[:3]] = torch.tensor([3.0, -2.0, 1.5], dtype=torch.float64)
    found = orthogonal_matching_pursuit(codes @ w.mT, w, 10)
    right = ((found - codes).abs().max(1).values < 1e-10).double().mean()
    assert right > 0.9
    assert ((found != 0).sum(1)[(found - codes).abs().max(1).values < 1e-10] <= 3).all()
    assert not found[0].any()


def test_R24_dependent_atoms_and_tolerance() -> None:
    w = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    codes = orthogonal_matching_pursuit(torch.tensor([[3.0, 1.0]], dtype=torch.float64), w, 2)
    assert codes.tolist() == [[3.0, 0.0, 0.5]]
    x, w = problem(30, 12, 30)
    loose = orthogonal_matching_pursuit(x, w, 12, tolerance=0.5)
    residual = (x - loose @ w.mT).norm(dim=1) / x.norm(dim=1)
    assert (residual <= 0.5).all()
    assert ((loose != 0).sum(1) < 12).all()
    fewer = torch.stack(
        [
            orthogonal_matching_pursuit(row[None], w, int(n) - 1)[0] if n > 1 else row.new_zeros(30)
            for row, n in zip(x, (loose != 0).sum(1), strict=True)
        ]
    )
    assert ((x - fewer @ w.mT).norm(dim=1) / x.norm(dim=1) > 0.5).all()


def test_R24_nearly_dependent_atoms_keep_the_residual_orthogonal() -> None:
    x, w = problem(10, 20, 6)
    w = torch.cat([w, w + 1e-6 * problem(1, 20, 6, seed=9)[1]], dim=1)
    codes = orthogonal_matching_pursuit(x, w, 10)
    residual = x - codes @ w.mT
    for r, code in zip(residual, codes, strict=True):
        assert (w[:, code != 0].mT @ r).abs().max() < 1e-8


def test_R24_one_atom_as_features() -> None:
    x, w = problem(9, 5, 12)
    features = MatchingPursuitFeatures(w, split_signs=True)
    codes = orthogonal_matching_pursuit(x, w, 1)
    found = features(x)
    assert found.shape == (9, 24)
    assert (found >= 0).all()
    torch.testing.assert_close(found[:, :12] - found[:, 12:], codes)
    assert ((found != 0).sum(1) == 1).all()
    torch.testing.assert_close(MatchingPursuitFeatures(w, 3)(x), orthogonal_matching_pursuit(x, w, 3))
    assert list(features.state_dict()) == ["dictionary"]
    assert MatchingPursuitFeatures(w.float())(x.float()).dtype == torch.float32


def test_refusals() -> None:
    x, w = problem(4, 5, 6)
    for k in (0, 6, True):
        with pytest.raises(ConfigError, match="k must be"):
            orthogonal_matching_pursuit(x, w, k)
    with pytest.raises(ConfigError, match="rows as long as the atoms"):
        orthogonal_matching_pursuit(x, w.float(), 1)
    with pytest.raises(ConfigError, match="is zero"):
        MatchingPursuitFeatures(torch.zeros(3, 2))
