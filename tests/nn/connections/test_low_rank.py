"""Low-rank projection against the product of its two matrices and against NumPy's singular values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.connections import LowRankLinear


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_C20_is_the_product_matrix() -> None:
    layer = LowRankLinear(7, 5, 3, generator=seeded()).double()
    layer.bias.data.normal_(generator=seeded(1))
    u, v, b = (p.detach().numpy() for p in (layer.u, layer.v, layer.bias))
    x = torch.randn(2, 4, 7, generator=seeded(2), dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach(), x.numpy() @ (u @ v).T + b, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.weight.detach(), u @ v, rtol=1e-12, atol=1e-15)
    assert np.linalg.matrix_rank(layer.weight.detach()) == 3


@given(n=st.integers(1, 12), m=st.integers(1, 12), r=st.integers(1, 12), bias=st.booleans())
@settings(max_examples=40, deadline=None)
def test_C20_parameters_are_nr_plus_rm(n: int, m: int, r: int, bias: bool) -> None:
    r = min(r, n, m)
    layer = LowRankLinear(n, m, r, bias=bias)
    assert sum(p.numel() for p in layer.parameters()) == n * r + r * m + m * bias
    assert layer(torch.zeros(0, n)).shape == (0, m)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_C20_truncated_svd_is_the_nearest_matrix_of_its_rank(rank: int) -> None:
    whole = nn.Linear(8, 6).double()
    state = torch.get_rng_state()
    layer = LowRankLinear.from_linear(whole, rank)
    assert torch.equal(torch.get_rng_state(), state)
    s = np.linalg.svd(whole.weight.detach().numpy(), compute_uv=False)
    error = (layer.weight - whole.weight).norm().item()
    assert error == pytest.approx(math.sqrt(sum(s[rank:] ** 2)), abs=1e-12)
    assert torch.equal(layer.bias, whole.bias) and layer.bias is not whole.bias
    assert layer.u.dtype == torch.float64
    assert layer.u.norm().item() == pytest.approx(layer.v.norm().item())  # √S on either side
    assert LowRankLinear.from_linear(nn.Linear(3, 3, bias=False), 2).bias is None


@pytest.mark.parametrize(("start", "variance"), [("he", 2 / 300), ("glorot", 2 / 500), ("zero", 0.0)])
def test_C20_entries_of_the_product_have_the_rules_variance(start: str, variance: float) -> None:
    layer = LowRankLinear(300, 200, 50, start, seeded())
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.1)
    assert layer.v.var().item() == pytest.approx(1 / 300, rel=0.05)


@pytest.mark.parametrize(("sizes", "word"), [((4, 3, 4), "at most 3"), ((0, 3, 1), "in_features"), ((4, 3, 0), "rank")])
def test_refusals(sizes: tuple[int, int, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        LowRankLinear(*sizes)
    with pytest.raises(ConfigError, match="did you mean"):
        LowRankLinear(4, 3, 2, "hee")
