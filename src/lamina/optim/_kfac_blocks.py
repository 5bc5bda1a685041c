"""The blocks of K-FAC as an optimiser sees them: their groups' numbers, their last steps, their slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lamina.curvature.kronecker.factors import KroneckerFactors
from lamina.optim._kfac_gradient import Gradients, multiplied, thin


class OptimisedBlocks:
    """Factors together with the groups and the state of the optimiser that uses them.

    Args:
        optimizer: Its groups and its state are read and written.
        factors: Of the same parameters.
    """

    def __init__(self, optimizer: Optimizer, factors: KroneckerFactors) -> None:
        self.optimizer, self.factors = optimizer, factors

    def option(self, name: str) -> dict[str, float]:
        """Return a group's number for each of its parameters, by their names."""
        by_id = {id(p): float(group[name]) for group in self.optimizer.param_groups for p in group["params"]}
        return {own: by_id[id(p)] for own, p in self.factors.parameters.items()}

    def tensors(self, matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return matrices of blocks as tensors by parameter name: views."""
        found: dict[str, Tensor] = {}
        for name, matrix in matrices.items():
            found.update(self.factors.blocks[name].tensors(matrix))
        return found

    def speed(self, name: str) -> Tensor:
        """Return what a block keeps of its last steps, as a matrix like its W, in the state of its first parameter."""
        state: dict[str, Any] = self.optimizer.state[self.factors.parameters[name]]
        if "momentum_buffer" not in state:
            block = self.factors.blocks[name]
            whole = block.matrix({own: self.factors.parameters[own].detach() for own in block.names})
            state["momentum_buffer"] = torch.zeros_like(whole, memory_format=torch.contiguous_format)
        found: Tensor = state["momentum_buffer"]
        return found

    def gradients(self, found: Gradients, *, every: bool) -> dict[str, Tensor]:
        """Return the gradients of L + ½ Σ η θ² as matrices.

        Args:
            found: Of L.
            every: Whether to multiply out the gradients that would be cheaper left as rows.

        Returns:
            By block; those left as rows are missing.
        """
        decay, matrices = self.option("weight_decay"), dict(found.matrices)
        for name, rows in found.rows.items():
            block = self.factors.blocks[name]
            if every or any(decay[own] for own in block.names) or not thin(block, rows):
                matrices[name] = multiplied(block, rows)
        for own, view in self.tensors(matrices).items():
            if decay[own]:
                view.add_(self.factors.parameters[own].detach(), alpha=decay[own])
        return matrices

    def slopes(self, matrices: Mapping[str, Tensor], direction: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ∇hᵀ d of each parameter that the direction names."""
        views = self.tensors(matrices)
        return {own: float((views[own] * d).sum()) for own, d in direction.items() if own in views}


def finite(tensors: Sequence[Tensor]) -> bool:
    """Return whether all numbers are finite, by their sums."""
    return not tensors or bool(torch.stack([t.sum() for t in tensors]).isfinite().all())
