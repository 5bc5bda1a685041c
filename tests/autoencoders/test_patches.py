"""Random patches: each is one of the picture's, and all places come equally often."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from lamina.autoencoders.patches import random_patches
from lamina.errors import ConfigError


def test_patches_are_those_of_the_pictures_and_every_place_comes() -> None:
    images = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)
    found = random_patches(images, 3, 4_000, torch.Generator().manual_seed(0)).view(-1, 3, 3, 3)
    counts = []
    for picture in images:
        for i in range(3):
            for j in range(2):
                counts.append(int((found == picture[:, i : i + 3, j : j + 3]).flatten(1).all(1).sum()))
    assert sum(counts) == 4_000
    assert stats.chisquare(counts).pvalue > 1e-3
    assert torch.equal(random_patches(images, 3, 4_000, torch.Generator().manual_seed(0)).view(-1, 3, 3, 3), found)


def test_refusals() -> None:
    for size, n in ((5, 1), (0, 1), (2, 0)):
        with pytest.raises(ConfigError, match="cannot be taken"):
            random_patches(torch.zeros(2, 1, 5, 4), size, n)
