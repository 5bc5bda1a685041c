"""Backgrounds: which patches are drawn and how often, counted; correlated noise by its covariance and marginals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from lamina.data.generated.backgrounds import CorrelatedNoise, Patches, sample_pictures
from lamina.data.generated.parts import PATCH
from lamina.data.images import ImageSet, read_image_files
from lamina.data.spec import ImageSpec
from lamina.errors import ConfigError, DataError


def test_sample_pictures_are_the_luma_of_the_two_photographs() -> None:
    from sklearn.datasets import load_sample_images

    found = sample_pictures()
    assert found.pixels.shape == (2, 1, 427, 640)
    for grey, colour in zip(found.pixels[:, 0], load_sample_images().images, strict=True):
        luma = colour @ np.array([0.299, 0.587, 0.114])
        assert np.abs(grey - luma).max() <= 1.0


def flat_and_rough() -> ImageSet:
    """Three pictures of 30 × 31: flat, rough everywhere, rough on the left only."""
    rng = np.random.default_rng(0)
    pixels = np.full((3, 1, 30, 31), 90, np.uint8)
    pixels[1] = rng.integers(0, 256, (1, 30, 31))
    pixels[2, :, :, 0] = rng.integers(0, 256, (1, 30))
    return ImageSet("made", pixels)


def spreads(pictures: ImageSet) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(pictures.pixels[:, 0] / 255.0, (28, 28), axis=(1, 2))
    return windows.std((3, 4))


def test_flat_places_are_never_drawn_and_the_others_as_often_as_each_other() -> None:
    pictures = flat_and_rough()
    spread = spreads(pictures)
    least = 0.05
    assert spread[2, :, 0].min() > least > spread[2, :, 1:].max()
    drawn = Patches(pictures, least_spread=least).draw(torch.arange(30_000), 0, 0, PATCH)
    windows = np.lib.stride_tricks.sliding_window_view(pictures.pixels[:, 0], (28, 28), axis=(1, 2))
    names = {windows[p, i, j].tobytes(): (p, i, j) for p in range(3) for i in range(3) for j in range(4)}
    bytes_ = (drawn * 255).round().to(torch.uint8).numpy()[:, 0]
    counts: dict[tuple[int, int, int], int] = {}
    for patch in bytes_:
        place = names[patch.tobytes()]
        counts[place] = counts.get(place, 0) + 1
    # picture 1 has 12 places, picture 2 three: each picture is drawn half of the time
    expected = {(1, i, j): 30_000 / 24 for i in range(3) for j in range(4)} | {(2, i, 0): 5_000 for i in range(3)}
    assert counts.keys() == expected.keys()
    assert stats.chisquare([counts[key] for key in expected], list(expected.values())).pvalue > 1e-3


def test_the_limit_is_the_standard_deviation_to_the_last_digit() -> None:
    pictures = flat_and_rough().take([2])
    exact = spreads(pictures)[0, :, 0].min()
    assert len(torch.unique(Patches(pictures, least_spread=exact - 1e-9).draw(torch.arange(99), 0, 0, 0), dim=0)) == 3
    assert len(torch.unique(Patches(pictures, least_spread=exact + 1e-9).draw(torch.arange(99), 0, 0, 0), dim=0)) == 2
    everywhere = Patches(pictures, least_spread=0.0).draw(torch.arange(300), 0, 0, 0)
    assert len(torch.unique(everywhere, dim=0)) == 3 + 1  # rough rows differ, flat patches are all alike


def test_lanes_parts_and_seeds_give_other_patches() -> None:
    patches, which = Patches(sample_pictures()), torch.arange(50)
    one = patches.draw(which, 0, 0, PATCH)
    assert torch.equal(one[10:20], patches.draw(which[10:20], 0, 0, PATCH))
    for other in (patches.draw(which, 1, 0, PATCH), patches.draw(which, 0, 1, PATCH), patches.draw(which, 0, 0, 0)):
        assert (one != other).flatten(1).any(1).all()


def test_a_folder_of_colour_pictures_and_what_is_refused(tmp_path) -> None:
    rng = np.random.default_rng(1)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (50, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    pool = read_image_files(tmp_path, ImageSpec(1, 32, 32))
    assert Patches(pool, least_spread=0.02).draw(torch.arange(3), 0, 0, 0).shape == (3, 1, 28, 28)
    colour = read_image_files(tmp_path, ImageSpec(3, 32, 32))
    assert Patches(colour, least_spread=0.02).draw(torch.arange(3), 0, 0, 0).shape == (3, 1, 28, 28)
    with pytest.raises(ConfigError, match="27 x 40"):
        Patches(ImageSet("small", np.zeros((1, 1, 40, 27), np.uint8)))
    with pytest.raises(ConfigError, match="no patch of the pictures"):
        Patches(ImageSet("flat", np.zeros((1, 1, 40, 40), np.uint8)))
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a picture"):
        read_image_files(tmp_path, ImageSpec(1, 32, 32))


@pytest.mark.parametrize("gamma", [0.0, 0.6, 1.0])
def test_correlated_noise_is_uniform_with_the_covariance_written_down(gamma: float) -> None:
    n = 4_000
    x = CorrelatedNoise(gamma).draw(torch.arange(n), 0, 0).double().flatten(1).numpy()
    assert stats.kstest(x[:, 400], "uniform").pvalue > 1e-3
    assert stats.kstest(x[:, 0], "uniform").pvalue > 1e-3
    z = stats.norm.ppf(np.clip(x, 1e-6, 1 - 1e-6))
    places = np.array([(i, j) for i in range(28) for j in range(28)], float)
    squared = ((places[:, None] - places[None]) ** 2).sum(-1)
    covariance = gamma * np.exp(-squared / (2 * 36)) + (1 - gamma) * np.eye(784)
    found = z.T @ z / n
    assert np.abs(found - covariance).max() < 6.5 / np.sqrt(n / 2)
    assert np.abs((found - covariance).mean()) < 0.03


def test_gamma_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="within 0 to 1"):
        CorrelatedNoise(1.5)
