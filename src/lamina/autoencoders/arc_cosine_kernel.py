"""Arc-cosine kernels: inner products of the outputs of infinitely wide random networks, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError

_AT_ZERO = (1.0, 1.0, 3.0)  # J_n(0) / π
_ROUNDING = 4e-15  # of the cosine of an angle of 0


@dataclass(frozen=True)
class ArcCosine:
    """The arc-cosine kernel of some layers, each of degree 0, 1 or 2.

        k_n(x, y) = (1/π) ‖x‖ⁿ ‖y‖ⁿ J_n(θ),   θ = arccos(x·y / (‖x‖ ‖y‖))
                  = 2 E_w[Θ(w·x) Θ(w·y) (w·x)ⁿ (w·y)ⁿ],   w ~ N(0, I)
        J_0 = π - θ
        J_1 = sin θ + (π - θ) cos θ
        J_2 = 3 sin θ cos θ + (π - θ)(1 + 2 cos² θ)
        next layer:  k(x, y) = (1/π) (k(x, x) k(y, y))^(n/2) J_n(θ),   θ = arccos(k(x, y) / √(k(x, x) k(y, y)))

    Degree 0 is a layer of step units (and forgets the inputs' lengths), degree 1 one of rectifiers, degree 2 one of
    squared rectifiers. Only angles have to be carried from layer to layer: cos θ becomes J_n(θ) / J_n(0), and k(x, x)
    becomes J_n(0)/π · k(x, x)ⁿ. There is nothing to tune but depth and degrees; the kernel has no width.

    A zero vector has no angle: it is taken to be at right angles to all others and at none to another zero, the limit
    of a short vector along an axis of its own; that keeps the kernel positive definite. Angles below 1e-7 count as 0.

    Attributes:
        degrees: n of each layer, the one next to the inputs first. From degree 2 on lengths grow as a power of a power:
            scale the inputs to about unit length.

    Raises:
        ConfigError: If there is no layer, or a degree is not 0, 1 or 2.

    Reference: Cho & Saul, "Kernel Methods for Deep Learning", NeurIPS 2009, sections 2.1 to 2.3.
    """

    degrees: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if not self.degrees or any(isinstance(n, bool) or n not in {0, 1, 2} for n in self.degrees):
            raise ConfigError(
                f"degrees must be one or more of 0, 1, 2, got {self.degrees!r}",
                where="ArcCosine",
                mend="use degrees=(1,) for one layer of rectifiers",
            )

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
        """Return k(x, y) for all pairs, of x's type; worked out in float64, for arccos doubles rounding's digits.

        No gradient is recorded. Takes some 3 N M float64 numbers: give a large set in pieces.
        """
        rows, columns = (_directions(v.double()) for v in (x, y))
        cosine = rows @ columns.mT
        # Of a vector and itself the cosine is 1 but for rounding, which layers of degree 0 would blow up.
        same = (cosine > 1.0 - _ROUNDING) | (~rows.any(1)[:, None] & ~columns.any(1)[None, :])
        cosine = torch.where(same, 1.0, cosine.clamp_(-1.0, 1.0))
        for n in self.degrees:
            angle = cosine.arccos()
            sine = (1.0 - cosine.square()).clamp_min_(0.0).sqrt_()
            cosine = _angular(n, angle, sine, cosine).div_(math.pi * _AT_ZERO[n])
        lengths = (self.diagonal(v.double()).sqrt() for v in (x, y))
        return cosine.mul_(next(lengths)[:, None]).mul_(next(lengths)[None, :]).to(x.dtype)

    @torch.no_grad()
    def diagonal(self, x: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Return k(x, x) of each example."""
        value = x.double().square().sum(1)
        for n in self.degrees:
            value = _AT_ZERO[n] * value**n
        return value.to(x.dtype)


def _angular(n: int, angle: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    rest = math.pi - angle
    if n == 0:
        return rest
    if n == 1:
        return sine + rest * cosine
    return 3.0 * sine * cosine + rest * (1.0 + 2.0 * cosine.square())


def _directions(x: Tensor) -> Tensor:
    # Unit vectors; zero stays zero.
    length = x.norm(dim=1, keepdim=True)
    unit: Tensor = x / length.masked_fill(length == 0, 1.0)
    return unit
