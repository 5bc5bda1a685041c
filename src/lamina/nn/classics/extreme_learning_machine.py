"""Extreme learning machine: hidden weights drawn and never learnt, output weights by regularised regression."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError, nearest
from lamina.nn._checks import at_least
from lamina.nn.activations import ACTIVATIONS
from lamina.nn.classics._checks import check_nonnegative
from lamina.nn.classics.elastic_net import elastic_net
from lamina.nn.classics.linear_regression import linear_regression


class RandomUnits(nn.Module):
    """Units whose weights are drawn and never learnt: h_i(x) = g(w_i · x + c_i).

    The weights are buffers, w_ij ~ N(0, s²/D) and c_i ~ N(0, s²), for inputs of about unit variance.

    Args:
        in_features: D, at least 1.
        units: K, at least 1.
        activation: g: one of ``ACTIVATIONS``.
        scale: s, standard deviation of a unit's sum for inputs of unit variance, from each of weights and bias.
        generator: Source of the weights; None is PyTorch's default generator.
        owner: Who asks, for messages.

    Raises:
        ConfigError: If a size is below 1, the scale is negative or the activation is unknown.

    Reference: Huang, Zhu & Siew, "Extreme Learning Machine: Theory and Applications", Neurocomputing 70, 2006.
    """

    def __init__(  # noqa: PLR0917
        self,
        in_features: int,
        units: int = 500,
        activation: str = "sigmoid",
        scale: float = 1.0,
        generator: Generator | None = None,
        owner: str = "RandomUnits",
    ) -> None:
        super().__init__()
        at_least(1, owner=owner, in_features=in_features, units=units)
        check_nonnegative(owner, scale=scale)
        if activation not in ACTIVATIONS:
            raise ConfigError(
                f'unknown activation "{activation}"{nearest(activation, list(ACTIVATIONS))}',
                where=owner,
                mend=f"choose one of {', '.join(ACTIVATIONS)}",
            )
        self.weight: Tensor
        self.bias: Tensor
        weight = torch.empty(units, in_features).normal_(0.0, scale / math.sqrt(in_features), generator=generator)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.empty(units).normal_(0.0, scale, generator=generator))
        self.activation = ACTIVATIONS[activation][0]()

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """Return h(x)."""
        h: Tensor = self.activation(nn.functional.linear(x, self.weight, self.bias))
        return h


class ExtremeLearningMachine(nn.Module):
    """A hidden layer of random units h_i(x) = g(w_i · x + c_i), combined linearly: ẑ(x) = Σ_i v_i h_i(x).

    The hidden layer is ``RandomUnits``. Only v is learnt, in closed form by ``solve``; there is no output bias, as in
    the source.

    Args:
        in_features: D, at least 1.
        out_features: Number of outputs, at least 1.
        hidden: K, number of random units, at least 1; reasonably large.
        activation: g: one of ``ACTIVATIONS``.
        scale: s, standard deviation of a unit's sum for inputs of unit variance, from each of weights and bias.
        generator: Source of the hidden weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1, the scale is negative or the activation is unknown.

    Reference: Huang, Zhu & Siew, "Extreme Learning Machine: Theory and Applications", Neurocomputing 70, 2006.
    """

    def __init__(  # noqa: PLR0917
        self,
        in_features: int,
        out_features: int = 1,
        hidden: int = 500,
        activation: str = "sigmoid",
        scale: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        owner = "ExtremeLearningMachine"
        at_least(1, owner=owner, in_features=in_features, out_features=out_features, hidden=hidden)
        self.hidden = RandomUnits(in_features, hidden, activation, scale, generator, owner)
        self.output = nn.Linear(hidden, out_features, bias=False)
        nn.init.zeros_(self.output.weight)

    def features(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """Return the random units h(x)."""
        units: Tensor = self.hidden(x)
        return units

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch T"]:
        """Return ẑ(x)."""
        combined: Tensor = self.output(self.features(x))
        return combined

    @torch.no_grad()
    def solve(
        self, x: Float[Tensor, "N D"], target: Float[Tensor, "N ..."], *, decay: float = 1.0, l1_ratio: float = 0.0
    ) -> ExtremeLearningMachine:
        """Set the output weights to the minimum of ½ Σ_n ‖t_n - ẑ(x_n)‖² + λ (ρ ‖v‖₁ + (1 - ρ)/2 ‖v‖²).

        Args:
            x: Inputs.
            target: (N,) or (N, T).
            decay: λ, at least 0 (above 0 with ``l1_ratio``). At 0, the least-squares solution of smallest norm.
            l1_ratio: ρ, in [0, 1]: 0 is regularised least squares, 1 the LASSO, between them the elastic net.

        Returns:
            The module itself, solved in float64 and stored in its own type.

        Raises:
            ConfigError: If the target has another number of columns than there are outputs.
        """
        units = self.features(x)
        if l1_ratio == 0.0:
            solved = linear_regression(units.double(), target, decay=decay, bias=False)
        else:
            solved = elastic_net(units.double(), target, decay=decay, l1_ratio=l1_ratio, bias=False)
        if solved.weight.shape != self.output.weight.shape:
            raise ConfigError(
                f"target has {solved.out_features} columns for {self.output.out_features} outputs",
                where="ExtremeLearningMachine.solve",
                mend="give out_features columns",
            )
        self.output.weight.copy_(solved.weight)
        return self
