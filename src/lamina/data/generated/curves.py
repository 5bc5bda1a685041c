"""Curves: pictures of smooth curves through three random points, six numbers behind 784 pixels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError

_SEGMENTS = 32
_REACH = 2.0
_INNER = 20 / 28
_OVERSHOOT = 1.25  # of a parabola beyond the range of three equally spaced values
_AT_ONCE = 128


class Curves(NamedTuple):
    """Pictures of curves and the points that they go through.

    Attributes:
        images: (N, 1, size, size), in [0, 1].
        points: (N, 3, 2), column and row in pixels; the picture reaches from 0 to ``size``, and pixel (i, j) has its
            middle at column j + ½, row i + ½.
    """

    images: Tensor
    points: Tensor


def curves(n: int, generator: Generator | None = None, *, size: int = 28) -> Curves:
    """Draw n pictures of curves through three random points each.

        p₀, p₁, p₂ ~ U(square),   c(t) = 2 (t - ½)(t - 1) p₀ + 4 t (1 - t) p₁ + 2 t (t - ½) p₂,   t in [0, 1]
        pixel = max(0, 1 - d / 2),   d the distance from the pixel's middle to the curve, in pixels

    c is the parabola with c(0) = p₀, c(½) = p₁, c(1) = p₂: the cubic spline through three points whose ends are left
    free ("not a knot"). The square is so large that no curve leaves the middle 20/28 of the picture, where MNIST has
    its digits: a parabola reaches beyond the range of its three values by a quarter of half the range at most.

    The set that the reference trains on has 20,000 pictures of 28 × 28 pixels and 10,000 for testing; ours in that form
    is ``curves(30_000, generator)`` cut in two. The reference says that three points are chosen at random in the plane,
    and that six numbers lie behind a picture. It does not say from which distribution, how the curve goes through them,
    and how it is drawn; these rules are ours, the brush and the square chosen among round numbers so that 18 principal
    components leave about the error that is reported of the original set (a summed squared error of 5.90 a test
    picture, 5.90 here). Figures on the two sets need not agree in anything else.

    Args:
        n: How many, at least 1.
        generator: Source of the points; None is PyTorch's default generator.
        size: Pixels of a side, at least 4.

    Returns:
        The pictures and their points, float32. The first pictures are the same however many are asked for.

    Raises:
        ConfigError: If ``n`` or ``size`` is too small.

    Reference: Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006,
    and its supporting material.
    """
    if n < 1 or size < 4:
        raise ConfigError(
            f"n must be at least 1 and size at least 4, got {n} and {size}", where="curves", mend="use curves(1000)"
        )
    half = _INNER * size / 2 / _OVERSHOOT
    points = size / 2 + half * (2.0 * torch.rand(n, 3, 2, generator=generator) - 1.0)
    return Curves(draw_curves(points, size), points)


@torch.no_grad()
def draw_curves(points: Tensor, size: int = 28) -> Tensor:
    """Draw the parabola through three points, anti-aliased: see ``curves``.

    The curve is drawn as 32 straight pieces. A piece is away from the curve by at most ‖c''‖ / (8 · 32²), which for the
    points of ``curves`` is below 0.03 pixels.

    Args:
        points: (N, 3, 2), column and row in pixels.
        size: Pixels of a side.

    Returns:
        (N, 1, size, size), in [0, 1], of the points' type.
    """
    t = torch.linspace(0.0, 1.0, _SEGMENTS + 1, dtype=points.dtype)
    basis = torch.stack([2 * (t - 0.5) * (t - 1), 4 * t * (1 - t), 2 * t * (t - 0.5)], dim=1)
    middles = torch.arange(size, dtype=points.dtype) + (0.5 - size / 2)  # from the picture's middle: less rounding
    rows, columns = torch.meshgrid(middles, middles, indexing="ij")
    pixels = torch.stack([columns.reshape(-1), rows.reshape(-1)])
    images = [_drawn(basis @ (some - size / 2), pixels) for some in torch.split(points, _AT_ONCE)]
    return torch.cat(images).view(len(points), 1, size, size)


def _drawn(corners: Tensor, pixels: Tensor) -> Tensor:
    """Return the pictures of lines from corner to corner.

    Args:
        corners: (N, corners, 2).
        pixels: (2, P), their middles.

    Returns:
        (N, P).
    """
    squared = pixels.square().sum(0)
    nearest = torch.full((len(corners), pixels.shape[1]), math.inf, dtype=pixels.dtype)
    for start, stop in zip(corners.unbind(1), corners.unbind(1)[1:], strict=False):
        along = stop - start
        length = along.square().sum(1, keepdim=True)
        reached = torch.addmm(-(start * along).sum(1, keepdim=True), along, pixels)  # (pixel - start) · along
        share = (reached / length.clamp_min(1e-12)).clamp_(0.0, 1.0)
        to_start = torch.addmm(start.square().sum(1, keepdim=True), start, pixels, alpha=-2.0).add_(squared)
        # |pixel - start - share along|²
        to_start.sub_(reached.mul_(2.0).sub_(share * length).mul_(share))
        torch.minimum(nearest, to_start, out=nearest)
    return nearest.clamp_min_(0.0).sqrt_().div_(-_REACH).add_(1.0).clamp_min_(0.0)
