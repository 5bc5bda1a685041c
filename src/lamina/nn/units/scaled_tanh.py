"""Scaled hyperbolic tangent."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.nn.units._checks import positive


class ScaledTanh(nn.Module):
    """Hyperbolic tangent with an amplitude and a slope.

        g(z) = a tanh(αz),   g' = a α (1 - tanh²(αz)) = α (a - g² / a)

    The default a = 1.716, α = 2/3 takes ±1 to ±1.00006, so that targets of ±1 lie where the curvature is greatest and
    not on the asymptotes, and the slope between them is about 1. With a = α = 1 it is ``torch.nn.Tanh`` (use that).

    Args:
        scale: a, the largest value, above 0.
        slope: α, above 0.

    Raises:
        ConfigError: If one of them is not a finite number above 0.

    Reference: LeCun, Bottou, Orr & Müller, "Efficient BackProp", 1998, section 4.4 (there 1.7159).
    """

    def __init__(self, scale: float = 1.716, slope: float = 2 / 3) -> None:
        super().__init__()
        positive(owner="ScaledTanh", scale=scale, slope=slope)
        self.scale, self.slope = scale, slope

    def forward(self, z: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return g(z), element by element.

        Returns:
            Numbers from -a to a.
        """
        return self.scale * torch.tanh(self.slope * z)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"scale={self.scale:g}, slope={self.slope:g}"
