"""A curvature as a diagonal and a few directions beside it: O(r n) numbers, solved by Woodbury's identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lamina.curvature._vectors import Tensors, flatten, ordered, unflatten
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.lanczos import Eigenpairs
from lamina.curvature.output_metric import Kind
from lamina.curvature.per_example import curvature_rows
from lamina.errors import ConfigError


@dataclass(frozen=True)
class DiagonalLowRank:
    """C = diag(d) + Uᵀ U.

    Attributes:
        diagonal: d, (P,), not negative.
        directions: U, (r, P).
        like: θ by name: names and shapes of vectors, P elements in all.
    """

    diagonal: Tensor
    directions: Tensor
    like: Tensors

    def product(self, vector: Mapping[str, Tensor]) -> Tensors:
        """Return C v, one tensor for each parameter."""
        flat = flatten(ordered("DiagonalLowRank.product", "vector", vector, self.like))
        return unflatten(self.diagonal * flat + (self.directions @ flat) @ self.directions, self.like)

    def solve(self, vector: Mapping[str, Tensor], damping: float = 0.0) -> Tensors:
        """Return (C + damping I)⁻¹ v by a system of r equations.

            (D + Uᵀ U)⁻¹ = D⁻¹ - D⁻¹ Uᵀ (I + U D⁻¹ Uᵀ)⁻¹ U D⁻¹,   D = diag(d) + damping I

        Args:
            vector: v.
            damping: Added to the diagonal.

        Returns:
            One tensor for each parameter.

        Raises:
            ConfigError: If an element of d + damping is not above 0.

        Reference: Woodbury, 1950; Golub & Van Loan, "Matrix Computations", section 2.1.4.
        """
        flat = flatten(ordered("DiagonalLowRank.solve", "vector", vector, self.like))
        diagonal = self.diagonal + damping
        if bool((diagonal <= 0).any()):
            raise ConfigError(
                f"the diagonal plus {damping!r} is not above 0 everywhere",
                where="DiagonalLowRank.solve",
                mend="use a larger damping",
            )
        return unflatten(woodbury(diagonal, self.directions, flat), self.like)


def low_rank_from_gradients(
    batch: BatchLoss,
    rank: int,
    kind: Kind = "empirical-fisher",
    *,
    keep_diagonal: bool = True,
    draws: int | None = None,
    generator: Generator | None = None,
) -> DiagonalLowRank:
    """Return the best rank-r part of a curvature given by its rows (``curvature_rows``), with the rest's own diagonal.

    With as many directions as there are rows it is exact. Rows that do not fit into memory together are taken some at a
    time, and what was kept of those before is decomposed again with them.

    Args:
        batch: The loss.
        rank: r, at least 1.
        kind: Which curvature; see ``BatchLoss.product``.
        keep_diagonal: Whether d is the diagonal of what the r directions leave out; else it is 0.
        draws: For "gauss-newton" and "fisher": targets drawn for each example in place of the closed form.
        generator: Source of the draws.

    Returns:
        The matrix.

    Raises:
        ConfigError: If an argument does not fit.

    Reference: Le Roux, Manzagol & Bengio, "Topmoumoute Online Natural Gradient Algorithm", NIPS 2007, section 3.
    """
    if rank < 1:
        raise ConfigError(f"rank must be at least 1, got {rank!r}", where="low_rank_from_gradients", mend="use 10")
    like = batch.parameters
    squares = torch.zeros_like(flatten(like))
    directions = squares.new_zeros(0, len(squares))
    for rows in curvature_rows(batch, kind, draws=draws, generator=generator):
        squares += rows.square().sum(0)
        directions = principal(torch.cat([directions, rows]), rank)
    left = (squares - directions.square().sum(0)).clamp(min=0.0) if keep_diagonal else torch.zeros_like(squares)
    return DiagonalLowRank(left, directions, like)


def low_rank_from_eigenpairs(pairs: Eigenpairs, diagonal: Mapping[str, Tensor] | None = None) -> DiagonalLowRank:
    """Return Σ λ v vᵀ over the eigenpairs with λ > 0 that ``lanczos`` found, with what is left of a given diagonal.

    Args:
        pairs: The eigenpairs.
        diagonal: The matrix's own diagonal (``curvature_diagonal``), of which d is what the directions leave out, but
            at least 0; None makes d = 0.

    Returns:
        The matrix.
    """
    like = {name: vectors[0] for name, vectors in pairs.vectors.items()}
    vectors = torch.cat([v.flatten(1) for v in pairs.vectors.values()], dim=1)
    directions = vectors * pairs.values.clamp(min=0.0).sqrt().unsqueeze(1)
    if diagonal is None:
        return DiagonalLowRank(torch.zeros_like(directions[0]), directions, like)
    whole = flatten(ordered("low_rank_from_eigenpairs", "diagonal", diagonal, like))
    return DiagonalLowRank((whole - directions.square().sum(0)).clamp(min=0.0), directions, like)


def principal(rows: Tensor, rank: int) -> Tensor:
    """Return U (at most r rows) with Uᵀ U the best approximation of rank r to Aᵀ A, from the small matrix A Aᵀ.

    Args:
        rows: A, (..., m, P).
        rank: r.

    Returns:
        (..., min(r, m), P), the greatest direction last.
    """
    if rows.shape[-2] <= rank:
        return rows
    # In double precision: where P < m most eigenvalues are 0, and LAPACK may give up on their float32 neighbours.
    _, vectors = torch.linalg.eigh((rows @ rows.mT).double())
    found: Tensor = vectors[..., -rank:].mT.to(rows) @ rows
    return found


def woodbury(diagonal: Tensor, directions: Tensor, vector: Tensor) -> Tensor:
    """Return (diag(d) + Uᵀ U)⁻¹ v.

    Args:
        diagonal: d, (..., P), above 0.
        directions: U, (..., r, P).
        vector: v, (..., P).

    Returns:
        (..., P).
    """
    scaled = vector / diagonal
    if not directions.shape[-2]:
        return scaled
    thin = directions / diagonal.unsqueeze(-2)
    small = directions @ thin.mT
    small.diagonal(dim1=-2, dim2=-1).add_(1.0)
    inner = torch.linalg.solve(small, (directions @ scaled.unsqueeze(-1)))
    found: Tensor = scaled - (thin.mT @ inner).squeeze(-1)
    return found
