"""Batch normalisation against NumPy and against PyTorch's own three classes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.normalisation import BatchNorm

SHAPES = {nn.BatchNorm1d: [(8, 3), (4, 3, 5)], nn.BatchNorm2d: [(4, 3, 5, 2)], nn.BatchNorm3d: [(2, 3, 2, 2, 3)]}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=seeded(), dtype=torch.float64) * 3 + 2


def by_hand(u: Tensor, gamma: Tensor, beta: Tensor, d: int, eps: float) -> np.ndarray:
    """The course's formula, one feature at a time."""
    out = np.empty(u.shape)
    for j in range(u.shape[1]):
        feature = u[:, j].numpy()
        n, m = feature.size, feature.sum() / feature.size
        s = ((feature - m) ** 2).sum() / (n - d)
        out[:, j] = gamma[j].item() * (feature - m) / math.sqrt(s + eps) + beta[j].item()
    return out


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("shape", [shape for shapes in SHAPES.values() for shape in shapes])
def test_C27_is_the_formula(shape: tuple[int, ...], unbiased: bool) -> None:
    layer = BatchNorm(3, unbiased=unbiased, eps=0.1).double()  # an epsilon that counts
    layer.weight.data.normal_(generator=seeded(1))
    layer.bias.data.normal_(generator=seeded(2))
    u = draw(shape)
    expected = by_hand(u, layer.weight, layer.bias, int(unbiased), 0.1)
    np.testing.assert_allclose(layer(u).detach(), expected, rtol=1e-12, atol=1e-12)


def test_W34_ratio_at_batch_8() -> None:
    u = draw((8, 3))
    biased, unbiased = (BatchNorm(3, unbiased=d, eps=1e-14).double()(u) for d in (False, True))
    torch.testing.assert_close(biased / unbiased, torch.full((8, 3), 1.0690449676496976, dtype=torch.float64))
    torch.testing.assert_close(unbiased.var(0, correction=1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("kind", list(SHAPES))
@pytest.mark.parametrize("momentum", [0.1, None])
def test_C27_without_unbiased_it_is_pytorchs_to_the_bit(kind: type[nn.Module], momentum: float | None) -> None:
    for shape in SHAPES[kind]:
        ours, theirs = BatchNorm(3, momentum=momentum), kind(3, momentum=momentum)
        for k in range(3):
            u = draw(shape).float() + k
            assert torch.equal(ours(u), theirs(u))
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
        assert torch.equal(ours.eval()(u), theirs.eval()(u))
        theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("momentum", [0.3, None])
def test_C27_running_statistics(momentum: float | None) -> None:
    layer = BatchNorm(3, unbiased=True, momentum=momentum).double()
    mean, variance = np.zeros(3), np.ones(3)
    for k in range(4):
        u = draw((6, 3)) * (k + 1)
        layer(u)
        a = momentum if momentum is not None else 1 / (k + 1)
        mean = (1 - a) * mean + a * u.numpy().mean(0)
        variance = (1 - a) * variance + a * u.numpy().var(0, ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, variance, rtol=1e-12)
    assert layer.num_batches_tracked.item() == 4
    expected = (u.numpy() - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(layer.eval()(u).detach(), expected, rtol=1e-12, atol=1e-12)


@given(n=st.integers(2, 6), places=st.lists(st.integers(1, 3), max_size=3), unbiased=st.booleans())
@settings(max_examples=30, deadline=None)
def test_C27_each_feature_alone_any_shift_and_scale(n: int, places: list[int], unbiased: bool) -> None:
    u = draw((n, 2, *places))
    layer = BatchNorm(2, unbiased=unbiased, eps=1e-14).double()
    out = layer(u)
    assert out.shape == u.shape
    changed = u.clone()
    changed[:, 1] = -5 * changed[:, 1] + 7
    again = layer(changed)
    torch.testing.assert_close(again[:, 0], out[:, 0])
    torch.testing.assert_close(again[:, 1], -out[:, 1])


def test_pytorchs_tools_find_it() -> None:
    layer = BatchNorm(3)
    assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(layer), nn.SyncBatchNorm)
    fused = nn.utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), layer.eval())
    assert isinstance(fused, nn.Linear)


def test_refusals_and_the_empty_batch() -> None:
    for unbiased in (False, True):
        layer = BatchNorm(3, unbiased=unbiased)
        with pytest.raises(ConfigError, match="more than one number"):
            layer(torch.zeros(1, 3))
        assert layer.eval()(torch.zeros(1, 3)).shape == (1, 3)
        assert layer.eval()(torch.zeros(0, 3)).shape == (0, 3)
    with pytest.raises(ConfigError, match="features"):
        BatchNorm(0)
    with pytest.raises(ConfigError, match="eps"):
        BatchNorm(3, eps=0.0)
