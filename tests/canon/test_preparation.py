"""Preparation of inputs, by the formula written out."""

from __future__ import annotations

import torch

from lamina.nn import PixelScaling


def test_pixel_scaling_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (3, 2, 4, 5), generator=generator, dtype=torch.uint8)
    mean, std = [0.4, 0.6], [0.2, 0.3]
    found = PixelScaling(mean, std)(pictures)
    for n in range(3):
        for c in range(2):
            for i in range(4):
                for j in range(5):
                    expected = (pictures[n, c, i, j].item() / 255 - mean[c]) / std[c]
                    assert abs(found[n, c, i, j].item() - expected) < 1e-5
