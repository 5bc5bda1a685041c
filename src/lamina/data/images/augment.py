"""Random changes of whole batches of pictures at once, one draw for each picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lamina.data.images.augmentation.colour import coloured, draw_colours
from lamina.data.images.augmentation.elastic import elastic_displacement
from lamina.data.images.augmentation.geometry import Draws, Window, moved, warped, with_holes
from lamina.data.images.augmentation.hashed import GEOMETRY, NOISE, WINDOW, normals, uniforms
from lamina.errors import ConfigError

__all__ = ["Augment", "Draws", "Window", "warped"]


@dataclass(frozen=True)
class Augment:
    """Changes pictures at random so that a model learns what does not matter.

    In this order: brightness, contrast and colours change; each picture is mirrored with probability 1/2 (``flip``), a
    window of it is enlarged to the whole (``crop``), it is turned about its centre by up to ``rotate`` degrees and made
    larger or smaller by up to the share ``scale``, moved by up to ``shift`` whole pixels in each direction and
    distorted like rubber (``elastic``), all by one bilinear sampling; Gaussian noise is added; one black square of side
    ``cutout`` covers part of it. What comes in from outside is black. The shape stays, and the target is the caller's
    to keep: choose only changes that leave it true.

    The draws are a pure function of (seed, epoch, index of the example): neither the order of the examples nor the
    size of the batch nor a resumed run changes them. They are hashed with whole-number arithmetic, which gives the
    same bits on every device.

    Two learners are compared fairly only with the same augmentation: it is part of the task, not of the learner
    (noise is counted with the learner).

    Args:
        shift: Largest move in pixels, at least 0.
        flip: Whether pictures may be mirrored; wrong for digits and letters.
        rotate: Largest turn in degrees, 0 to 180.
        scale: Largest change of size as a share, 0 up to but below 1.
        cutout: Side of the hole in pixels, at least 0; it may overlap the border.
        crop: Largest share of the sides that a crop takes off, 0 up to but below 1; the window lies anywhere.
        elastic: α of the elastic distortion in pixels, at least 0; 34 suits 28 × 28 digits.
        smoothness: σ of the elastic distortion in pixels, above 0.
        brightness: Largest change of brightness as a share, 0 to 1.
        contrast: Largest change of contrast as a share, 0 to 1.
        saturation: Largest change of saturation as a share, 0 to 1; without effect on grey pictures.
        hue: Largest turn of the colours in degrees, 0 to 180; for three channels.
        noise: Standard deviation of the noise as a share of ``white``, at least 0; what it takes below black or above
            white stays there, so that its mean is 0.
        white: The largest value that colours may reach, and the unit of the noise: 255, or 1 for pictures of 0 to 1.

    Raises:
        ConfigError: If a value is out of range.

    References:
        Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks", ICDAR 2003 (moves, turns and
        elastic distortion); Krizhevsky, Sutskever & Hinton, NeurIPS 2012, section 4.1 (crops, mirror images, light);
        DeVries & Taylor, arXiv 1708.04552, 2017 (cutout).
    """

    shift: int = 2
    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    cutout: int = 0
    crop: float = 0.0
    elastic: float = 0.0
    smoothness: float = 4.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    noise: float = 0.0
    white: float = 255.0

    def __post_init__(self) -> None:
        for name, limit in (
            ("shift", math.inf),
            ("rotate", 180.0),
            ("scale", 0.999),
            ("cutout", math.inf),
            ("crop", 0.999),
            ("elastic", math.inf),
            ("brightness", 1.0),
            ("contrast", 1.0),
            ("saturation", 1.0),
            ("hue", 180.0),
            ("noise", math.inf),
        ):
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ConfigError(f"Augment: {name} must be from 0 to {limit:g}, got {value}", mend=f"try {name}=0")
        for name in ("smoothness", "white"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"Augment: {name} must be above 0 and finite, got {getattr(self, name)}", mend=f"leave {name} out"
                )

    @property
    def is_identity(self) -> bool:
        """Whether nothing is ever changed."""
        return not (self.shift or self.flip or self._samples or self._colours or self.noise or self.cutout)

    @property
    def _samples(self) -> bool:
        return bool(self.rotate or self.scale or self.crop or self.elastic)

    @property
    def _colours(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

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
            The changed batch. ``uint8`` stays ``uint8`` under ``shift``, ``flip`` and ``cutout``; under any other
            change it becomes ``float32`` on the same scale of 0 to 255 (nothing is rounded). With every argument 0 it
            is ``pixels``. A ``hue`` above 0 is refused (``ConfigError``) where there are not three channels.
        """
        if self.is_identity:
            return pixels
        height, width = pixels.shape[-2:]
        draws = self.draws(indices, epoch, seed, height=height, width=width)
        if self._colours:
            colours = draw_colours(
                indices,
                epoch,
                seed,
                brightness=self.brightness,
                contrast=self.contrast,
                saturation=self.saturation,
                hue=self.hue,
            )
            pixels = coloured(pixels, colours, self.white, turn=self.hue > 0)
        if self._samples:
            window = self.windows(indices, epoch, seed) if self.crop else None
            displacement = self.displacements(indices, epoch, seed, height=height, width=width)
            pixels = warped(pixels, draws, window, displacement)
        else:
            pixels = moved(pixels, draws, self.shift, self.flip)
        if self.noise:
            noise = normals(indices, epoch, seed, NOISE, math.prod(pixels.shape[1:])).view(pixels.shape)
            values = pixels if pixels.is_floating_point() else pixels.to(torch.float32)
            pixels = torch.add(values, noise.to(values.dtype), alpha=self.noise * self.white)
        return with_holes(pixels, draws, self.cutout) if self.cutout else pixels

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
        u = uniforms(indices, epoch, seed, GEOMETRY)
        moves = (u[:2] * (2 * self.shift + 1)).long() - self.shift
        flip = u[2] < 0.5 if self.flip else torch.zeros_like(indices, dtype=torch.bool)
        angle = (u[3] * 2 - 1) * math.radians(self.rotate)
        scale = 1 + (u[4] * 2 - 1) * self.scale
        spot = (u[5] * (height * width)).long()
        return Draws(
            moves[0], moves[1], flip, angle.float(), scale.float(), spot.div(width, rounding_mode="floor"), spot % width
        )

    def windows(self, indices: Int[Tensor, " N"], epoch: int, seed: int) -> Window:
        """Return which part of each example is enlarged; a function of its arguments alone.

        Returns:
            The draws, on the device of ``indices``.
        """
        u = uniforms(indices, epoch, seed, WINDOW).float()
        return Window(1 - self.crop * u[0], u[1] * 2 - 1, u[2] * 2 - 1)

    def displacements(
        self, indices: Int[Tensor, " N"], epoch: int, seed: int, *, height: int, width: int
    ) -> Float[Tensor, "N 2 H W"] | None:
        """Return by how many pixels each pixel looks away; a function of its arguments alone.

        Returns:
            The field of each example, on the device of ``indices``; None without ``elastic``.
        """
        if not self.elastic:
            return None
        return elastic_displacement(
            indices, epoch, seed, height=height, width=width, alpha=self.elastic, smoothness=self.smoothness
        )
