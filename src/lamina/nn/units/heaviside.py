"""Step unit."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function


class Heaviside(nn.Module):
    """Fire or do not: the threshold unit of the perceptron.

        U(z) = 1 for z ≥ 0,   0 for z < 0        so that U(0) = 1

    Its derivative is 0 wherever there is one, so the result carries no gradient: ``backward`` through it is refused by
    autograd instead of giving zeros in silence. With ``straight_through`` the derivative is *taken to be* 1, which
    trains units that fire or do not; it is no derivative of U.

    Differs from ``torch.heaviside``, whose value at 0 is an argument and which has no straight-through form. A NaN
    gives 0.

    Args:
        straight_through: Whether the gradient passes as if U(z) were z.

    Reference: Bengio, Léonard & Courville, arXiv 1308.3432, 2013, section 4 (straight-through).
    """

    def __init__(self, straight_through: bool = False) -> None:
        super().__init__()
        self.straight_through = straight_through

    def forward(self, z: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return U(z), element by element.

        Returns:
            Zeros and ones of z's type.
        """
        if self.straight_through:
            fired: Tensor = _StraightThrough.apply(z)  # type: ignore[no-untyped-call]
            return fired
        return (z >= 0).to(z.dtype)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"straight_through={self.straight_through}"


class _StraightThrough(Function):
    # A function of its own because step + z - z.detach() would round, and would be NaN at infinity.
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return (z >= 0).to(z.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *delta: Tensor) -> Tensor:
        return delta[0]

    @staticmethod
    def jvp(ctx: Any, *tangent: Any) -> Tensor:
        moved: Tensor = tangent[0].clone()
        return moved
