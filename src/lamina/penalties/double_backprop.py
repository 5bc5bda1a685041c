"""Double back-propagation: a small slope of the loss, or of the outputs, by the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties._input_gradient import pull_to_inputs, squared_jacobian
from lamina.penalties._passes import labelled, running_statistics_held
from lamina.penalties.base import Context, Penalty

FORMS = ("loss", "outputs")


@dataclass(frozen=True, slots=True)
class DoubleBackprop(Penalty):
    """Squared norm of the derivative of the loss, or of all outputs, by the inputs.

        loss:      R = 1/N Σ_n w_n ‖ ∂ℓ_n/∂x_n ‖²,  ℓ_n = -log p(t_n | f(x_n))
        outputs:   R = 1/N Σ_n Σ_k ‖ ∂f_k(x_n)/∂x_n ‖²        (squared Frobenius norm of the Jacobian)

    A second pass of back-propagation goes through the first one. For the outputs, ``draws`` = m > 0 estimates the sum
    without bias as the mean of ‖Jᵀ s‖² over m random sign vectors s, one backward pass each; ``draws`` = 0 makes one
    for each output. The outputs' form looks at no target and no weight: every row of the batch counts.

    Where the network is a chain that begins with an affine layer, the pass forward is shared with the loss's.
    Networks of rectified linear units have no second derivative by their inputs, and need none here. With batch
    normalisation in training mode an example's slope contains its share in the batch's statistics.

    Differs from the reference by the factor: no ½.

    Attributes:
        of: ``loss`` or ``outputs``.
        draws: Random directions of the outputs' form; 0 for the exact sum.
        generator: Source of the signs; None is PyTorch's default generator.

    Raises:
        ConfigError: If an argument is outside its range, or, for the loss, without likelihood and targets.

    Reference: Drucker & LeCun, "Improving Generalization Performance Using Double Backpropagation", IEEE Transactions
    on Neural Networks 3(6), 1992.
    """

    of: str = "loss"
    draws: int = 1
    generator: Generator | None = None

    def __post_init__(self) -> None:
        at_least(0, owner="DoubleBackprop", draws=self.draws)
        if self.of not in FORMS:
            raise ConfigError(f"of must be loss or outputs, got {self.of!r}", where="DoubleBackprop", mend="use loss")

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R.

        Returns:
            A scalar, at least 0.
        """
        with running_statistics_held(context.model):
            outputs, pull = pull_to_inputs(context)
            if self.of == "outputs":
                return squared_jacobian(outputs, pull, self.draws, self.generator).mean()
            likelihood, targets = labelled("DoubleBackprop", context)
            with torch.enable_grad():
                losses = -likelihood.log_prob(outputs, targets)
            squares = pull(losses, torch.ones_like(losses)).flatten(1).square().sum(1)
        return squares.mean() if context.weights is None else (context.weights * squares).mean()
