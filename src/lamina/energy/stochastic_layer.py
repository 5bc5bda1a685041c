"""A layer of units drawn independently given another layer: the step of every directed network."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from lamina.energy.units import Bernoulli, Units


class StochasticLayer(nn.Linear):
    """x | y ~ units with input θ = W y + b, each unit on its own.

        log p(x | y) = θ·x + log base(x) - A(θ);   for Bernoulli units P(x_i = 1 | y) = σ(W y + b)_i

    It is an ``nn.Linear`` that knows a distribution; called, it returns θ. Weights are drawn from ``generator``, biases
    are 0.

    Args:
        n_given: Units of y.
        n_units: Units of x.
        units: Type of x.
        std: Standard deviation of the weights at the start.
        generator: Their source; None is PyTorch's default generator.
    """

    def __init__(
        self,
        n_given: int,
        n_units: int,
        units: Units = Bernoulli(),  # noqa: B008  frozen
        *,
        std: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(n_given, n_units)
        self.units = units
        with torch.no_grad():
            self.weight.normal_(0.0, std, generator=generator)
            self.bias.zero_()

    def reset_parameters(self) -> None:
        """Draw nothing: the weights come from the generator that was given."""

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"{self.in_features}, {self.out_features}, units={self.units}"

    def mean(self, given: Tensor) -> Tensor:
        """Return the units' means, ``(..., n_units)``."""
        return self.units.mean(self(given))

    @torch.no_grad()
    def sample(self, given: Tensor, generator: Generator | None = None) -> Tensor:
        """Return units drawn, ``(..., n_units)``."""
        return self.units.sample(self(given), generator)

    def log_prob(self, x: Tensor, given: Tensor) -> Tensor:
        """Return log p(x | given) in nats, ``(...)``; leading axes broadcast."""
        theta: Tensor = self(given)
        return (theta * x).sum(-1) + self.units.log_base(x) - self.units.log_partition(theta)
