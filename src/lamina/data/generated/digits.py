"""Digits to make variations of: any labelled grey pictures, brought to 28 × 28 pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lamina.data.generated.parts import SIDE
from lamina.data.images.imageset import ImageSet
from lamina.data.stream import as_tensor
from lamina.errors import ConfigError

_BOX = 20  # pixels of the side of the box that MNIST fits its digits into
_MEND = "give (N, 28, 28) pixels, 0 to 255 as uint8 or 0 to 1 as floating-point numbers"


class Digits(NamedTuple):
    """Pictures of digits and what they are.

    Attributes:
        images: (N, 1, 28, 28) uint8, white on black.
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor


def digit_set(images: ImageSet | Tensor | NDArray[Any], labels: Tensor | NDArray[Any] | None = None) -> Digits:
    """Bring pictures of digits to the form of MNIST.

    Pictures of 28 × 28 stay as they are. Others are enlarged or reduced to 20 × 20 by bilinear interpolation (smoothed
    first where they are reduced) with 4 black pixels all round, as MNIST has its digits; MNIST then moves the centre of
    mass to the middle, which is not done here. ``digit_set(load_named("digits"))`` are scikit-learn's 1,797 digits.

    Args:
        images: (N, H, W) or (N, 1, H, W), white on black: uint8, or floating-point numbers from 0 to 1, which are
            rounded to 8 bits; or a set with its labels, such as ``load_named("mnist")``.
        labels: (N,) whole numbers; those of the set where one is given.

    Returns:
        The digits.

    Raises:
        ConfigError: If the pictures are not grey, not in range, or have no label each.
    """
    if isinstance(images, ImageSet):
        labels = images.labels if labels is None else labels
        images = images.pixels
    pixels = images if isinstance(images, Tensor) else as_tensor(np.ascontiguousarray(images))
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    if labels is None or pixels.ndim != 4 or pixels.shape[1] != 1 or 0 in pixels.shape:
        what = f"shape {tuple(pixels.shape)}" if labels is not None else "no labels"
        raise ConfigError(f"pictures of digits with {what}", where="digit_set", mend=_MEND)
    targets = torch.as_tensor(np.asarray(labels))
    if targets.is_floating_point() or targets.shape != pixels.shape[:1]:
        raise ConfigError(
            f"labels of {targets.dtype} and shape {tuple(targets.shape)} for {len(pixels):,} pictures",
            where="digit_set",
            mend="give a whole number for each picture",
        )
    if pixels.is_floating_point():
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):  # false of nan too
            raise ConfigError("floating-point pixels beyond 0 to 1", where="digit_set", mend=_MEND)
        pixels = (pixels * 255).round().to(torch.uint8)
    elif pixels.dtype != torch.uint8:
        raise ConfigError(f"pixels of {pixels.dtype}", where="digit_set", mend=_MEND)
    if pixels.shape[-2:] != (SIDE, SIDE):
        pixels = torch.cat([_fitted(some) for some in torch.split(pixels, 1_000)])
    return Digits(pixels, targets.long())


def _fitted(pixels: Tensor) -> Tensor:
    # Pictures of any size to 20 x 20 in the middle of 28 x 28.
    boxed = functional.interpolate(pixels.float(), size=(_BOX, _BOX), mode="bilinear", antialias=True)
    return functional.pad(boxed.round().clamp(0, 255).to(torch.uint8), ((SIDE - _BOX) // 2,) * 4)
