"""Random shifts, flips, turns, sizes and holes for a whole batch of pictures at once, one draw for each picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from lamina.errors import ConfigError

_DRAWS = 6  # independent uniform numbers for each picture
_MASK64 = (1 << 64) - 1


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


@dataclass(frozen=True)
class Augment:
    """Changes pictures at random so that a model learns what does not matter.

    Each picture is mirrored with probability 1/2 (``flip``), turned about its centre by up to ``rotate`` degrees and
    made larger or smaller by up to the share ``scale`` with bilinear sampling, moved by up to ``shift`` whole pixels
    in each direction, and covered by one black square of side ``cutout``; what comes in from outside is black.

    The draws are a pure function of (seed, epoch, index of the example): neither the order of the examples nor the
    size of the batch nor a resumed run changes them. They are hashed with whole-number arithmetic (the finaliser of
    SplitMix64), which gives the same bits on every device.

    Args:
        shift: Largest move in pixels, at least 0.
        flip: Whether pictures may be mirrored; wrong for digits and letters.
        rotate: Largest turn in degrees, 0 to 180.
        scale: Largest change of size as a share, 0 up to but below 1.
        cutout: Side of the hole in pixels, at least 0; it may overlap the border.

    Raises:
        ConfigError: If a value is out of range.

    References:
        Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks", ICDAR 2003 (moves and turns);
        DeVries & Taylor, arXiv 1708.04552, 2017 (cutout); Steele, Lea & Flood, "Fast Splittable Pseudorandom Number
        Generators", OOPSLA 2014, figure 16 (the hash).
    """

    shift: int = 2
    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("shift", self.shift, math.inf),
            ("rotate", self.rotate, 180.0),
            ("scale", self.scale, 0.999),
            ("cutout", self.cutout, math.inf),
        ):
            if not 0 <= value <= limit:
                raise ConfigError(f"Augment: {name} must be from 0 to {limit:g}, got {value}", mend=f"try {name}=0")

    @property
    def is_identity(self) -> bool:
        """Whether nothing is ever changed."""
        return not (self.shift or self.flip or self.rotate or self.scale or self.cutout)

    def __call__(
        self, pixels: Shaped[Tensor, "N C H W"], indices: Int[Tensor, " N"], epoch: int, seed: int
    ) -> Shaped[Tensor, "N C H W"]:
        """Change a batch.

        Args:
            pixels: ``uint8``, or floating-point numbers of any scale whose black is 0; not changed itself.
            indices: Number of each example in the whole set.
            epoch: Number of the pass.
            seed: Any whole number.

        Returns:
            The changed batch. ``uint8`` stays ``uint8`` without ``rotate`` and ``scale``; with them it becomes
            ``float32`` on the same scale of 0 to 255 (nothing is rounded). With every argument 0 it is ``pixels``.
        """
        if self.is_identity:
            return pixels
        height, width = pixels.shape[-2:]
        draws = self.draws(indices, epoch, seed, height=height, width=width)
        pixels = warped(pixels, draws) if self.rotate or self.scale else self._moved(pixels, draws)
        return _with_holes(pixels, draws, self.cutout) if self.cutout else pixels

    def draws(self, indices: Int[Tensor, " N"], epoch: int, seed: int, *, height: int, width: int) -> Draws:
        """Return what is done to each example; a function of its arguments alone.

        Args:
            indices: Number of each example in the whole set.
            epoch: Number of the pass.
            seed: Any whole number.
            height: Rows of a picture.
            width: Columns of a picture.

        Returns:
            The draws, on the device of ``indices``.
        """
        u = _uniforms(indices, epoch, seed)
        moves = (u[:2] * (2 * self.shift + 1)).long() - self.shift
        flip = u[2] < 0.5 if self.flip else torch.zeros_like(indices, dtype=torch.bool)
        angle = (u[3] * 2 - 1) * math.radians(self.rotate)
        scale = 1 + (u[4] * 2 - 1) * self.scale
        spot = (u[5] * (height * width)).long()
        return Draws(
            moves[0], moves[1], flip, angle.float(), scale.float(), spot.div(width, rounding_mode="floor"), spot % width
        )

    def _moved(self, pixels: Tensor, draws: Draws) -> Tensor:
        # Flip, then take for each picture its window of the padded batch.
        if self.flip:
            pixels = torch.where(draws.flip[:, None, None, None], pixels.flip(-1), pixels)
        if not self.shift:
            return pixels
        height, width = pixels.shape[-2:]
        reach = self.shift
        windows = functional.pad(pixels, (reach,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        examples = torch.arange(len(pixels), device=pixels.device)
        return windows[examples, :, reach - draws.down, reach - draws.right]


def warped(pixels: Shaped[Tensor, "N C H W"], draws: Draws) -> Float[Tensor, "N C H W"]:
    """Flip, turn, scale and move with bilinear sampling; black outside.

    The result at (row, column), measured from the centre, is the picture at

        ( column' )            (  cos a   -sin a ) ( column - right )
        (   row'  )  =  1/s *  (  sin a    cos a ) (   row  - down  )

    with column' negated where the picture is flipped.

    Args:
        pixels: ``uint8`` or floating point.
        draws: What to do to each.

    Returns:
        ``float32``, or the floating type that came in.
    """
    height, width = pixels.shape[-2:]
    cos, sin = torch.cos(draws.angle) / draws.scale, torch.sin(draws.angle) / draws.scale
    down, right = draws.down.float(), draws.right.float()
    mirror = 1.0 - 2.0 * draws.flip.float()
    # grid_sample measures columns in half widths and rows in half heights.
    theta = torch.stack(
        (
            mirror * cos,
            mirror * -sin * (height / width),
            mirror * (sin * down - cos * right) * (2 / width),
            sin * (width / height),
            cos,
            -(sin * right + cos * down) * (2 / height),
        ),
        dim=-1,
    ).reshape(-1, 2, 3)
    values = pixels if pixels.is_floating_point() else pixels.to(torch.float32)
    grid = functional.affine_grid(theta.to(values.dtype), list(values.shape), align_corners=False)
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _with_holes(pixels: Tensor, draws: Draws, side: int) -> Tensor:
    # Blacken one square for each picture.
    height, width = pixels.shape[-2:]
    rows = torch.arange(height, device=pixels.device) - (draws.hole_row[:, None] - side // 2)
    columns = torch.arange(width, device=pixels.device) - (draws.hole_column[:, None] - side // 2)
    hole = ((rows >= 0) & (rows < side))[:, None, :, None] & ((columns >= 0) & (columns < side))[:, None, None, :]
    return pixels.masked_fill(hole, 0)


def _uniforms(indices: Tensor, epoch: int, seed: int) -> Tensor:
    """Return (_DRAWS, N) ``float64`` numbers in [0, 1), each a hash of (seed, epoch, index, its own number)."""
    key = _mixed_int(_mixed_int(seed & _MASK64) ^ (epoch & _MASK64))
    lanes = torch.arange(_DRAWS, device=indices.device)[:, None]
    x = _mixed(_mixed(indices.long() ^ _signed(key)) + (lanes + 1) * _signed(0x9E3779B97F4A7C15))
    return _shifted(x, 11).double() * 2.0**-53


def _mixed(x: Tensor) -> Tensor:
    # Mix the bits of 64-bit whole numbers (multiplication wraps around, as it should).
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    # Shift right without the sign (torch's own shift copies it).
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mixed_int(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
