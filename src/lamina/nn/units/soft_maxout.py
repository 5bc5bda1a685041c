"""Soft-maxout."""

import math

from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.nn._checks import at_least
from lamina.nn.units._groups import affine_pieces, grouped


class SoftMaxPoolUnits(nn.Module):
    """Take the smooth maximum of each group of k units.

        h_i = log Σ_j e^(z_{jH + i}),   j = 0 … k - 1;   ∂h_i/∂z_{jH + i} = softmax over j;   max ≤ h_i ≤ max + log k

    Groups lie as in ``MaxPoolUnits``. It does not overflow, whatever z.

    Args:
        pieces: k, at least 1.
        dim: The axis of the units; 1 for the channels of pictures.

    Raises:
        ConfigError: If ``pieces`` is below 1; in the forward pass, if the axis does not split into groups.

    Reference: Zhang, Trmal, Povey & Khudanpur, "Improving Deep Neural Network Acoustic Models Using Generalized Maxout
    Networks", ICASSP 2014, eq. 3.
    """

    def __init__(self, pieces: int = 2, dim: int = -1) -> None:
        super().__init__()
        at_least(1, owner="SoftMaxPoolUnits", pieces=pieces)
        self.pieces, self.dim = pieces, dim

    def forward(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return h.

        Returns:
            z's shape, the axis of the units k times smaller.
        """
        groups, within = grouped(z, self.pieces, self.dim, "SoftMaxPoolUnits")
        return groups.logsumexp(within)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"pieces={self.pieces}, dim={self.dim}"


class SoftMaxout(nn.Module):
    """Take the smooth maximum of several affine maps, unit by unit.

        h_i = log Σ_j e^(w_ij · x + b_ij),   j = 1 … k

    Weights start as N(0, 1 / in), biases at zero.

    Args:
        in_features: Size of the last axis of the input, at least 1.
        out_features: Number of units, at least 1.
        pieces: k, affine maps per unit, at least 1; 1 is a linear layer.
        bias: Whether the maps have biases.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1.

    Reference: Zhang et al., ICASSP 2014, eq. 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pieces: int = 2,
        *,
        bias: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        at_least(1, owner="SoftMaxout", in_features=in_features)
        std = 1 / math.sqrt(in_features)
        self.affine = affine_pieces(
            "SoftMaxout", in_features, out_features, pieces, std=std, bias=bias, generator=generator
        )
        self.pool = SoftMaxPoolUnits(pieces)

    def forward(self, x: Float[Tensor, "*axes D"]) -> Float[Tensor, "*axes H"]:
        """Return h.

        Returns:
            One number a unit.
        """
        pooled: Tensor = self.pool(self.affine(x))
        return pooled
