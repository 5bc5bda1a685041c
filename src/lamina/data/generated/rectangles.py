"""Rectangles: is it taller than wide? Outlines, white on black, and patches of photographs in front of others."""

from __future__ import annotations

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.generated.backgrounds import Patches
from lamina.data.generated.parts import INNER_PATCH, PATCH, RECTANGLE, SIDE, Parts, checked_sizes, in_pieces
from lamina.data.images.augmentation.hashed import uniforms
from lamina.errors import ConfigError


def rectangles(*, train: int = 1_000, valid: int = 200, test: int = 50_000, shortest: int = 6, seed: int = 0) -> Parts:
    """Draw the outline of one rectangle a picture, one pixel wide, white on black; 1 is taller than wide, 0 wider.

        (height, width) uniform over the pairs that differ by 3 pixels or more,
        the upper left corner uniform over the places where the rectangle fits

    The page of the data sets has these rules. That no side is shorter than 6 pixels is ours: with shorter ones a
    support vector machine errs more than on the original (4.8 % from 1 pixel, 4.0 % from 3, 2.4 % from 6; 2.15 %).

    Args:
        train: Examples for training.
        valid: Examples for validation.
        test: Examples for testing.
        shortest: Pixels of the shortest side, 1 to 25.
        seed: Any whole number. Example i of a part is a function of (seed, part, i) alone: the same whatever the sizes.

    Returns:
        The parts.

    Raises:
        ConfigError: If a size or ``shortest`` is out of range.

    Reference: Larochelle, Erhan, Courville, Bergstra & Bengio, "An Empirical Evaluation of Deep Architectures on
    Problems with Many Factors of Variation", ICML 2007, section 4.2, and the page of its data sets.
    """
    checked_sizes("rectangles", train, valid, test)
    if not 1 <= shortest <= SIDE - 3:
        raise ConfigError(
            f"shortest must be from 1 to {SIDE - 3}, got {shortest}", where="rectangles", mend="try shortest=6"
        )
    sides = _pairs(shortest, 3)

    def part_of(part: int, size: int) -> Batch:
        def draw(indices: Tensor) -> tuple[Tensor, Tensor]:
            top, left, height, width = _boxes(sides, indices, part, seed)
            within = _within(top, left, height, width)
            outline = within & ~_within(top + 1, left + 1, height - 2, width - 2)
            return outline[:, None].float(), (height > width).long()

        return in_pieces(size, draw)

    return Parts(*(part_of(part, size) for part, size in enumerate((train, valid, test))))


def rectangles_image(
    patches: Patches, *, train: int = 10_000, valid: int = 2_000, test: int = 50_000, seed: int = 0
) -> Parts:
    """Put a rectangular piece of one patch of a photograph in front of another patch; 1 is taller than wide, 0 wider.

        (height, width) uniform over the pairs of at least 10 pixels that differ by 5 or more and cover
        25 % to 75 % of the picture; the place uniform among those where the rectangle fits

    Inside the rectangle, its border included, the picture is one patch, outside another, each at its own place.

    Args:
        patches: Where both patches come from, independently: ``Patches(sample_pictures())``. The reference has 20
            photographs.
        train: Examples for training.
        valid: Examples for validation.
        test: Examples for testing.
        seed: Any whole number. Example i of a part is a function of (seed, part, i) alone: the same whatever the sizes.

    Returns:
        The parts.

    Raises:
        ConfigError: If a size is below 1.

    Reference: as ``rectangles``.
    """  # noqa: DOC502
    checked_sizes("rectangles_image", train, valid, test)
    sides = _pairs(10, 5)
    area = sides.prod(1)
    sides = sides[(4 * area >= SIDE**2) & (4 * area <= 3 * SIDE**2)]

    def part_of(part: int, size: int) -> Batch:
        def draw(indices: Tensor) -> tuple[Tensor, Tensor]:
            top, left, height, width = _boxes(sides, indices, part, seed)
            inside = _within(top, left, height, width)[:, None]
            front, behind = (patches.draw(indices, part, seed, lane) for lane in (INNER_PATCH, PATCH))
            return torch.where(inside, front, behind), (height > width).long()

        return in_pieces(size, draw)

    return Parts(*(part_of(part, size) for part, size in enumerate((train, valid, test))))


def _pairs(shortest: int, apart: int) -> Tensor:
    # All (height, width) of the picture that are long enough and differ enough.
    long = torch.arange(shortest, SIDE + 1)
    pairs = torch.cartesian_prod(long, long)
    return pairs[(pairs[:, 0] - pairs[:, 1]).abs() >= apart]


def _boxes(sides: Tensor, indices: Tensor, part: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # The rectangle of each example: its upper left pixel, its height and width.
    u = uniforms(indices, part, seed, range(RECTANGLE, RECTANGLE + 3))
    height, width = sides[(u[0] * len(sides)).long()].unbind(1)
    top, left = (u[1] * (SIDE + 1 - height)).long(), (u[2] * (SIDE + 1 - width)).long()
    return top, left, height, width


def _within(top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    # (N, 28, 28): which pixels the rectangles cover.
    places = torch.arange(SIDE)
    rows = (places >= top[:, None]) & (places < (top + height)[:, None])
    columns = (places >= left[:, None]) & (places < (left + width)[:, None])
    return rows[:, :, None] & columns[:, None, :]
