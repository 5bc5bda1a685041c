"""Radial basis function units."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.nn._checks import at_least
from lamina.nn.units._checks import positive


class RBF(nn.Module):
    """Gaussian bumps: a unit is active near its centre.

        h_i = exp(-‖W_i - x‖² / σ_i²)

    It is 1 at the centre and 0 almost everywhere, so that it learns slowly far from the data: put centres on examples
    (``layer.weight.copy_(x[rows])`` under ``torch.no_grad()``). Without that they start as N(0, 1), which suits
    standardised inputs. W and log σ are learnt; σ is a length in the units of x (no factor 2 beside it).

    The distances come from one matrix product, ‖W‖² - 2 W·x + ‖x‖², all measured from the mean of the centres m, so
    that memory is N H and not N H D. The exponent's error is a few units in the last place of
    (‖W_i - m‖² + ‖x - m‖²) / σ_i².

    Args:
        in_features: Size of the last axis of the input, at least 1.
        out_features: Number of units, at least 1.
        sigma: Starting σ of every unit, above 0.
        generator: Source of the centres; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1 or σ is not above 0.

    References: Broomhead & Lowe, Complex Systems 2, 1988; Goodfellow, Bengio & Courville, "Deep Learning", 2016,
    section 6.3.3.
    """

    def __init__(
        self, in_features: int, out_features: int, sigma: float = 1.0, *, generator: Generator | None = None
    ) -> None:
        super().__init__()
        at_least(1, owner="RBF", in_features=in_features, out_features=out_features)
        positive(owner="RBF", sigma=sigma)
        self.weight = nn.Parameter(torch.empty(out_features, in_features).normal_(generator=generator))
        self.log_sigma = nn.Parameter(torch.full((out_features,), math.log(sigma)))

    def forward(self, x: Float[Tensor, "*axes D"]) -> Float[Tensor, "*axes H"]:
        """Return h.

        Returns:
            One number from 0 to 1 a unit.
        """
        origin = self.weight.detach().mean(0)
        x, centres = x - origin, self.weight - origin
        squared = x.square().sum(-1, keepdim=True) + centres.square().sum(-1) - 2 * (x @ centres.mT)
        return torch.exp(-squared.clamp(min=0) * torch.exp(-2 * self.log_sigma))

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        out_features, in_features = self.weight.shape
        return f"in_features={in_features}, out_features={out_features}"
