"""Digits brought to one form, and the sizes of the parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lamina.data.generated.digits import digit_set
from lamina.data.generated.parts import checked_sizes, in_pieces
from lamina.data.images.imageset import ImageSet
from lamina.data.named import load_named
from lamina.errors import ConfigError


def test_pictures_of_28_pixels_stay_as_they_are_in_every_form() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.arange(5)
    forms = [
        digit_set(pixels, labels),
        digit_set(torch.from_numpy(pixels)[:, None], torch.arange(5)),
        digit_set(pixels.astype(np.float64) / 255, labels.astype(np.uint8)),
        digit_set(ImageSet("mine", pixels[:, None], labels)),
    ]
    for images, targets in forms:
        assert images.dtype == torch.uint8
        assert targets.dtype == torch.int64
        np.testing.assert_array_equal(images[:, 0].numpy(), pixels)
        np.testing.assert_array_equal(targets.numpy(), labels)


def test_other_sizes_lie_in_the_middle_20_pixels_as_pillow_enlarges_them() -> None:
    source = load_named("digits").take(slice(0, 6))
    images, targets = digit_set(source)
    assert images.shape == (6, 1, 28, 28)
    assert targets.tolist() == source.labels.tolist()
    for found, picture in zip(images, source.pixels, strict=True):
        expected = np.asarray(Image.fromarray(picture[0]).resize((20, 20), Image.Resampling.BILINEAR), dtype=int)
        assert np.abs(found[0, 4:24, 4:24].numpy().astype(int) - expected).max() <= 1
        assert found.sum() == found[0, 4:24, 4:24].sum()


def test_larger_pictures_are_smoothed_before_they_are_reduced() -> None:
    fine = np.zeros((1, 80, 80), np.uint8)
    fine[:, :, 1::4] = fine[:, :, 2::4] = 200  # half the light, all of it where single points would be looked at
    images, _ = digit_set(fine, np.zeros(1, int))
    assert np.abs(images[0, 0, 4:24, 5:23].numpy().astype(int) - 100).max() <= 8


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 28, 28), np.uint8), None),
        (np.zeros((2, 28, 28), np.uint8), np.zeros(3, int)),
        (np.zeros((2, 28, 28), np.uint8), np.zeros(2)),
        (np.zeros((2, 3, 28, 28), np.uint8), np.zeros(2, int)),
        (np.zeros((2, 784), np.uint8), np.zeros(2, int)),
        (np.zeros((2, 28, 28), np.int64), np.zeros(2, int)),
        (np.full((2, 28, 28), 255.0), np.zeros(2, int)),
        (np.full((2, 28, 28), np.nan), np.zeros(2, int)),
        (np.zeros((0, 28, 28), np.uint8), np.zeros(0, int)),
    ],
)
def test_what_are_no_digits_is_refused(images: np.ndarray, labels: np.ndarray | None) -> None:
    with pytest.raises(ConfigError, match="digit_set"):
        digit_set(images, labels)


def test_pieces_make_the_whole_and_sizes_below_one_are_refused() -> None:
    def draw(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return indices[:, None, None, None].expand(-1, 1, 28, 28).float(), 2 * indices

    for at_once in (3, 7, 100):
        batch = in_pieces(7, draw, at_once=at_once)
        assert batch.inputs[:, 0, 5, 9].tolist() == list(range(7))
        assert batch.targets is not None
        assert batch.targets.tolist() == list(range(0, 14, 2))
    checked_sizes("here", 1, 1, 1)
    with pytest.raises(ConfigError, match="at least 1, got 1, 0, 5"):
        checked_sizes("here", 1, 0, 5)
