"""Pixels to standardised numbers: the first layer of a network that reads pictures."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


class PixelScaling(nn.Module):
    """Standardise each channel of pictures with values from 0 to 255.

        y_c = (x_c / 255 - mean_c) / std_c

    The statistics are buffers: they travel with the weights, so a network takes pictures as they are stored, on any
    device, one byte a pixel.

    Args:
        mean: Mean of each channel of the training part, in units of full brightness (0 to 1).
        std: Standard deviation of each channel, above 0, same units.

    Reference: LeCun et al., "Efficient BackProp", 1998, section 4.3.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        m, s = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1.0 / (255.0 * s)).float().reshape(-1, 1, 1))
        self.register_buffer("shift", (-m / s).float().reshape(-1, 1, 1))

    def forward(self, x: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Return the standardised pictures, in the type of the statistics."""
        return torch.addcmul(self.shift, x.to(self.scale.dtype), self.scale)
