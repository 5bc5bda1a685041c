"""Brightness, contrast, saturation and hue, by draws of each picture's own."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lamina.data.images.augmentation.hashed import COLOUR, uniforms
from lamina.errors import ConfigError


class Colours(NamedTuple):
    """How the light of each picture changes.

    Attributes:
        brightness: (N,) factor of every value.
        contrast: (N,) factor of the distance from the picture's mean grey.
        saturation: (N,) factor of the distance of each pixel from its own grey.
        hue: (N,) radians by which colours turn about the grey axis, red towards green.
    """

    brightness: Float[Tensor, " N"]
    contrast: Float[Tensor, " N"]
    saturation: Float[Tensor, " N"]
    hue: Float[Tensor, " N"]


def draw_colours(
    indices: Int[Tensor, " N"],
    epoch: int,
    seed: int,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> Colours:
    """Draw uniformly: factors within 1 ± the given share, turns within ± ``hue`` degrees.

    Returns:
        The draws, on the device of ``indices``.
    """
    u = uniforms(indices, epoch, seed, COLOUR).mul_(2).sub_(1).float()
    return Colours(1 + brightness * u[0], 1 + contrast * u[1], 1 + saturation * u[2], math.radians(hue) * u[3])


def coloured(
    pixels: Shaped[Tensor, "N C H W"], colours: Colours, white: float, *, turn: bool
) -> Float[Tensor, "N C H W"]:
    """Change the light of each picture.

        y = b (m + c (g - m + s R_h (x - g)))   within 0 and white

    g is a pixel's grey, the mean over its channels; m is the mean of g over the picture; R_h turns a colour by h about
    the grey axis, (v cos h + k × v sin h) with k = (1, 1, 1) / sqrt(3). Greys have no colour to change: on pictures of
    one channel s does nothing.

    Differs from the neighbours, which weigh the channels by luminance and turn hue in HSV: here all but the clipping is
    linear, and mean grey is kept by s and h.

    Args:
        pixels: ``uint8`` or floating point.
        colours: b, c, s, h of each picture.
        white: The largest value.
        turn: Whether any h is not 0.

    Returns:
        ``float32``, or the floating type that came in.

    Raises:
        ConfigError: If hue is to be turned where there are not three channels.
    """
    values = pixels if pixels.is_floating_point() else pixels.to(torch.float32)
    brightness, contrast, saturation, hue = (part.to(values.dtype)[:, None, None, None] for part in colours)
    grey = values.mean(1, keepdim=True)
    middle = grey.mean((2, 3), keepdim=True)
    colour = values - grey
    if turn:
        if values.shape[1] != 3:
            raise ConfigError(
                f"hue is of pictures of three channels, and these have {values.shape[1]}",
                where="Augment",
                mend="use hue=0",
            )
        across = (colour.roll(1, 1) - colour.roll(-1, 1)) / math.sqrt(3)
        colour = colour * hue.cos() + across * hue.sin()
    return (brightness * (middle + contrast * (grey - middle + saturation * colour))).clamp_(0, white)
