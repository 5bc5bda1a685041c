"""Curvature without matrices: Jacobian and Hessian products, Krylov methods on them, and co-states."""

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.blocks import BlockDiagonal, curvature_blocks
from lamina.curvature.conjugate_gradient import Iterate, Solution, conjugate_gradient
from lamina.curvature.costates import ContinuousCostates, LayerCostates, continuous_costates, layer_costates
from lamina.curvature.diagonal import curvature_diagonal, hutchinson_diagonal
from lamina.curvature.functions import AtParameters, loss_at, outputs_at
from lamina.curvature.gauss_newton import empirical_fisher_vector, fisher_vector, gauss_newton_vector
from lamina.curvature.kronecker.factors import KroneckerFactors
from lamina.curvature.kronecker.inverse import KroneckerInverse
from lamina.curvature.lanczos import Eigenpairs, lanczos
from lamina.curvature.low_rank import DiagonalLowRank, low_rank_from_eigenpairs, low_rank_from_gradients
from lamina.curvature.per_example import curvature_rows
from lamina.curvature.products import hessian_vector, jacobian_vector, vector_jacobian

__all__ = [
    "AtParameters",
    "BatchLoss",
    "BlockDiagonal",
    "ContinuousCostates",
    "DiagonalLowRank",
    "Eigenpairs",
    "Iterate",
    "KroneckerFactors",
    "KroneckerInverse",
    "LayerCostates",
    "Solution",
    "conjugate_gradient",
    "continuous_costates",
    "curvature_blocks",
    "curvature_diagonal",
    "curvature_rows",
    "empirical_fisher_vector",
    "fisher_vector",
    "gauss_newton_vector",
    "hessian_vector",
    "hutchinson_diagonal",
    "jacobian_vector",
    "lanczos",
    "layer_costates",
    "loss_at",
    "low_rank_from_eigenpairs",
    "low_rank_from_gradients",
    "outputs_at",
    "vector_jacobian",
]
