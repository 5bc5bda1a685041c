"""Moving, turning, sizing, cropping and covering every picture of a batch by draws of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional


class Draws(NamedTuple):
    """What is done to each picture of a batch.

    Attributes:
        down: (N,) whole pixels by which the picture moves down, ``-shift`` to ``shift``.
        right: (N,) the same to the right.
        flip: (N,) whether left and right are exchanged (before the rest).
        angle: (N,) radians, counter-clockwise as the picture is looked at.
        scale: (N,) factor by which things in the picture grow.
        hole_row: (N,) row at the middle of the hole.
        hole_column: (N,) column at its middle.
    """

    down: Int[Tensor, " N"]
    right: Int[Tensor, " N"]
    flip: Bool[Tensor, " N"]
    angle: Float[Tensor, " N"]
    scale: Float[Tensor, " N"]
    hole_row: Int[Tensor, " N"]
    hole_column: Int[Tensor, " N"]


class Window(NamedTuple):
    """The part of each picture that is enlarged to the whole.

    Attributes:
        share: (N,) its sides as a share of the picture's, above 0 to 1.
        down: (N,) where it lies: -1 at the upper border, 0 in the middle, 1 at the lower.
        right: (N,) the same from the left to the right border.
    """

    share: Float[Tensor, " N"]
    down: Float[Tensor, " N"]
    right: Float[Tensor, " N"]


def moved(pixels: Shaped[Tensor, "N C H W"], draws: Draws, reach: int, flip: bool) -> Shaped[Tensor, "N C H W"]:
    """Flip, then move by whole pixels; black comes in.

    Args:
        pixels: Of any type.
        draws: What to do to each.
        reach: The largest move.
        flip: Whether any may be flipped.

    Returns:
        The changed pictures, of the same type.
    """
    if flip:
        pixels = torch.where(draws.flip[:, None, None, None], pixels.flip(-1), pixels)
    if not reach:
        return pixels
    height, width = pixels.shape[-2:]
    # For each picture its window of the padded batch.
    windows = functional.pad(pixels, (reach,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    examples = torch.arange(len(pixels), device=pixels.device)
    return windows[examples, :, reach - draws.down, reach - draws.right]


def warped(
    pixels: Shaped[Tensor, "N C H W"],
    draws: Draws,
    window: Window | None = None,
    displacement: Float[Tensor, "N 2 H W"] | None = None,
) -> Float[Tensor, "N C H W"]:
    """Flip, crop, turn, scale, move and distort with bilinear sampling, once; black outside.

    The result at (row, column), measured from the centre, is the picture at

        ( column' )              (  cos a   -sin a ) ( column - right )     ( o )     ( d )
        (   row'  )  =  w / s *  (  sin a    cos a ) (   row  - down  )  +  ( p )  +  ( e )

    with the first two terms of column' negated where the picture is flipped: w is the share of the window's sides and
    (o, p) its middle, (d, e) the displacement of this pixel.

    Args:
        pixels: ``uint8`` or floating point.
        draws: What to do to each.
        window: The part of each that is enlarged; None is the whole.
        displacement: By how many pixels to the right (0) and down (1) each pixel looks away from its place.

    Returns:
        ``float32``, or the floating type that came in.
    """
    height, width = pixels.shape[-2:]
    size = draws.scale if window is None else draws.scale / window.share
    cos, sin = torch.cos(draws.angle) / size, torch.sin(draws.angle) / size
    down, right = draws.down.float(), draws.right.float()
    mirror = 1.0 - 2.0 * draws.flip.float()
    # grid_sample measures columns in half widths and rows in half heights.
    column = (sin * down - cos * right) * (2 / width)
    row = -(sin * right + cos * down) * (2 / height)
    if window is not None:
        column = column + window.right * (1 - window.share)
        row = row + window.down * (1 - window.share)
    theta = torch.stack(
        (mirror * cos, mirror * -sin * (height / width), mirror * column, sin * (width / height), cos, row), dim=-1
    ).reshape(-1, 2, 3)
    values = pixels if pixels.is_floating_point() else pixels.to(torch.float32)
    grid = functional.affine_grid(theta.to(values.dtype), list(values.shape), align_corners=False)
    if displacement is not None:
        halves = torch.tensor((2 / width, 2 / height), dtype=values.dtype, device=values.device)
        grid = grid + displacement.permute(0, 2, 3, 1).to(values.dtype) * halves
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def with_holes(pixels: Shaped[Tensor, "N C H W"], draws: Draws, side: int) -> Shaped[Tensor, "N C H W"]:
    """Blacken one square for each picture.

    Returns:
        The changed pictures, of the same type.
    """
    height, width = pixels.shape[-2:]
    rows = torch.arange(height, device=pixels.device) - (draws.hole_row[:, None] - side // 2)
    columns = torch.arange(width, device=pixels.device) - (draws.hole_column[:, None] - side // 2)
    hole = ((rows >= 0) & (rows < side))[:, None, :, None] & ((columns >= 0) & (columns < side))[:, None, None, :]
    return pixels.masked_fill(hole, 0)
