"""Tangent distance: how far two pictures are apart after each has been moved as favourably as its tangents allow."""

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError


def tangent_distance(
    x: Float[Tensor, "N ..."],
    y: Float[Tensor, "N ..."],
    x_tangents: Float[Tensor, "K N ..."],
    y_tangents: Float[Tensor, "L N ..."] | None = None,
) -> Float[Tensor, " N"]:
    """Return the Euclidean distance between the tangent planes at x_n and y_n, or between a plane and a point.

        two-sided:  min over a, b of ‖ x + Σ_k a_k v_k - y - Σ_l b_l w_l ‖
        one-sided:  min over a    of ‖ x + Σ_k a_k v_k - y ‖             (``y_tangents`` None)

    One linear system of as many unknowns as there are tangents for each pair, solved in float64; a tangent that the
    others already span adds nothing. It is 0 to first order between an example and itself moved a little along its
    tangents, and never above the Euclidean distance. Not a metric: the triangle inequality does not hold.

    The gradient by x, y and the tangents is that at fixed a and b, which is the whole one, since these are optimal.

    Args:
        x: Examples, ``(N, ...)``.
        y: As many others of the same shape.
        x_tangents: Directions v at x, ``(K, N, ...)``, of any length; ``penalties.image_tangents`` makes some.
        y_tangents: Directions w at y.

    Returns:
        One distance a pair, in the inputs' type.

    Raises:
        ConfigError: If shapes do not fit, or the numbers are not floating-point ones.

    Reference: Simard, LeCun & Denker, "Efficient Pattern Recognition Using a New Transformation Distance", NIPS 1992,
    eq. 4-6.
    """
    if x.shape != y.shape or x.ndim < 2 or not (x.is_floating_point() and y.is_floating_point()):
        raise ConfigError(
            f"x and y must be floating-point numbers of one shape (N, ...), got {tuple(x.shape)} and {tuple(y.shape)}",
            where="tangent_distance",
            mend="compare examples pair by pair",
        )
    parts = [part for part in (x_tangents, y_tangents) if part is not None]
    for part in parts:
        if part.shape[1:] != x.shape:
            raise ConfigError(
                f"tangents must have shape (K, {', '.join(map(str, x.shape))}), got {tuple(part.shape)}",
                where="tangent_distance",
                mend="give K directions for each example",
            )
    # The sign of a coefficient is free, so both planes' tangents stand side by side.
    plane = torch.cat(parts).flatten(2).permute(1, 2, 0)  # (N, D, K + L)
    apart = (x - y).flatten(1).unsqueeze(2)
    with torch.no_grad():
        best = _least_squares(plane.double(), apart.double()).to(x.dtype)
    distances: Tensor = torch.linalg.vector_norm((apart - plane @ best).squeeze(2), dim=1)
    return distances


def _least_squares(plane: Tensor, apart: Tensor) -> Tensor:
    """Return the shortest coefficients c of least ‖apart - plane c‖, (N, K, 1)."""
    lengths = torch.linalg.vector_norm(plane, dim=1, keepdim=True)
    lengths = lengths.masked_fill(lengths == 0, 1.0)
    unit = plane / lengths  # tangents of different units, radians and pixels, weigh alike
    values, axes = torch.linalg.eigh(unit.mT @ unit)
    floor = values[:, -1:] * unit.shape[1] * torch.finfo(unit.dtype).eps
    inverse = torch.where(values > floor, 1.0 / values.clamp_min(torch.finfo(values.dtype).tiny), 0.0)
    along = axes.mT @ (unit.mT @ apart)
    coefficients: Tensor = (axes @ (inverse.unsqueeze(2) * along)) / lengths.mT
    return coefficients
