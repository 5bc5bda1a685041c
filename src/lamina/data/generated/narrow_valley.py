"""The narrow quadratic valley: a bowl whose curvature differs by a given factor between its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Quadratic:
    """f(θ) = ½ eᵀ A e,  e = θ - θ*,  the eigenvalues of A from µ = 1 to L = κ.

    Attributes:
        matrix: A, (d, d) float64, symmetric.
        minimum: θ*, (d,).
        kappa: κ = L / µ.
    """

    matrix: Tensor
    minimum: Tensor
    kappa: float

    def gap(self, theta: Tensor) -> Tensor:
        """Return f(θ) - f(θ*), one number a row of θ."""
        e = theta - self.minimum
        return 0.5 * (e @ self.matrix * e).sum(-1)

    def gradient(self, theta: Tensor) -> Tensor:
        """Return A (θ - θ*), of the shape of θ."""
        return (theta - self.minimum) @ self.matrix


def quadratic(kappa: float, dimensions: int, generator: Generator | None = None) -> Quadratic:
    """Draw a quadratic whose eigenvalues are spread evenly on a logarithmic scale, turned at random.

    On two dimensions it is the valley in which gradient descent zig-zags.

    Args:
        kappa: κ, at least 1.
        dimensions: d, at least 2.
        generator: Source of the turn and of θ*.

    Returns:
        The quadratic.

    Raises:
        ConfigError: If κ or d is too small.
    """
    if not (1.0 <= kappa < math.inf and dimensions >= 2):
        raise ConfigError(
            f"kappa must be at least 1 and dimensions at least 2, got {kappa:g} and {dimensions}",
            where="quadratic",
            mend="try kappa=100, dimensions=2",
        )
    values = torch.logspace(0.0, math.log10(kappa), dimensions, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64))
    matrix = turn * values @ turn.T
    minimum = torch.randn(dimensions, generator=generator, dtype=torch.float64)
    return Quadratic(0.5 * (matrix + matrix.T), minimum, kappa)
