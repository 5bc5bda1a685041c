"""Highway layer."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.connections.gate import Gate
from lamina.nn.linear import linear


class Highway(nn.Module):
    """Let a gate choose, element by element, between a layer's output and its input.

        y = g ⊙ T(x) + (1 - g) ⊙ x,   g = σ(W x + b)

    g → 0 carries x through unchanged, g → 1 is the plain layer T. The bias b of the gate is **negative at the start**
    (-2: g = 0.12), so that a deep chain starts as one that mostly carries, and a gradient reaches its first layers.

    Args:
        features: Size of the last axis of x and of T(x), at least 1.
        transform: T, a module that keeps the shape; None is an affine map (He's rule) and a ReLU.
        gate_bias: b at the start.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If features is below 1; in the forward pass, if T changes the shape.

    Reference: Srivastava, Greff & Schmidhuber, "Highway Networks", arXiv:1505.00387, 2015, eq. 3 (C = 1 - T; their
    transform gate T is g here, their H is T) and section 2.2 (the negative bias, there -1 to -4).
    """

    def __init__(
        self,
        features: int,
        transform: nn.Module | None = None,
        *,
        gate_bias: float = -2.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.gate = Gate(features, features, bias=gate_bias, generator=generator)
        if transform is None:
            transform = nn.Sequential(linear(features, features, "he", generator), nn.ReLU())
        self.transform = transform

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Return g ⊙ T(x) + (1 - g) ⊙ x.

        Raises:
            ConfigError: If T changes the shape.
        """
        transformed: Tensor = self.transform(x)
        if transformed.shape != x.shape:
            raise ConfigError(
                f"the transform gives {tuple(transformed.shape)} for an input of {tuple(x.shape)}",
                where="Highway",
                mend="give a transform that keeps the shape",
            )
        return torch.lerp(x, transformed, self.gate(x))  # one kernel; exact at g = 0 and g = 1
