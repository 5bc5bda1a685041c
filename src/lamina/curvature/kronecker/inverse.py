"""Damped inverse of Kronecker-factored curvature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from lamina.curvature._vectors import Tensors
from lamina.curvature.kronecker.block import Block
from lamina.curvature.kronecker.packed import PackedPairs, Pairs, copied, held, read, store

TRIES = 12  # from 1e-8 of the mean diagonal to a hundred times it


class KroneckerInverse:
    """(A + πγ I)⁻¹ and (G + γ/π I)⁻¹ of each block: factored Tikhonov damping, an approximation of (F + γ² I)⁻¹.

        π = √( (tr A / dim A) / (tr G / dim G) )

    which shares the damping so that the error of the product is least in trace norm. A block with one factor alone is
    damped by γ² I, exactly. Inverses are found by Cholesky's factorisation in the factors' own type; where that breaks
    down, in float64, and where that does too, with more damping, tenfold at each try.

    Args:
        blocks: The blocks, by name.
        compact: Keep the inverses in half the memory; see ``PackedPairs``.

    Reference: Martens & Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", ICML 2015,
    sections 4.2 and 6.3.
    """

    def __init__(self, blocks: Mapping[str, Block], *, compact: bool = False) -> None:
        self.blocks = dict(blocks)
        self.inverses: Pairs = PackedPairs(self.blocks) if compact else {}

    @torch.no_grad()
    def update(self, factors: Pairs, damping: float | Mapping[str, float]) -> bool:
        """Invert the factors, into the memory of the last inverses.

        Args:
            factors: ``inputs`` and ``outputs`` of each block.
            damping: γ, above 0; one for all blocks, or one for each.

        Returns:
            Whether it was done: False where a factor holds numbers that are not finite, and then nothing is changed.
        """
        sums = [f.sum() for pair in held(factors).values() for f in pair.values()]
        if not bool(torch.stack(sums).isfinite().all()):
            return False
        for name, block in self.blocks.items():
            gamma = damping if isinstance(damping, float) else damping[name]
            means = {
                side: _mean_diagonal(read(factors, name, side), getattr(block, side)) for side in held(factors)[name]
            }
            for side, shift in _shifts(means, gamma).items():
                one = partial(copied, factors, name, side)
                make = _inverse if getattr(block, side) == "full" else _reciprocal
                store(self.inverses, name, {side: make(one, shift)})  # without a name that outlives it
        return True

    def apply(self, name: str, matrix: Tensor) -> Tensor:
        """Return (G + γ/π I)⁻¹ W (A + πγ I)⁻¹ for one block's matrix W."""
        kept = self.inverses[name]
        return self.blocks[name].multiply(kept.get("inputs"), kept.get("outputs"), matrix)

    def precondition(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return (F̂ + damping)⁻¹ v: tensors by parameter name, of their shapes; of every parameter covered."""
        found: Tensors = {}
        for name, block in self.blocks.items():
            found.update(block.tensors(self.apply(name, block.matrix(tensors))))
        return {name: found[name] for name in tensors}


def _shifts(means: Mapping[str, Tensor], gamma: float) -> Tensors:
    """Return what is added to the diagonal of each factor, whose mean diagonal is given; one number a group."""
    if len(means) == 1:
        return {side: mean.mul(0.0).add(gamma * gamma) for side, mean in means.items()}
    of_inputs, of_outputs = means["inputs"], means["outputs"]
    tiny = torch.finfo(of_inputs.dtype).tiny
    ratio = (of_inputs / of_outputs.clamp(min=tiny)).sqrt()
    # A dead layer (a factor of zeros) has no ratio; its damping is shared evenly.
    pi = torch.where((of_inputs > tiny) & (of_outputs > tiny) & ratio.isfinite(), ratio, torch.ones_like(ratio))
    return {"inputs": pi * gamma, "outputs": gamma / pi}


def _mean_diagonal(factor: Tensor, kind: str) -> Tensor:
    return (factor.diagonal(dim1=-2, dim2=-1) if kind == "full" else factor).mean(-1)


def _reciprocal(factor: Callable[[], Tensor], shift: Tensor) -> Tensor:
    return factor().add_(shift.unsqueeze(-1)).reciprocal_()


def _inverse(factor: Callable[[], Tensor], shift: Tensor) -> Tensor:
    """Return (M + shift I)⁻¹ of a symmetric positive semi-definite matrix, or of a stack of them.

    Each call of the factor is a new M, let go once it has a root: beside M and the root there is no room for a third.
    """
    root, failed = _root(factor(), shift)
    if not bool(failed.any()):
        inverse = _of_root(root)
        if bool(inverse.sum().isfinite()):
            return inverse
    wide, kind = factor().double(), root.dtype
    scale = wide.diagonal(dim1=-2, dim2=-1).mean(-1).abs().clamp(min=1e-30)
    extra = torch.zeros_like(scale)
    for attempt in range(TRIES):
        root, failed = _root(wide.clone(), shift.double() + extra)
        inverse = _of_root(root)
        if not bool(failed.any()) and bool(inverse.to(kind).sum().isfinite()):
            break
        extra = scale * 10.0 ** (attempt - 8)
    return inverse.to(kind)


def _root(matrix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return Cholesky's root of M + shift I, and where it failed; M is changed."""
    matrix.diagonal(dim1=-2, dim2=-1).add_(shift.unsqueeze(-1))
    root, failed = torch.linalg.cholesky_ex(matrix)
    return root, failed


def _of_root(root: Tensor) -> Tensor:
    """Return the inverse, by rows as what is read from a file: products have the same bits."""
    return torch.cholesky_inverse(root).mT
