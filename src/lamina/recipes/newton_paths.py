"""Newton's method on a function of a point: what a step does to a quadratic, and to a saddle."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.optim.newton import Newton


class _Point(nn.Module):
    """A point as a network's parameter; its output says nothing of it."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.place = nn.Parameter(start.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return zeros, a logit for each row of (N, 1) inputs."""
        return 0.0 * inputs * self.place.sum()


def newton_path(height: Callable[[Tensor], Tensor], start: Tensor, *, damping: float, steps: int) -> list[Tensor]:
    """Follow θ ← θ - (H + λI)⁻¹ ∇f.

    Args:
        height: f, of a point (d,).
        start: θ₀, (d,) float64.
        damping: λ.
        steps: How many.

    Returns:
        The points, the start first, then one a step.
    """
    point, one = _Point(start), torch.ones(1, 1, dtype=start.dtype)
    loss = BatchLoss(point, Bernoulli(), one, one, penalty=lambda outputs: height(point.place))
    optimizer = Newton(point.parameters(), damping=damping, curvature="hessian", dense=True)
    path = [start]
    for _ in range(steps):
        optimizer.step(loss)
        path.append(point.place.detach().clone())
    return path
