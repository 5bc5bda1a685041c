"""Noisy rectified linear unit."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid, relu

from lamina.nn.units._checks import positive


class NoisyReLU(nn.Module):
    """Rectify after adding Gaussian noise, while training.

        g(z) = max(0, z + ε),   ε ~ N(0, σ²) while training;   g(z) = max(0, z) in evaluation

    The noise is new for every element and call. Its mean value is that of a rectified Gaussian,
    E g = z Φ(z/σ) + σ φ(z/σ), which is above max(0, z): evaluation drops the noise and does not average over it.

    With ``std=None`` the variance is σ² = 1 / (1 + e^-z), unit by unit, as in the paper, where the unit stands for
    infinitely many binary ones with shifted biases; the gradient then passes through σ too.

    Args:
        std: σ, a standard deviation, above 0; None for the paper's.
        generator: Source of the noise, on the device of the input; None is PyTorch's default generator.

    Raises:
        ConfigError: If σ is not a finite number above 0.

    Reference: Nair & Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010, section 2.
    """

    def __init__(self, std: float | None = 1.0, generator: Generator | None = None) -> None:
        super().__init__()
        if std is not None:
            positive(owner="NoisyReLU", std=std)
        self.std, self.generator = std, generator

    def forward(self, z: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return g(z), element by element.

        Returns:
            Numbers of at least 0.
        """
        if not self.training:
            return relu(z)
        noise = torch.randn(z.shape, generator=self.generator, dtype=z.dtype, device=z.device)
        if self.std is not None:
            return relu(torch.add(z, noise, alpha=self.std))
        # The root by way of the logarithm: its derivative stays finite where the sigmoid is 0 to the last bit.
        return relu(z + torch.exp(0.5 * logsigmoid(z)) * noise)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return "std=None" if self.std is None else f"std={self.std:g}"
