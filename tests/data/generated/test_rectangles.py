"""Rectangles: measured again in the pictures; all pairs of sides and all places counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from lamina.data.generated.backgrounds import Patches, sample_pictures
from lamina.data.generated.rectangles import rectangles, rectangles_image
from lamina.data.images import ImageSet
from lamina.errors import ConfigError


def measured(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is white."""
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    return rows[0], columns[0], rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]


def test_outlines_are_drawn_by_hand_the_same_and_labels_are_by_the_sides() -> None:
    part = rectangles(train=400, valid=1, test=1).train
    for picture, label in zip(part.inputs[:, 0].numpy(), part.targets.tolist(), strict=True):
        top, left, height, width = measured(picture)
        expected = np.zeros((28, 28), np.float32)
        expected[top : top + height, left : left + width] = 1.0
        expected[top + 1 : top + height - 1, left + 1 : left + width - 1] = 0.0
        np.testing.assert_array_equal(picture, expected)
        assert label == (height > width)
        assert abs(int(height) - int(width)) >= 3


@pytest.mark.parametrize("shortest", [1, 6])
def test_sides_are_uniform_over_the_pairs_allowed_and_places_over_those_that_fit(shortest: int) -> None:
    part = rectangles(train=12_000, valid=1, test=1, shortest=shortest).train
    found = np.array([measured(picture) for picture in part.inputs[:, 0].numpy()])
    sides = range(shortest, 29)
    allowed = [(h, w) for h in sides for w in sides if abs(h - w) >= 3]
    counts = dict.fromkeys(allowed, 0)
    for _, _, height, width in found.tolist():
        counts[height, width] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    for place, side in ((0, 2), (1, 3)):
        room = 29 - found[:, side]
        assert (found[:, place] < room).all()
        share = (found[:, place] + np.random.default_rng(0).random(len(found))) / room
        assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_half_are_tall_and_examples_depend_on_seed_part_and_number_alone() -> None:
    few, many = rectangles(train=50, valid=20, test=30), rectangles(train=1_500, valid=200, test=90)
    for one, other in zip(few, many, strict=True):
        assert torch.equal(one.inputs, other.inputs[: one.size])
        assert torch.equal(one.targets, other.targets[: one.size])
    assert not torch.equal(many.train.inputs[:90], many.test.inputs)
    assert not torch.equal(rectangles(train=50, valid=1, test=1, seed=1).train.inputs, few.train.inputs)
    assert abs(many.train.targets.double().mean().item() - 0.5) < 4 * 0.5 / np.sqrt(1_500)
    assert many.train.inputs.dtype == torch.float32
    assert many.train.targets.dtype == torch.int64


def test_published_sizes() -> None:
    assert [part.size for part in rectangles()] == [1_000, 200, 50_000]


class TwoTone(Patches):
    """Patches that say which of the two they are: the inner ones bright, the outer ones dark."""

    def __init__(self) -> None:
        self.lanes: list[int] = []

    def draw(self, indices: torch.Tensor, part: int, seed: int, lane: int) -> torch.Tensor:
        self.lanes.append(lane)
        return torch.full((len(indices), 1, 28, 28), 1.0 if len(self.lanes) % 2 else 0.0)


def test_image_rectangles_keep_their_rules() -> None:
    part = rectangles_image(TwoTone(), train=1_000, valid=1, test=1).train
    found = np.array([measured(picture) for picture in part.inputs[:, 0].numpy()])
    height, width = found[:, 2], found[:, 3]
    np.testing.assert_array_equal(part.inputs.sum((1, 2, 3)).numpy(), height * width)  # filled
    np.testing.assert_array_equal(part.targets.numpy(), (height > width).astype(int))
    allowed = {
        (h, w)
        for h in range(10, 29)
        for w in range(10, 29)
        if abs(h - w) >= 5 and 0.25 <= h * w / 784 <= 0.75
    }  # fmt: skip
    assert {(28, 21), (14, 19), (10, 20)} <= allowed
    many = rectangles_image(TwoTone(), train=8_000, valid=1, test=1).train.inputs[:, 0].numpy()
    counts = dict.fromkeys(allowed, 0)
    for picture in many:
        _, _, h, w = measured(picture)
        counts[h, w] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_inside_and_outside_are_two_patches_of_the_pictures() -> None:
    """One picture of 28 × 28 and its negative: inside and outside are each one of the two."""
    rng = np.random.default_rng(0)
    picture = rng.integers(1, 255, (1, 28, 28), dtype=np.uint8)
    picture[picture == 128] = 127
    pool = ImageSet("two", np.stack([picture, 255 - picture]))
    part = rectangles_image(Patches(pool), train=300, valid=1, test=1).train
    same = 0
    for found, label in zip((part.inputs[:, 0] * 255).round().numpy(), part.targets.tolist(), strict=True):
        first = found == picture[0]
        assert ((found == picture[0]) | (found == 255 - picture[0])).all()
        front = ~first if first[0, 0] and not first.all() else first
        if first.all() or not first.any():
            same += 1
            continue
        for inside in (front, ~front):
            _, _, height, width = measured(inside)
            if inside.sum() == height * width:
                assert label == (height > width)
                break
        else:
            raise AssertionError("neither is a rectangle")
    assert abs(same - 150) < 4 * np.sqrt(75)


def test_image_rectangles_from_the_photographs_and_what_is_refused() -> None:
    parts = rectangles_image(Patches(sample_pictures()), train=40, valid=5, test=6)
    assert [part.inputs.shape for part in parts] == [(40, 1, 28, 28), (5, 1, 28, 28), (6, 1, 28, 28)]
    for wrong in ({"shortest": 0}, {"shortest": 26}, {"train": 0}):
        with pytest.raises(ConfigError, match="rectangles"):
            rectangles(**wrong)
