"""Elastic distortion: a smooth random field by which every pixel looks away from its place."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lamina.data.images.augmentation.hashed import ELASTIC, uniform_pairs


def elastic_displacement(
    indices: Int[Tensor, " N"], epoch: int, seed: int, *, height: int, width: int, alpha: float, smoothness: float
) -> Float[Tensor, "N 2 H W"]:
    """Draw a field for each picture.

        d = α · G_σ * u,   u ~ U(-1, 1) for each pixel and direction, independently

    G_σ is a Gaussian of standard deviation σ whose weights sum to 1, cut at 4σ; u is 0 outside the picture. Well
    inside, d has mean 0 and a standard deviation of about α / (σ sqrt(12 π)): 1.4 pixels for α = 34, σ = 4.

    Args:
        indices: Number of each example in the whole set.
        epoch: Number of the pass.
        seed: Any whole number.
        height: Rows of a picture.
        width: Columns of a picture.
        alpha: α, in pixels.
        smoothness: σ, in pixels, above 0.

    Returns:
        ``float32``: moves to the right (0) and down (1), in pixels.

    Reference: Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks", ICDAR 2003, section 2.
    """
    u = uniform_pairs(indices, epoch, seed, ELASTIC, height * width).mul_(2).sub_(1)
    field = u.transpose(0, 1).reshape(-1, 2, height, width)
    # The two passes of a separable convolution, as two products: on pictures of usual size quicker than conv2d.
    rows, columns = (gaussian_matrix(size, smoothness).to(field) for size in (height, width))
    return (rows @ field @ columns).mul_(alpha)


def gaussian_matrix(size: int, sigma: float) -> Float[Tensor, "size size"]:
    """Return the matrix that smooths a vector by a Gaussian; beyond the ends the vector is 0.

    Returns:
        ``float64``, symmetric, on the CPU.
    """
    reach = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (d / sigma) ** 2) for d in range(reach + 1)]
    total = 2 * math.fsum(weights) - weights[0]
    by_distance = torch.zeros(max(size, reach + 1), dtype=torch.float64)
    by_distance[: reach + 1] = torch.tensor(weights, dtype=torch.float64) / total
    places = torch.arange(size)
    return by_distance[(places[:, None] - places).abs()]
