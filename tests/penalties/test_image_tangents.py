"""Tangents of pictures: against pictures that are really moved, in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from lamina.errors import ConfigError
from lamina.penalties.image_tangents import GROUPS, image_tangents

SIZE, WIDTH, SMOOTHING = 33, 3.0, 0.9
Warp = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]

# Where the moved picture is read: p + a xi(p).
WARPS: dict[str, Warp] = {
    "translation-x": lambda x, y, a: (x + a, y),
    "translation-y": lambda x, y, a: (x, y + a),
    "rotation": lambda x, y, a: (math.cos(a) * x + math.sin(a) * y, math.cos(a) * y - math.sin(a) * x),
    "scaling": lambda x, y, a: ((1 + a) * x, (1 + a) * y),
    "hyperbolic": lambda x, y, a: ((1 + a) * x, (1 - a) * y),
    "diagonal": lambda x, y, a: (x + a * y, y + a * x),
}


def coordinates() -> tuple[Tensor, Tensor]:
    at = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    return at.repeat(SIZE, 1), at.unsqueeze(1).repeat(1, SIZE)


def bumps(x: Tensor, y: Tensor, spread: float) -> Tensor:
    """Two Gaussian bumps of this spread, unlike in x and y."""
    one = torch.exp(-((x - 4.0).square() + (y + 2.0).square()) / (2 * spread**2))
    two = torch.exp(-((x + 3.0).square() + (y - 1.0).square()) / (2 * spread**2))
    return (one - 0.6 * two) / spread**2


@pytest.mark.parametrize("name", list(WARPS))
def test_R28_tangent_is_the_derivative_of_the_moved_smooth_picture(name: str) -> None:
    """A Gaussian bump smoothed by a Gaussian is a wider bump, so the smooth picture is known in closed form."""
    x, y = coordinates()
    (got,) = image_tangents(bumps(x, y, WIDTH)[None, None], name, SMOOTHING)
    spread, h = math.sqrt(WIDTH**2 + SMOOTHING**2), 1e-5
    warp = WARPS[name]
    expected = (bumps(*warp(x, y, h), spread) - bumps(*warp(x, y, -h), spread)) / (2 * h)
    scale = expected.abs().max()
    assert ((got[0, 0] - expected).abs().max() / scale).item() < 0.06  # a central difference over one pixel
    wrong = [other for other in WARPS if other != name]
    for other in wrong:
        unlike = (bumps(*WARPS[other](x, y, h), spread) - bumps(*WARPS[other](x, y, -h), spread)) / (2 * h)
        assert ((unlike - expected).abs().max() / scale).item() > 0.3


def test_R28_slopes_are_those_of_scipys_gaussian_filter() -> None:
    picture = np.random.default_rng(0).normal(size=(11, 9))
    smooth = gaussian_filter(picture, 1.0, mode="nearest", truncate=4.0)
    padded = np.pad(smooth, 1, mode="edge")
    along_x, along_y = image_tangents(torch.from_numpy(picture)[None, None], "translation-x,translation-y", 1.0)
    np.testing.assert_allclose(along_x[0, 0].numpy(), (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, atol=1e-12)
    np.testing.assert_allclose(along_y[0, 0].numpy(), (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, atol=1e-12)


def test_R28_thickening_is_the_squared_slope() -> None:
    x, y = coordinates()
    picture = bumps(x, y, WIDTH)[None, None]
    along_x, along_y, thick = image_tangents(picture, "translation-x, translation-y, thickening")
    torch.testing.assert_close(thick, along_x.square() + along_y.square())


def test_channels_and_pictures_are_taken_one_by_one() -> None:
    pictures = torch.rand(3, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    together = image_tangents(pictures, "all")
    assert together.shape == (7, 3, 2, 9, 7)
    alone = image_tangents(pictures[1:2, 1:2], "all")
    torch.testing.assert_close(together[:, 1:2, 1:2], alone)
    assert image_tangents(pictures, "affine").shape[0] == len(GROUPS["affine"]) == 6


def test_a_constant_picture_has_no_tangents() -> None:
    assert image_tangents(torch.full((1, 1, 8, 8), 0.7), "all").abs().max() < 1e-5


def test_refusals() -> None:
    with pytest.raises(ConfigError, match='no transform "rotatoin"; did you mean "rotation"'):
        image_tangents(torch.zeros(1, 1, 4, 4), "rotatoin")
    with pytest.raises(ConfigError, match=r"\(N, C, H, W\), got \(2, 4\)"):
        image_tangents(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="smoothing"):
        image_tangents(torch.zeros(1, 1, 4, 4), smoothing=0.0)
