"""Elastic net: L1 and L2 mixed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError
from lamina.penalties.base import Context, Penalty
from lamina.penalties.weights import weights_of


@dataclass(frozen=True, slots=True)
class ElasticNet(Penalty):
    """ρ Σ |w| + (1 - ρ) ½ Σ w² over the weights that ``parameters`` names; biases and scales are left out.

    ρ = 1 is ``L1()``, ρ = 0 is ``L2()``. Of weights that do the same work L1 keeps one; the square shares it out.
    ``alpha * ElasticNet(rho)`` beside ``Gaussian(scale=1)`` is scikit-learn's ``ElasticNet(alpha, l1_ratio=rho)``.
    Exact zeros need ``lamina.training.ProximalStep(alpha * rho, l2=alpha * (1 - rho))`` in place of the penalty.

    Attributes:
        l1_ratio: ρ in [0, 1].
        parameters: Pattern of names, shell style; ``"*"`` is all weights.

    Raises:
        ConfigError: If ρ is outside [0, 1]; when called, if the pattern fits no weight.

    Reference: Zou & Hastie, "Regularization and variable selection via the elastic net", JRSS B 67(2), 2005, eq. 3
    (there without the ½).
    """

    l1_ratio: float = 0.5
    parameters: str = "*"

    def __post_init__(self) -> None:
        if not 0.0 <= self.l1_ratio <= 1.0:
            raise ConfigError(
                f"l1_ratio must lie between 0 and 1, got {self.l1_ratio!r}", where="ElasticNet", mend="use 0.5"
            )

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the mixed sum.

        Returns:
            A scalar; zero for a model without weights.
        """
        rho = self.l1_ratio
        weights = weights_of(context.model, self.parameters, owner="ElasticNet")
        sums = [rho * p.abs().sum() + 0.5 * (1.0 - rho) * p.square().sum() for p in weights]
        return torch.stack(sums).sum() if sums else context.outputs.new_zeros(())
