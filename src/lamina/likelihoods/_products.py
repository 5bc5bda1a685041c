"""Second derivatives by the outputs, applied to a vector: what several likelihoods share. No matrix is formed."""

from collections.abc import Callable

import torch
from torch import Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._location import log_scale_bend, log_scale_slope


def check_vector(owner: str, outputs: Tensor, vector: Tensor) -> None:
    """Refuse a vector that has not one number for each output.

    Raises:
        ConfigError: If its shape differs.
    """
    if vector.shape != outputs.shape:
        raise ConfigError(
            f"the vector must have the outputs' shape {tuple(outputs.shape)}, got {tuple(vector.shape)}",
            where=owner,
            mend="give one number for each output",
        )


def derivative_of_gradient(
    nll_gradient: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, target: Tensor, vector: Tensor
) -> Tensor:
    """Return H v of each example, from the closed gradient by one pass back, H being symmetric.

    Returns:
        (N, K).
    """
    with torch.enable_grad():
        at = outputs.detach().requires_grad_()
        (turned,) = torch.autograd.grad(nll_gradient(at, target), at, vector)
    return turned


def softmax_product(probabilities: Tensor, vector: Tensor) -> Tensor:
    """Return (diag p - p pᵀ) v along the last axis.

    Returns:
        Of the vector's shape.
    """
    scaled = probabilities * vector
    return scaled - probabilities * scaled.sum(-1, keepdim=True)


def location_hessian(
    outputs: Tensor,
    vector: Tensor,
    *,
    z: Tensor,
    pull: Tensor,
    bend: Tensor,
    inverse: Tensor,
    n_targets: int,
    scale: float | None,
) -> Tensor:
    """Return H v of -log p = -log f(z) + log s, given the pull ψ(z) = -d(log f)/dz and its slope ψ'(z).

        d²/dµ² = ψ'/s²,   d²/dµdr = a (ψ + z ψ')/s,   d²/dr² = a² z (ψ + z ψ') + a' (1 - z ψ),   a = d(log s)/dr

    Returns:
        One row an example, as wide as the outputs.
    """
    if scale is not None:
        return bend * inverse.square() * vector
    raw, (u, v) = outputs[:, n_targets:], torch.split(vector, n_targets, dim=1)
    slope, curve = log_scale_slope(raw), log_scale_bend(raw)
    turn = pull + z * bend
    cross = slope * turn * inverse
    own = slope.square() * z * turn + curve * (1.0 - z * pull)
    return torch.cat([bend * inverse.square() * u + cross * v, cross * u + own * v], dim=1)


def location_fisher(
    outputs: Tensor,
    vector: Tensor,
    *,
    of_location: float,
    of_log_scale: float,
    inverse: Tensor,
    n_targets: int,
    scale: float | None,
) -> Tensor:
    """Return F v of a symmetric location-scale density: E[ψ²]/s² for µ and (E[z²ψ²] - 1) a² for r, nothing between.

    Returns:
        One row an example, as wide as the outputs.
    """
    by_location = of_location * inverse.square()
    if scale is not None:
        return by_location * vector
    u, v = torch.split(vector, n_targets, dim=1)
    by_raw = of_log_scale * log_scale_slope(outputs[:, n_targets:]).square()
    return torch.cat([by_location * u, by_raw * v], dim=1)
