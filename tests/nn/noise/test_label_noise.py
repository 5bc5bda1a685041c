"""Label noise: its frequencies, and label smoothing as its expectation."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from lamina.errors import ConfigError
from lamina.nn.noise import label_noise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_frequencies_of_every_class() -> None:
    n, k, rate = 200_000, 4, 0.3
    noisy = label_noise(torch.full((n,), 2), rate, k, seeded())
    shares = torch.bincount(noisy, minlength=k) / n
    for share, expected in zip(shares.tolist(), [0.1, 0.1, 0.7, 0.1], strict=True):
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


def test_expected_cross_entropy_is_that_of_smoothed_targets() -> None:
    k, rate, logits = 5, 0.2, torch.randn(5, generator=seeded(), dtype=torch.float64)
    n = 200_000
    noisy = label_noise(torch.full((n,), 1), rate, k, seeded(1))
    losses = -logits.log_softmax(0)[noisy]
    smooth = torch.full((k,), rate / (k - 1), dtype=torch.float64)
    smooth[1] = 1 - rate
    expected = cross_entropy(logits[None], smooth[None])
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(n)


def test_ends_types_and_shapes() -> None:
    t = torch.tensor([[0, 1], [2, 0]], dtype=torch.int32)
    assert torch.equal(label_noise(t, 0.0, 3), t)
    wrong = label_noise(t, 1.0, 3, seeded())
    assert wrong.dtype == torch.int32 and (wrong != t).all() and ((wrong >= 0) & (wrong < 3)).all()
    assert torch.equal(wrong, label_noise(t, 1.0, 3, seeded()))
    assert torch.equal(label_noise(t[0], 1.0, 2), 1 - t[0])


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="rate"):
        label_noise(torch.tensor([0]), 1.5, 3)
    with pytest.raises(ConfigError, match="n_classes"):
        label_noise(torch.tensor([0]), 0.5, 1)
