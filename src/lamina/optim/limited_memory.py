"""The limited-memory BFGS matrix: a diagonal and a few pairs of steps and gradient changes, as product and in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Pair(NamedTuple):
    """One step and what it did to the gradient.

    Attributes:
        s: θ_{k+1} - θ_k, (P,).
        y: ∇L(θ_{k+1}) - ∇L(θ_k), (P,).
        along: s·y, a scalar; kept, since every product with the matrix asks for it.
    """

    s: Tensor
    y: Tensor
    along: Tensor

    @classmethod
    def of(cls, s: Tensor, y: Tensor) -> Pair:
        """Return the pair of these two."""
        return cls(s, y, s @ y)


class DiagonalPlusLowRank(NamedTuple):
    """The matrix diag(d) + U M Uᵀ of P parameters, with r columns in U.

    Attributes:
        diagonal: d, (P,).
        factors: U, (P, r).
        middle: M, (r, r), symmetric.
    """

    diagonal: Tensor
    factors: Tensor
    middle: Tensor

    def product(self, vector: Tensor) -> Tensor:
        """Return the matrix times a vector, at the cost of 2r + 1 vectors."""
        return self.diagonal * vector + self.factors @ (self.middle @ (self.factors.mT @ vector))


def two_loops(vector: Tensor, pairs: Sequence[Pair], shares: Tensor | None = None) -> Tensor:
    """Return H v for the matrix that the pairs make of γD, oldest first.

        H ← (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ,   ρ = 1 / (s·y)

    4 m P operations for m pairs of P numbers. H is positive definite where every s·y is above 0.

    Args:
        vector: v, (P,).
        pairs: Oldest first.
        shares: D's diagonal, (P,); None is the identity.

    Returns:
        H v; D v without pairs.

    Reference: Nocedal & Wright, Numerical Optimization, 2006, algorithm 7.4.
    """
    q = vector.clone()
    weights = []
    for s, y, along in reversed(pairs):
        weight = (s @ q) / along
        weights.append(weight)
        q.addcmul_(weight, y, value=-1)
    if pairs:
        q.mul_(initial_scale(pairs[-1], shares))
    if shares is not None:
        q.mul_(shares)
    for (s, y, along), weight in zip(pairs, reversed(weights), strict=True):
        q.addcmul_(weight - (y @ q) / along, s)
    return q


def initial_scale(newest: Pair, shares: Tensor | None = None) -> Tensor:
    """Return γ = s·y / (y·D y), which gives H₀ = γD the size of the inverse Hessian along y."""
    _, y, along = newest
    return along / (y @ (y if shares is None else shares * y))


def compact(pairs: Sequence[Pair], shares: Tensor | None = None) -> DiagonalPlusLowRank:
    """Return the same H as a diagonal plus a matrix of rank 2m.

        H = γD + [S  γDY] [ R⁻ᵀ (E + γ YᵀDY) R⁻¹   -R⁻ᵀ ] [ Sᵀ  ]
                          [ -R⁻¹                    0   ] [ γYᵀD ],   R = upper triangle of SᵀY,  E = its diagonal

    Args:
        pairs: Oldest first, at least one.
        shares: D's diagonal; None is the identity.

    Returns:
        Diagonal, factors (P, 2m) and middle (2m, 2m).

    Reference: Byrd, Nocedal & Schnabel, "Representations of quasi-Newton matrices", Math. Programming 63, 1994, section
    2.
    """
    s, y = torch.stack([pair.s for pair in pairs], dim=1), torch.stack([pair.y for pair in pairs], dim=1)
    gamma = initial_scale(pairs[-1], shares)
    diagonal = gamma * (torch.ones_like(pairs[-1].s) if shares is None else shares)
    scaled = diagonal.unsqueeze(1) * y
    triangle = (s.mT @ y).triu()
    inverse = torch.linalg.inv(triangle)
    corner = inverse.mT @ (torch.diag(triangle.diagonal()) + y.mT @ scaled) @ inverse
    upper, lower = torch.cat([corner, -inverse.mT], dim=1), torch.cat([-inverse, torch.zeros_like(inverse)], dim=1)
    return DiagonalPlusLowRank(diagonal, torch.cat([s, scaled], dim=1), torch.cat([upper, lower]))


def damped(pair: Pair, turned: Tensor, least: float) -> Pair:
    """Return the pair with y drawn towards Bs until s·y is at least a share of s·Bs.

        y ← ψ y + (1 - ψ) Bs,   ψ = (1 - least) s·Bs / (s·Bs - s·y)   where s·y < least · s·Bs

    Args:
        pair: s and y.
        turned: Bs, for the B = H⁻¹ that made the step: -α ∇L after a step of α along -H ∇L.
        least: The share, in (0, 1).

    Returns:
        The pair itself where s·y is enough.

    Reference: Powell, "A fast algorithm for nonlinearly constrained optimization calculations", 1978; Nocedal & Wright,
    2006, procedure 18.2.
    """
    s, y, along = pair
    model = s @ turned
    share = torch.where(along < least * model, (1.0 - least) * model / (model - along), torch.ones_like(along))
    return Pair.of(s, torch.lerp(turned, y, share))
