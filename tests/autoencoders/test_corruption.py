"""Corruptions: how often, which values, and that only the generator decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lamina.autoencoders.corruption import Corruption, GaussianCorruption, Masking, SaltAndPepper
from lamina.errors import ConfigError

G = torch.Generator
N = 40_000


def inputs() -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(N, 5, generator=G().manual_seed(1))


def share(what: torch.Tensor) -> torch.Tensor:
    return what.double().mean(0)


def within(found: torch.Tensor, p: float) -> None:
    """Four standard errors of a share, in each column."""
    assert ((found - p).abs() < 4 * (p * (1 - p) / N) ** 0.5).all()


def test_U08_masking_sets_a_share_to_zero_and_leaves_the_rest_as_it_is() -> None:
    x = inputs()
    y = Masking(0.25)(x, G().manual_seed(0))
    gone = y == 0.0
    within(share(gone), 0.25)
    assert torch.equal(y[~gone], x[~gone])
    within(share(gone[:, 0] & gone[:, 1])[None], 0.0625)  # each for itself


def test_U08_salt_and_pepper_sets_half_of_the_share_to_either_end() -> None:
    x = inputs()
    y = SaltAndPepper(0.3, low=-1.0, high=2.0)(x, G().manual_seed(0))
    within(share(y == -1.0), 0.15)
    within(share(y == 2.0), 0.15)
    kept = (y != -1.0) & (y != 2.0)
    assert torch.equal(y[kept], x[kept])


def test_U08_gaussian_noise_has_its_standard_deviation() -> None:
    x = inputs()
    noise = (GaussianCorruption(0.2)(x, G().manual_seed(0)) - x).double()
    assert noise.mean(0).abs().max() < 4 * 0.2 / N**0.5
    assert (noise.std(0) - 0.2).abs().max() < 4 * 0.2 / (2 * N) ** 0.5


@pytest.mark.parametrize("corruption", [Masking(0.5), SaltAndPepper(0.5), GaussianCorruption(1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_the_generator_decides(corruption: Corruption, dtype: torch.dtype) -> None:
    x = torch.rand(3, 2, 4, 4, dtype=dtype) + 0.1
    before = x.clone()
    first, second = (corruption(x, G().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == x.shape and first.dtype == dtype
    assert not torch.equal(first, corruption(x, G().manual_seed(6)))
    assert torch.equal(x, before)
    torch.manual_seed(3)
    third = corruption(x)
    torch.manual_seed(3)
    assert torch.equal(third, corruption(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Masking(1.0),
        lambda: Masking(-0.1),
        lambda: SaltAndPepper(float("nan")),
        lambda: SaltAndPepper(0.1, 1.0, 1.0),
        lambda: GaussianCorruption(-1.0),
    ],
)
def test_refuses(make: Callable[[], Corruption]) -> None:
    with pytest.raises(ConfigError):
        make()
