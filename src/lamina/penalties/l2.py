"""L2 penalty (weight decay): the Gaussian prior on the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError
from lamina.penalties.base import Context, Penalty
from lamina.penalties.weights import weights_of

_SLOPES = {"half": 1.0, "shrink": 1.0, "prior": 1.0, "whole": 2.0}


@dataclass(frozen=True, slots=True)
class L2(Penalty):
    """½ Σ w², summed over every parameter of two or more axes; biases and scales are left out.

    With coefficient ν, ``ν * L2()`` is the negative log density of w ~ N(0, I/ν) up to a constant, and a gradient step
    of rate η shrinks each weight by the factor 1 - ην. Texts scale the term in different ways; ``scaling`` says which:

        "half"    ν · ½ Σ w²     w ← (1 - ην) w
        "shrink"  γ · ½ Σ w²     w ← (1 - ηγ) w    the text prints γ Σ w² beside this update, which it is not
        "prior"   α/2 · wᵀw      w ← (1 - ηα) w    α is the precision of the Gaussian prior
        "whole"   λ · ‖w‖²       w ← (1 - 2ηλ) w

    so that ``λ * L2("whole")`` is ``2λ * L2()``, and the first three are one. On a quadratic with curvatures h_i the
    minimum moves from w*_i to w*_i h_i / (h_i + c), c = ν = γ = α = 2λ.

    Beside a mean over N examples, as lamina's objectives are, c is N times smaller than beside a sum: scikit-learn's
    ``Ridge(alpha)``, which minimises Σ (y - ŷ)² + alpha ‖w‖², is ``Gaussian(scale=1)`` with c = alpha / N.

    A first guess of the textbooks is c between 0.001 σ² and 0.1 σ² beside half the mean squared error, σ² the variance
    of the noise in the targets. A likelihood has divided by σ² already: beside ``Gaussian``, c between 0.001 and 0.1.

    Attributes:
        scaling: Which of the four.

    Raises:
        ConfigError: If the scaling is unknown.

    Reference: Goodfellow et al., Deep Learning, 2016, eqs. 7.2 to 7.13.
    """

    scaling: str = "half"

    def __post_init__(self) -> None:
        if self.scaling not in _SLOPES:
            raise ConfigError(
                f"scaling must be one of {', '.join(_SLOPES)}, got {self.scaling!r}", where="L2", mend='use "half"'
            )

    @property
    def slope(self) -> float:
        """What a weight is multiplied by in the gradient, the c of coefficient 1: 2 for "whole", else 1."""
        return _SLOPES[self.scaling]

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the squared norm of the weights, times ½ unless ``scaling`` is "whole".

        Returns:
            A scalar; zero for a model without weights.
        """
        squares = [p.square().sum() for p in weights_of(context.model)]
        return 0.5 * self.slope * torch.stack(squares).sum() if squares else context.outputs.new_zeros(())
