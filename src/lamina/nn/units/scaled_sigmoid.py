"""Logistic sigmoid with a slope."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.nn.units._checks import positive


class ScaledSigmoid(nn.Module):
    """Logistic sigmoid that rises α times as steeply.

        g(z) = 1 / (1 + e^(-αz)),   g' = α g (1 - g)

    With α = 1 it is ``torch.nn.Sigmoid`` (use that); as α grows it becomes the step unit, but for g(0) = 1/2. It does
    not overflow, whatever z.

    Args:
        slope: α, above 0.

    Raises:
        ConfigError: If the slope is not a finite number above 0.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 3.10.
    """

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        positive(owner="ScaledSigmoid", slope=slope)
        self.slope = slope

    def forward(self, z: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return g(z), element by element.

        Returns:
            Numbers from 0 to 1.
        """
        return torch.sigmoid(self.slope * z)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"slope={self.slope:g}"
