"""How far K-FAC goes: the best multiples of its directions by the exact quadratic model, and the damping's rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker.quadratic import QuadraticModel, quadratic_model

Directions = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Objective:
    """h(θ) = L(θ) + ½ Σ η θ² of a batch.

    Args:
        batch: L, or some rows of it.
        decay: η by parameter name.
    """

    batch: BatchLoss
    decay: Mapping[str, float]

    def value(self) -> float:
        """Return h at the parameters as they are."""
        with torch.no_grad():
            return float(self.batch.total(self.batch.outputs_at({}))) + 0.5 * self._pull(None)

    def model(self, directions: Directions) -> QuadraticModel:
        """Return h's quadratic model along some directions, without damping."""
        found = quadratic_model(self.batch, directions)
        slopes = torch.tensor([self._pull(d) for d in directions], dtype=torch.float64)
        curvature = found.curvature + inner(directions, self.decay)
        return QuadraticModel(found.value + 0.5 * self._pull(None), found.slopes + slopes, curvature)

    def _pull(self, direction: Mapping[str, Tensor] | None) -> float:
        """Return Σ η θ · d, or with θ for d."""
        parameters = {name: p for name, p in self.batch.parameters.items() if self.decay.get(name)}
        given = parameters if direction is None else direction
        return sum(self.decay[n] * float((p * given[n]).sum()) for n, p in parameters.items() if n in given)


def inner(directions: Directions, weights: Mapping[str, float] | float) -> Tensor:
    """Return Σ w d_i d_j for each pair, float64 on the host; w a number, or one for each name."""
    k = len(directions)
    found = torch.zeros(k, k, dtype=torch.float64)
    for i in range(k):
        for j in range(i, k):
            total = []
            for name, d in directions[i].items():
                w = weights if isinstance(weights, float) else weights.get(name, 0.0)
                if w and name in directions[j]:
                    total.append((d * directions[j][name]).sum() * w)
            found[i, j] = found[j, i] = float(torch.stack(total).sum()) if total else 0.0
    return found


def best_multiples(slopes: Tensor, curvature: Tensor, second: float | None) -> Tensor:
    """Return the c that makes slopes · c + ½ cᵀ curvature c least, for one direction or two.

        [α, µ] = -curvature⁻¹ slopes

    Args:
        slopes: Of the direction and of the last step.
        curvature: Between them, the damping included.
        second: µ where it is fixed; None finds it too.

    Returns:
        α, or α and µ; 0 where the model says nothing.
    """
    if len(slopes) == 2 and second is None:
        a, b, d = (float(curvature[i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
        if a > 0.0 and d > 0.0 and a * d - b * b > 1e-10 * a * d:
            both: Tensor = torch.linalg.solve(curvature, -slopes)
            return both
    fixed = 0.0 if second is None else second
    pull = float(slopes[0]) + (fixed * float(curvature[0, 1]) if len(slopes) == 2 else 0.0)
    bend = float(curvature[0, 0])
    alpha = -pull / bend if bend > 0.0 and math.isfinite(pull / bend) else 0.0
    return torch.tensor([alpha, fixed][: len(slopes)], dtype=torch.float64)


def adapted(damping: float, ratio: float, factor: float, bounds: tuple[float, float]) -> float:
    """Return λ by the Levenberg-Marquardt rule: times ω where ρ > ¾, divided by ω where ρ < ¼, within the bounds."""
    if ratio > 0.75:
        damping *= factor
    elif ratio < 0.25:
        damping /= factor
    return min(max(damping, bounds[0]), bounds[1])
