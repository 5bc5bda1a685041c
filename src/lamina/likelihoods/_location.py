"""What the likelihoods with a location and a scale share: how outputs become both, and the gradient through them."""

import math

import torch
from torch import Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import check_outputs, target_columns

BOUND = 14.0  # the learnt log-scale stays within ±14: scales from 8.3e-7 to 1.2e6


def log_scale(raw: Tensor) -> Tensor:
    """Return log s = r / √(1 + (r / 14)²): r itself near zero (to third order), never beyond ±14.

    Returns:
        Log-scales, of the shape of ``raw``.
    """
    return raw * torch.rsqrt(1.0 + (raw / BOUND).square())


def raw_log_scale(log_s: Tensor) -> Tensor:
    """Return the output r whose log-scale is given, log s / √(1 - (log s / 14)²); beyond ±14 brought just within.

    Returns:
        Raw log-scales, of the shape of ``log_s``.
    """
    within = log_s.clamp(-0.9999 * BOUND, 0.9999 * BOUND)
    return within * torch.rsqrt(1.0 - (within / BOUND).square())


def log_scale_slope(raw: Tensor) -> Tensor:
    """Return d(log s)/dr = (1 + (r / 14)²)^(-3/2), which never becomes exactly zero.

    Returns:
        Slopes, of the shape of ``raw``.
    """
    return (1.0 + (raw / BOUND).square()) ** -1.5


def log_scale_bend(raw: Tensor) -> Tensor:
    """Return d²(log s)/dr² = -3 r / 14² (1 + (r / 14)²)^(-5/2).

    Returns:
        Second derivatives, of the shape of ``raw``.
    """
    return -3.0 / BOUND**2 * raw * (1.0 + (raw / BOUND).square()) ** -2.5


def check_scale(owner: str, scale: float | None) -> None:
    """Refuse a fixed scale that is not a positive finite number.

    Raises:
        ConfigError: If it is not.
    """
    if scale is not None and not (scale > 0 and math.isfinite(scale)):
        raise ConfigError(f"scale must be a positive finite number or None, got {scale!r}", where=owner, mend="use 1.0")


def n_location_outputs(n_targets: int, scale: float | None) -> int:
    """Return T locations, and T raw log-scales if the scale is learnt.

    Returns:
        A count of outputs.
    """
    return n_targets if scale is not None else 2 * n_targets


def location_and_log_scale(owner: str, outputs: Tensor, n_targets: int, scale: float | None) -> tuple[Tensor, Tensor]:
    """Return µ and log s, (N, T) each.

    Returns:
        Two matrices; the second is constant where the scale is fixed.
    """
    check_outputs(owner, outputs, n_location_outputs(n_targets, scale))
    if scale is not None:
        return outputs, torch.full_like(outputs, math.log(scale))
    return outputs[:, :n_targets], log_scale(outputs[:, n_targets:])


def standardise(
    owner: str, outputs: Tensor, target: Tensor, n_targets: int, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return z = (y - µ) / s, 1 / s and log s, (N, T) each.

    Returns:
        Three matrices.
    """
    location, log_s = location_and_log_scale(owner, outputs, n_targets, scale)
    inverse = torch.full_like(log_s, 1.0 / scale) if scale is not None else torch.exp(-log_s)
    return (target_columns(owner, target, outputs, n_targets) - location) * inverse, inverse, log_s


def location_gradient(
    z: Tensor, pull: Tensor, inverse: Tensor, outputs: Tensor, *, n_targets: int, scale: float | None
) -> Tensor:
    """Return the gradient of -log p = -log f(z) + log s by the outputs, given the pull ψ(z) = -d(log f)/dz.

        d(-log p)/dµ = -ψ / s,   d(-log p)/dr = (1 - z ψ) d(log s)/dr

    Returns:
        One row an example, as wide as the outputs.
    """
    if scale is not None:
        return -pull * inverse
    return torch.cat([-pull * inverse, (1.0 - z * pull) * log_scale_slope(outputs[:, n_targets:])], dim=-1)
