"""Maxout."""

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.nn._checks import at_least
from lamina.nn.units._groups import affine_pieces, grouped


class MaxPoolUnits(nn.Module):
    """Take the largest of each group of k units.

        h_i = max_j z_{jH + i},   j = 0 … k - 1,   H = number of units / k

    The axis holds k blocks of H units, and a group has one of each block, as ``torch.nn.GLU`` has its halves: all H are
    then compared at once, at twice the speed of groups of neighbours. The gradient goes to the largest; several that
    are equal share it.

    Args:
        pieces: k, at least 1.
        dim: The axis of the units; 1 for the channels of pictures.

    Raises:
        ConfigError: If ``pieces`` is below 1; in the forward pass, if the axis does not split into groups.

    Reference: Goodfellow et al., "Maxout Networks", ICML 2013, section 3.
    """

    def __init__(self, pieces: int = 2, dim: int = -1) -> None:
        super().__init__()
        at_least(1, owner="MaxPoolUnits", pieces=pieces)
        self.pieces, self.dim = pieces, dim

    def forward(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return h.

        Returns:
            z's shape, the axis of the units k times smaller.
        """
        groups, within = grouped(z, self.pieces, self.dim, "MaxPoolUnits")
        return groups.amax(within)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"pieces={self.pieces}, dim={self.dim}"


class Maxout(nn.Module):
    """Take the largest of several affine maps, unit by unit.

        h_i = max_j (w_ij · x + b_ij),   j = 1 … k

    A unit is a convex piecewise-linear function of x, any convex one as k grows; with k = 2 and one piece held at zero
    it is a ReLU, with opposite pieces an absolute value. Weights start as N(0, 1 / (c_k in)) with c_k = E[max of k
    standard normal numbers]² the second moment that k pieces give, so that E h² = E x² (c_1 = c_2 = 1, c_3 = 1.28,
    c_5 = 1.80); biases at zero.

    Differs from the paper, which starts from U(-0.005, 0.005).

    Args:
        in_features: Size of the last axis of the input, at least 1.
        out_features: Number of units, at least 1.
        pieces: k, affine maps per unit, at least 1; 1 is a linear layer.
        bias: Whether the maps have biases.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1.

    References: Goodfellow et al., "Maxout Networks", ICML 2013, section 3; Tseran & Montúfar, "Expected Gradients of
    Maxout Networks and Consequences to Parameter Initialization", ICML 2023 (the start).
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
        at_least(1, owner="Maxout", in_features=in_features, out_features=out_features, pieces=pieces)
        std = 1 / math.sqrt(second_moment_of_largest(pieces) * in_features)
        self.affine = affine_pieces(
            "Maxout", in_features, out_features, pieces, std=std, bias=bias, generator=generator
        )
        self.pool = MaxPoolUnits(pieces)

    def forward(self, x: Float[Tensor, "*axes D"]) -> Float[Tensor, "*axes H"]:
        """Return h.

        Returns:
            One number a unit.
        """
        pooled: Tensor = self.pool(self.affine(x))
        return pooled


def second_moment_of_largest(k: int) -> float:
    """Return c_k = E[(max of k standard normal numbers)²] by quadrature: ∫ t² d(Φ(t)^k).

    Returns:
        c_k, to about 1e-5.
    """
    # The mean of t² over each of 4,000 short steps, times the probability that the largest falls there.
    edges = [i / 200 for i in range(-2000, 2001)]
    below = [(0.5 * math.erfc(-t / math.sqrt(2))) ** k for t in edges]
    return math.fsum(
        (b - a) * (s * s + s * t + t * t) / 3 for (a, b), (s, t) in zip(pairwise(below), pairwise(edges), strict=True)
    )
