"""L2 penalty (weight decay): the Gaussian prior on the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.penalties.base import Context, Penalty


@dataclass(frozen=True, slots=True)
class L2(Penalty):
    """½ Σ w², summed over every parameter of two or more axes; biases and scales are left out.

    With coefficient ν, ``ν * L2()`` is the negative log density of w ~ N(0, I/ν) up to a constant, and a gradient step
    of rate η shrinks each weight by the factor 1 - ην.  Reference: Goodfellow et al., Deep Learning, 2016, eq. 7.2.
    """

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return half the squared norm of the weights.

        Returns:
            A scalar; zero for a model without weights.
        """
        squares = [p.square().sum() for p in context.model.parameters() if p.ndim >= 2]
        return 0.5 * torch.stack(squares).sum() if squares else context.outputs.new_zeros(())
