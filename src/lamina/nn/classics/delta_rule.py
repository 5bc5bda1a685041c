"""Single-layer perceptron with squared error, and the delta rule (Widrow and Hoff's LMS where the unit is linear)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.classics._checks import check_examples, check_nonnegative
from lamina.nn.linear import linear


class SingleLayerPerceptron(nn.Module):
    """One layer of units y = g(W x + b), held to its targets by squared error.

        E = ½ Σ_n ‖y_n - t_n‖²
        sigmoid:   ∂E/∂w_ki = Σ_n (y_nk - t_nk) y_nk (1 - y_nk) x_ni
        identity:  ∂E/∂w_ki = Σ_n (y_nk - t_nk) x_ni            (the linear unit, "Adaline")

    and for the biases the same with x_ni = 1.

    Args:
        in_features: D, size of the input, at least 1.
        out_features: K, number of units, at least 1.
        activation: g.
        generator: Source of the starting weights (Glorot's rule); None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1 or the activation is unknown.

    References: Widrow & Hoff, "Adaptive Switching Circuits", IRE WESCON, 1960; Rumelhart, Hinton & Williams, Nature
    323, 1986.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        activation: Literal["sigmoid", "identity"] = "sigmoid",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if activation not in {"sigmoid", "identity"}:
            raise ConfigError(
                f'activation must be "sigmoid" or "identity", got {activation!r}',
                where="SingleLayerPerceptron",
                mend='use "sigmoid"',
            )
        self.affine = linear(in_features, out_features, "glorot", generator)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """Return g(W x + b)."""
        z: Tensor = self.affine(x)
        return torch.sigmoid(z) if self.activation == "sigmoid" else z

    def gradients(
        self, x: Float[Tensor, "N D"], target: Float[Tensor, "N K"]
    ) -> tuple[Float[Tensor, "K D"], Float[Tensor, " K"]]:
        """Return ∂E/∂W and ∂E/∂b, summed over the examples, by the formula above."""
        y = self(x)
        error = y - target
        if self.activation == "sigmoid":
            error = error * y * (1 - y)
        return error.mT @ x, error.sum(0)


@torch.no_grad()
def delta_rule(
    unit: SingleLayerPerceptron,
    x: Float[Tensor, "N D"],
    target: Float[Tensor, "N K"],
    *,
    rate: float,
    epochs: int = 1,
    batch_size: int = 1,
    shuffle: bool = True,
    generator: Generator | None = None,
) -> Float[Tensor, " epochs"]:
    """Teach a single-layer perceptron in place: a step down the squared error of a few examples at a time.

        W ← W - η/B Σ_{n in batch} (y_n - t_n) g'(z_n) x_nᵀ      B = 1, g linear: Widrow and Hoff's LMS

    A linear unit settles for rates below 2 / (greatest eigenvalue of the mean of x xᵀ), x with a 1 for the bias; with
    whole batches it goes to the solution of ``linear_regression``, one example at a time to its neighbourhood.

    Args:
        unit: The layer; its weights are changed.
        x: Examples.
        target: Wanted outputs; a sigmoid never quite reaches 0 or 1.
        rate: η, above 0.
        epochs: Passes over the examples, at least 1.
        batch_size: B, examples a step, at least 1; N is gradient descent on the mean.
        shuffle: Whether each pass has its own order.
        generator: Source of the orders; None is PyTorch's default generator.

    Returns:
        The mean over examples of ½ ‖y - t‖² after each pass.
    """
    at_least(1, owner="delta_rule", epochs=epochs, batch_size=batch_size)
    check_nonnegative("delta_rule", rate=rate)
    check_examples("delta_rule", x, target)
    errors = x.new_empty(epochs)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator).to(x.device) if shuffle else None
        rows, wanted = (x, target) if order is None else (x[order], target[order])
        for some, few in zip(torch.split(rows, batch_size), torch.split(wanted, batch_size), strict=True):
            by_weight, by_bias = unit.gradients(some, few)
            unit.affine.weight.sub_(by_weight, alpha=rate / len(some))
            unit.affine.bias.sub_(by_bias, alpha=rate / len(some))
        errors[epoch] = 0.5 * (unit(x) - target).square().sum(1).mean()
    return errors
