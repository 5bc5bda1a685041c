"""Non-linear basis expansion: powers of the inputs, for a model that is linear in its weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.nn._checks import at_least


class PolynomialBasis(nn.Module):
    """Φ(x) = (1, x₁ … x_D, x₁² … x_D², …, x₁^d … x_D^d): powers of each input, without products of two.

    With ``linear_regression(basis(x), y, bias=False)`` the fit ŷ = w · Φ(x) is a polynomial. Powers of inputs far from
    [-1, 1] leave the range of float32 fast: scale the inputs first.

    Args:
        degree: d, at least 1.
        constant: Whether Φ begins with 1; leave it out where the layer behind has a bias.

    Raises:
        ConfigError: If the degree is below 1.

    Reference: Bishop, "Pattern Recognition and Machine Learning", 2006, section 3.1.
    """

    def __init__(self, degree: int, constant: bool = True) -> None:
        super().__init__()
        at_least(1, owner="PolynomialBasis", degree=degree)
        self.degree, self.constant = degree, constant

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch F"]:
        """Return Φ(x), F = D d features and one more for the constant."""
        powers = [x]
        for _ in range(self.degree - 1):
            powers.append(powers[-1] * x)
        constant = [torch.ones_like(x[..., :1])] if self.constant else []
        return torch.cat(constant + powers, dim=-1)

    def extra_repr(self) -> str:
        """Return the arguments, for ``print(module)``."""
        return f"degree={self.degree}, constant={self.constant}"
