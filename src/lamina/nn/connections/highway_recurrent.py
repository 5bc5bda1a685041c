"""Recurrent layer with a highway connection."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import linear

from lamina.initialisers import Fans, Weight
from lamina.nn._checks import at_least


class HighwayRecurrent(nn.Module):
    """A recurrent layer whose output is gated against the layer's input.

        i_t = σ(W₁ᶠ x_t + W₁ʳ h_{t-1} + b₁)
        h_t = i_t ⊙ f(Wᶠ x_t + Wʳ h_{t-1} + b) + (1 - i_t) ⊙ x_t

    What is carried is the **input of the layer** x_t and not, as in a gated recurrent unit, the history h_{t-1}: the
    highway runs through the depth of the network, not through time. So i → 0 hands x_t on, i → 1 is the plain
    recurrent layer, and the layer has as many units as inputs.

    Weights are stacked, gate first: ``weight_input`` and ``weight_recurrent`` (2D, D), ``bias`` (2D). They start by
    Glorot's rule for each D × D block, a pure function of the generator; b = 0 and b₁ is **negative** (-2: i = 0.12),
    so that a deep chain starts as one that mostly carries.

    Args:
        features: D, size of x_t and of h_t, at least 1.
        unit: f, an elementwise module; None is tanh.
        gate_bias: b₁ at the start.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If features is below 1.

    Reference: Srivastava, Greff & Schmidhuber, "Highway Networks", arXiv:1505.00387, 2015, for the connection; its
    recurrent form as taught in Gales, "Deep Learning and Structured Data" (4F10).
    """

    def __init__(
        self,
        features: int,
        unit: nn.Module | None = None,
        *,
        gate_bias: float = -2.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        at_least(1, owner="HighwayRecurrent", features=features)
        self.features = features
        self.unit = nn.Tanh() if unit is None else unit
        bound = math.sqrt(6.0 / (2 * features))
        self.weight_input = nn.Parameter(torch.empty(2 * features, features))
        self.weight_recurrent = nn.Parameter(torch.empty(2 * features, features))
        self.bias = nn.Parameter(torch.zeros(2 * features))
        with torch.no_grad():
            self.weight_input.uniform_(-bound, bound, generator=generator)
            self.weight_recurrent.uniform_(-bound, bound, generator=generator)
            self.bias[:features] = gate_bias

    def starting_weights(self) -> list[Weight]:
        """Return how ``lamina.initialisers.initialise`` draws the four D × D blocks, each for itself."""
        fans = Fans(self.features, self.features)
        return [Weight("weight_input", fans, gates=2), Weight("weight_recurrent", fans, gates=2)]

    def starting_biases(self) -> list[Tensor]:
        """Return b alone: how much the layer carries, b₁, is a choice of its own."""
        return [self.bias[self.features :]]

    def forward(
        self, x: Float[Tensor, "N T D"], state: Float[Tensor, "N D"] | None = None
    ) -> tuple[Float[Tensor, "N T D"], Float[Tensor, "N D"]]:
        """Return the outputs h_1 … h_T and the last of them.

        Args:
            x: The sequences, batch first.
            state: h_0; None is zero.

        Returns:
            All h_t, and h_T as (N, D) to go on from (``torch.nn.GRU`` returns (layers, N, D)).
        """
        h = x.new_zeros(x.shape[0], self.features) if state is None else state
        fed = linear(x, self.weight_input, self.bias)  # one product for all steps
        outputs = []
        for x_t, fed_t in zip(x.unbind(1), fed.unbind(1), strict=True):
            gate, value = torch.addmm(fed_t, h, self.weight_recurrent.t()).chunk(2, dim=1)
            h = torch.lerp(x_t, self.unit(value), torch.sigmoid(gate))
            outputs.append(h)
        return (torch.stack(outputs, dim=1) if outputs else x.clone()), h

    def extra_repr(self) -> str:
        """Return the size."""
        return f"{self.features}"
