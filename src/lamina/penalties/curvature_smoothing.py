"""Curvature-driven smoothing: outputs that bend little along the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties._jets import second_on_values, second_order
from lamina.penalties._passes import running_statistics_held, signs
from lamina.penalties._recorded import recorded_values
from lamina.penalties.base import Context, Penalty

ALONG = ("axes", "signs")


@dataclass(frozen=True, slots=True)
class CurvatureSmoothing(Penalty):
    """Squared second derivatives of the outputs along single inputs, summed over inputs and outputs.

        R = 1/N Σ_n Σ_i Σ_j ( ∂²f_i(x_n) / ∂x_j² )²

    The square is missing in the course's print, where the sum has no lower bound. Each term comes from value, first and
    second derivative of f along one direction v, carried forwards through the network together: vᵀ H_i v for all
    outputs i at once, H_i the Hessian of f_i by the inputs, which is never formed. By ``along`` and ``draws`` = m:

        axes, m = 0:  v = each axis in turn; R itself, at a cost that grows with the number D of inputs
        axes, m > 0:  v = e_j with j drawn uniformly for each example, times D:
                      E[ D (vᵀ H_i v)² ] = Σ_j (∂²f_i/∂x_j²)², so that the mean of m draws has the expectation R
        signs, m > 0: v of random signs: E[ (vᵀ H_i v)² ] = (tr H_i)² + 2 Σ_{j≠l} (H_i)_jl², another penalty than R:
                      it also holds the mixed derivatives, and equals R only where D = 1

    Both random forms cost the same at any D, and neither can be negative. (The product of two sign estimates of the
    diagonal, Σ_j v_j (Hv)_j v'_j (Hv')_j, has the expectation R too, but the mixed derivatives give it a relative
    spread of √D, and it can be negative.) Rectified linear units bend nowhere: R = 0 for a network of them.
    No target is looked at: every row of the batch counts.

    Where the network is a chain of ``torch.nn.Linear`` with ``Tanh`` or ``Sigmoid`` between them, what its units give
    is taken from the loss's own pass, and only the derivatives are carried through the network again; loss and penalty
    then share a graph, to be differentiated in one go. Any other network is passed through once more for the values.

    Attributes:
        along: ``axes`` or ``signs``.
        draws: Directions an example; 0 for every axis.
        generator: Source of the directions; None is PyTorch's default generator.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Bishop, "Curvature-Driven Smoothing: A Learning Algorithm for Feedforward Networks", IEEE Transactions
    on Neural Networks 4(5), 1993, eq. 3 (there with ½).
    """

    along: str = "axes"
    draws: int = 1
    generator: Generator | None = None

    def __post_init__(self) -> None:
        at_least(0, owner="CurvatureSmoothing", draws=self.draws)
        if self.along not in ALONG:
            raise ConfigError(
                f"along must be axes or signs, got {self.along!r}", where="CurvatureSmoothing", mend="use axes"
            )
        if self.along == "signs" and self.draws == 0:
            raise ConfigError("signs need draws of at least 1", where="CurvatureSmoothing", mend="use draws=1")

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R, or its estimate.

        Returns:
            A scalar, at least 0.
        """
        network, x = context.smooth()
        n, size = len(x), x[0].numel()
        total = x.new_zeros(())
        values = recorded_values(network, context.outputs)
        with running_statistics_held(network):
            for number in range(self.draws or size):
                direction = self._direction(x, number)
                if values is None:
                    _, _, bent = second_order(network, x, direction)
                else:
                    bent = second_on_values(network, values, direction)
                total = total + bent.square().sum()
        factor = size / self.draws if self.along == "axes" and self.draws else 1.0 / max(1, self.draws)
        return total * (factor / n)

    def _direction(self, x: Tensor, number: int) -> Tensor:
        if self.along == "signs":
            return signs(tuple(x.shape), x, self.generator)
        n, size = len(x), x[0].numel()
        if self.draws:
            axes = torch.randint(size, (n, 1), generator=self.generator, device=x.device)
        else:
            axes = torch.full((n, 1), number, device=x.device)
        return x.new_zeros((n, size)).scatter_(1, axes, 1.0).reshape(x.shape)
