"""p-norm units."""

import math
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.overrides import handle_torch_function, has_torch_function_unary

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.units._groups import affine_pieces, grouped


class PNormPoolUnits(nn.Module):
    """Take the p-norm of each group of k units.

        h_i = (Σ_j |z_{jH + i}|^p)^(1/p),   j = 0 … k - 1;   ∂h_i/∂z = sign(z) (|z| / h_i)^(p-1)

    Groups lie as in ``MaxPoolUnits``. p = 2 suits networks, p → ∞ gives the largest |z_j|. The gradient is taken as 0
    where the whole group is 0, and nothing overflows or vanishes on the way: h is right for z from 1e-30 to 1e30 in
    float32.

    Differs from the course's print (Σ |z_j|)^(1/p), which lacks the inner power, and from
    ``torch.linalg.vector_norm``, which overflows at 1e20 for p = 2.

    Args:
        pieces: k, at least 1.
        p: The power, at least 1; ``math.inf`` is allowed.
        dim: The axis of the units; 1 for the channels of pictures.

    Raises:
        ConfigError: If ``pieces`` or ``p`` is below 1; in the forward pass, if the axis does not split into groups.

    Reference: Zhang, Trmal, Povey & Khudanpur, "Improving Deep Neural Network Acoustic Models Using Generalized Maxout
    Networks", ICASSP 2014, eq. 4.
    """

    def __init__(self, pieces: int = 2, p: float = 2.0, dim: int = -1) -> None:
        super().__init__()
        at_least(1, owner="PNormPoolUnits", pieces=pieces)
        if not p >= 1:
            raise ConfigError(f"p must be at least 1, got {p!r}", where="PNormPoolUnits", mend="use p=2")
        self.pieces, self.p, self.dim = pieces, float(p), dim

    def forward(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return h.

        Returns:
            z's shape, the axis of the units k times smaller; numbers of at least 0.
        """
        groups, within = grouped(z, self.pieces, self.dim, "PNormPoolUnits")
        if self.p == math.inf:
            return groups.abs().amax(within)
        return p_norm(groups, self.p, within)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"pieces={self.pieces}, p={self.p:g}, dim={self.dim}"


def p_norm(y: Tensor, p: float, dim: int) -> Tensor:
    """Return the p-norm along an axis, finite for any finite y.

    Forward mode over forward mode takes PyTorch's word that the derivative of a function of one's own is constant, so
    whoever nests it puts a form of products and sums in the place of this one, by a ``TorchFunctionMode``.

    Args:
        y: Numbers.
        p: The power, at least 1 and finite.
        dim: The axis, which goes.
    """
    if has_torch_function_unary(y):
        moved: Tensor = handle_torch_function(p_norm, (y,), y, p, dim)
        return moved
    norms: Tensor = _PNorm.apply(y, p, dim)  # type: ignore[no-untyped-call]
    return norms


class _PNorm(Function):
    # A function of its own: half the passes over memory of its parts, and one place where 0 is dealt with.
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, p: float, dim: int) -> Tensor:
        if p == 2:
            first, *others = y.unbind(dim)
            return reduce(torch.hypot, others, first) if others else first.abs()
        size = y.abs()
        number = torch.finfo(y.dtype)
        largest = size.amax(dim, keepdim=True).clamp(number.tiny, number.max)
        return size.div_(largest).pow_(p).sum(dim).pow_(1 / p).mul_(largest.squeeze(dim))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, int], output: Tensor) -> None:
        y, ctx.p, ctx.dim = inputs
        ctx.save_for_backward(y, output)
        ctx.save_for_forward(y, output)

    @staticmethod
    def backward(ctx: Any, *delta: Tensor) -> tuple[Tensor, None, None]:
        y, h = ctx.saved_tensors
        return _times_slope(delta[0].unsqueeze(ctx.dim), y, h.unsqueeze(ctx.dim), ctx.p), None, None

    @staticmethod
    def jvp(ctx: Any, *tangent: Any) -> Tensor:
        y, h = ctx.saved_tensors
        return _times_slope(tangent[0], y, h.unsqueeze(ctx.dim), ctx.p).sum(ctx.dim)


def _times_slope(v: Tensor, y: Tensor, h: Tensor, p: float) -> Tensor:
    # v ∂h/∂y. No element is larger than its norm, so that the share is at most 1 and its powers cannot overflow.
    if p == 1:
        return v * y.sign()
    share = y / h.clamp(min=torch.finfo(y.dtype).tiny)
    if p < 2:
        return v * (share.sign() * share.abs().pow(p - 1))
    if p == 2:
        return v * share
    moved = v * share
    size = share.abs() if torch.is_grad_enabled() else share.abs_()  # the memory of the share, if it is needed no more
    return moved.mul_(size if p == 3 else size.pow_(p - 2))


class PNorm(nn.Module):
    """Take the p-norm of several affine maps, unit by unit.

        h_i = (Σ_j |w_ij · x + b_ij|^p)^(1/p),   j = 1 … k

    Weights start as N(0, 1 / (in k^(2/p))), which for p = 2 keeps E h² = E x²; biases at zero.

    Args:
        in_features: Size of the last axis of the input, at least 1.
        out_features: Number of units, at least 1.
        pieces: k, affine maps per unit, at least 1.
        p: The power, at least 1; ``math.inf`` is allowed.
        bias: Whether the maps have biases.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size or the power is below 1.

    Reference: Zhang et al., ICASSP 2014, eq. 4.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        pieces: int = 2,
        p: float = 2.0,
        *,
        bias: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        at_least(1, owner="PNorm", in_features=in_features, pieces=pieces)
        pool = PNormPoolUnits(pieces, p)
        std = 1 / (math.sqrt(in_features) * pieces ** (1 / p))
        self.affine = affine_pieces("PNorm", in_features, out_features, pieces, std=std, bias=bias, generator=generator)
        self.pool = pool

    def forward(self, x: Float[Tensor, "*axes D"]) -> Float[Tensor, "*axes H"]:
        """Return h.

        Returns:
            One number a unit, at least 0.
        """
        pooled: Tensor = self.pool(self.affine(x))
        return pooled
