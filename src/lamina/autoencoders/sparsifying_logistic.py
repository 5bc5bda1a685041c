"""The sparsifying logistic: a unit that is rarely on over the examples, whatever its input's level."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError


class SparsifyingLogistic(nn.Module):
    """z̄_n = η e^{β z_n} / ζ_n,   ζ_n = η e^{β z_n} + (1 - η) ζ_{n-1}: a soft maximum of a unit over the examples.

    The weighted sum ζ, one a unit, runs over all the examples seen, of which the last 1/η count. So the unit is a
    logistic function with a threshold of its own that follows its input:

        z̄ = σ(β z - log ζ_{n-1} - log((1 - η) / η))

    η is about the mean of z̄: 0.02 makes a code in which one unit of fifty is on. β is the gain: a large one makes z̄
    nearly 0 or 1.

    Called, it uses ζ as it stands, in training too; ``follow`` moves it on. For batches the move is that of the
    examples one after the other; but all the codes of a batch see the ζ from before it, where the reference has
    batches of one.

    Args:
        units: Units of the code.
        eta: η, in (0, 1).
        beta: β, above 0.

    Raises:
        ConfigError: If an argument is out of range.

    Reference: Ranzato, Poultney, Chopra & LeCun, "Efficient Learning of Sparse Representations with an Energy-Based
    Model", NIPS 2006, eqs. 5 and 6.
    """

    def __init__(self, units: int, eta: float = 0.02, beta: float = 1.0) -> None:
        super().__init__()
        if units < 1 or not 0.0 < eta < 1.0 or not (math.isfinite(beta) and beta > 0.0):
            raise ConfigError(
                f"units must be at least 1, eta in (0, 1) and beta above 0, got {units}, {eta} and {beta}",
                where="SparsifyingLogistic",
                mend="use eta=0.02 and beta=1",
            )
        self.eta, self.beta = eta, beta
        self.log_zeta: Tensor
        self.register_buffer("log_zeta", torch.zeros(units))  # what inputs of 0 lead to

    def forward(self, z: Float[Tensor, "N units"]) -> Float[Tensor, "N units"]:
        """Return z̄, between 0 and 1."""
        return torch.sigmoid(self.beta * z - self.log_zeta - math.log((1.0 - self.eta) / self.eta))

    @torch.no_grad()
    def follow(self, z: Float[Tensor, "N units"]) -> None:
        """Move ζ on over the examples of a batch, in their order."""
        fade = math.log1p(-self.eta)
        ages = torch.arange(len(z) - 1, -1, -1, dtype=z.dtype, device=z.device)
        terms = torch.cat(
            [(self.log_zeta + len(z) * fade)[None], self.beta * z + (math.log(self.eta) + ages * fade)[:, None]]
        )
        self.log_zeta.copy_(terms.logsumexp(0))

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"{len(self.log_zeta)}, eta={self.eta}, beta={self.beta}"
