"""The quadratic model of a batch's loss along a few directions: value, slopes, and curvature between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.curvature._linear import Linearised, twice_differentiable
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.output_metric import output_metric
from lamina.likelihoods.mean_nll import mean_nll


@dataclass(frozen=True)
class QuadraticModel:
    """L(θ + Σ_i c_i d_i) ≈ value + Σ_i c_i slope_i + ½ Σ_ij c_i c_j curvature_ij, all in float64 on the host.

    Attributes:
        value: L(θ).
        slopes: ∇Lᵀ d_i.
        curvature: d_iᵀ C d_j with C the Gauss-Newton matrix (the Fisher matrix) and the penalty's Hessian.
    """

    value: float
    slopes: Float[Tensor, " k"]
    curvature: Float[Tensor, "k k"]

    def change(self, coefficients: Float[Tensor, " k"]) -> float:
        """Return what the model says of L(θ + Σ_i c_i d_i) - L(θ)."""
        return float(self.slopes @ coefficients + 0.5 * coefficients @ self.curvature @ coefficients)


def quadratic_model(batch: BatchLoss, directions: Sequence[Mapping[str, Tensor]]) -> QuadraticModel:
    """Return the model along k directions: one pass forward, and a tangent sweep for each; no adjoint is needed.

        d_iᵀ C d_j = Σ_n (J_n d_i)ᵀ M_n (J_n d_j) / N,   ∇Lᵀ d_i = Σ_n ∂L/∂f_n · J_n d_i

    Args:
        batch: The batch, or some of its rows. Running means do not move.
        directions: One tensor a parameter each; a parameter that is not named stays.

    Returns:
        Its numbers.

    Reference: Martens & Grosse, ICML 2015, section 7 and appendix C.
    """
    with twice_differentiable(batch.model):
        outputs = batch.outputs_at({})
        jacobian = Linearised(outputs, batch.named)
        whole = [{n: d[n] if n in d else torch.zeros_like(p) for n, p in batch.named.items()} for d in directions]
        moved = [jacobian.push(d) for d in whole]
        metric = output_metric("gauss-newton", batch.likelihood, outputs, batch.targets, weights=batch.weights)
        turned = [metric(m) for m in moved]
        leaf = outputs.detach().requires_grad_()
        (pull,) = torch.autograd.grad(mean_nll(batch.likelihood, leaf, batch.targets, batch.weights), leaf)
        slopes = [(pull * m).sum() for m in moved]
        curvature = [(a * b).sum() for a in moved for b in turned]
        if batch.penalty is not None:
            bend = batch.penalty_hessian(outputs)
            none = {n: torch.zeros_like(p) for n, p in batch.named.items()}
            bent = [bend(none, d) for d in whole]
            curvature = [
                c + _inner(whole[place // len(whole)], bent[place % len(whole)]) for place, c in enumerate(curvature)
            ]
            penalty = batch.penalty(outputs)
            if penalty.requires_grad:
                by_name = Linearised(penalty.reshape(1, 1), batch.named).pull(penalty.new_ones(1, 1))
                slopes = [s + _inner(by_name, d) for s, d in zip(slopes, whole, strict=True)]
        value = batch.total(outputs)
    k = len(moved)
    numbers = torch.stack([value.detach(), *slopes, *curvature]).double().cpu()
    square = numbers[1 + k :].reshape(k, k)
    return QuadraticModel(float(numbers[0]), numbers[1 : 1 + k], 0.5 * (square + square.mT))


def _inner(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(first[name] * second[name]).sum() for name in first]).sum()
