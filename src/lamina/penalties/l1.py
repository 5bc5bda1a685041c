"""L1 penalty: the Laplace prior on the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.penalties.base import Context, Penalty
from lamina.penalties.weights import weights_of


@dataclass(frozen=True, slots=True)
class L1(Penalty):
    """Σ |w| over the weights that ``parameters`` names; biases and scales are left out.

        subgradient: sign(w), 0 at w = 0

    With coefficient α it is the negative log density of independent Laplace(0, 1/α) weights up to a constant. On a
    quadratic with diagonal Hessian H the minimum is the soft threshold sign(w*) max(|w*| - α/H_ii, 0).

    Gradient steps only come near zero and cross it. For weights that are exactly zero leave the term out of the
    objective and apply its proximal operator after each update: ``lamina.training.ProximalStep``.

    Attributes:
        parameters: Pattern of names, shell style: ``"linear1"``, ``"*.weight"``; ``"*"`` is all weights.

    Raises:
        ConfigError: When called, if the pattern fits no weight.

    Reference: Goodfellow et al., Deep Learning, 2016, eqs. 7.18 to 7.23.
    """

    parameters: str = "*"

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the sum of the absolute weights.

        Returns:
            A scalar; zero for a model without weights.
        """
        sums = [p.abs().sum() for p in weights_of(context.model, self.parameters, owner="L1")]
        return torch.stack(sums).sum() if sums else context.outputs.new_zeros(())
