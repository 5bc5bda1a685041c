"""PyTorch's layer normalisation is the course's: batch normalisation's formula over the features of one sample."""

import math

import torch
from torch import nn

U = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 2


def test_C28_is_the_formula_over_the_features_of_one_sample() -> None:
    layer = nn.LayerNorm(6, eps=0.1).double()
    layer.weight.data.copy_(torch.arange(6) - 2.5)
    layer.bias.data.copy_(torch.arange(6, dtype=torch.float64) / 7)
    out = layer(U)
    for row, found in zip(U.tolist(), out.tolist(), strict=True):
        mean = sum(row) / 6
        s = sum((u - mean) ** 2 for u in row) / 6
        for j in range(6):
            assert math.isclose(found[j], (j - 2.5) * (row[j] - mean) / math.sqrt(s + 0.1) + j / 7, abs_tol=1e-12)


def test_C28_a_sample_does_not_depend_on_its_batch() -> None:
    layer = nn.LayerNorm(6).double()
    torch.testing.assert_close(layer(U)[:1], layer(U[:1]))
    assert torch.equal(layer(U), layer.eval()(U))  # no running statistics
    batch = nn.BatchNorm1d(6).double()
    assert not torch.allclose(batch(U)[:2], batch(U[:2]))


def test_C28_gradient_through_mean_and_variance() -> None:
    assert torch.autograd.gradcheck(nn.LayerNorm(6).double(), (U.clone().requires_grad_(),))
