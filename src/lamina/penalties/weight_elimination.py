"""Weight elimination: a penalty that counts the weights that are large."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError
from lamina.penalties.base import Context, Penalty
from lamina.penalties.weights import weights_of


@dataclass(frozen=True, slots=True)
class WeightElimination(Penalty):
    """Σ (w/w₀)² / (1 + (w/w₀)²) over the weights that ``parameters`` names; biases and scales are left out.

        derivative: (2 w / w₀²) / (1 + (w/w₀)²)²

    Far below the scale w₀ it is weight decay, Σ (w/w₀)²; far above it adds 1 a weight and hardly pulls: small weights
    are driven to zero, large ones are left alone, and as w₀ → 0 the value is the number of weights that are not zero.

    Attributes:
        w0: The scale w₀ > 0 that separates small from large.
        parameters: Pattern of names, shell style; ``"*"`` is all weights.

    Raises:
        ConfigError: If w₀ is not above 0; when called, if the pattern fits no weight.

    Reference: Weigend, Rumelhart & Huberman, "Generalization by Weight-Elimination with Application to Forecasting",
    NIPS 1990, eq. 2.
    """

    w0: float = 1.0
    parameters: str = "*"

    def __post_init__(self) -> None:
        if not self.w0 > 0.0:
            raise ConfigError(f"w0 must be above 0, got {self.w0!r}", where="WeightElimination", mend="use 1.0")

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the soft count of large weights.

        Returns:
            A scalar between 0 and the number of weights.
        """
        sums = []
        for p in weights_of(context.model, self.parameters, owner="WeightElimination"):
            squares = (p / self.w0).square()
            sums.append((squares / (1.0 + squares)).sum())
        return torch.stack(sums).sum() if sums else context.outputs.new_zeros(())
