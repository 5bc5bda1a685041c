"""Curvature without matrices: Jacobian and Hessian products, Krylov methods on them, and co-states."""

from lamina.curvature.conjugate_gradient import Solution, conjugate_gradient
from lamina.curvature.costates import ContinuousCostates, LayerCostates, continuous_costates, layer_costates
from lamina.curvature.functions import AtParameters, loss_at, outputs_at
from lamina.curvature.lanczos import Eigenpairs, lanczos
from lamina.curvature.products import hessian_vector, jacobian_vector, vector_jacobian

__all__ = [
    "AtParameters",
    "ContinuousCostates",
    "Eigenpairs",
    "LayerCostates",
    "Solution",
    "conjugate_gradient",
    "continuous_costates",
    "hessian_vector",
    "jacobian_vector",
    "lanczos",
    "layer_costates",
    "loss_at",
    "outputs_at",
    "vector_jacobian",
]
