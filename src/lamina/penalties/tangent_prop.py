"""Tangent propagation: the outputs shall not change along given directions of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties._jets import first_order
from lamina.penalties._passes import running_statistics_held, signs
from lamina.penalties.base import Context, Penalty
from lamina.penalties.image_tangents import image_tangents

Tangents = Callable[[Tensor], Tensor] | Tensor


@dataclass(frozen=True, slots=True)
class TangentProp(Penalty):
    """Squared derivative of the outputs along tangents of the inputs, summed over tangents and outputs.

        R = 1/N Σ_n Σ_i Σ_k ( ∇_x f_k(x_n) · v_n^(i) )²

    The derivatives J v go forwards through the network beside the values. With ``draws`` = m > 0 the tangents of an
    example are added up under random signs s, m times over, and

        R̂ = 1/N Σ_n 1/m Σ_j ‖ J Σ_i s_ij v_n^(i) ‖²

    is unbiased, E R̂ = R, at the cost of m tangents however many there are; ``draws`` = 0 takes each tangent. No target
    is looked at: every row of the batch counts. Networks of rectified linear units have no second derivative by their
    inputs; the penalty then acts on the weights alone.

    Attributes:
        tangents: ``(K, ...)`` directions that hold for all examples, or a function of the ``(N, ...)`` inputs (those of
            ``Context.smooth``) that returns ``(K, N, ...)``. None derives them from the pictures themselves.
        transforms: Which, where ``tangents`` is None: see ``image_tangents``.
        draws: Random combinations of the tangents; 0 for the exact sum.
        generator: Source of the signs; None is PyTorch's default generator.

    Raises:
        ConfigError: If ``draws`` is negative or, when called, if the tangents do not fit the inputs.

    Reference: Simard, Victorri, LeCun & Denker, "Tangent Prop: A Formalism for Specifying Selected Invariances in
    Adaptive Networks", NIPS 1991, eq. 2.
    """

    tangents: Tangents | None = None
    transforms: str = "affine"
    draws: int = 1
    generator: Generator | None = None

    def __post_init__(self) -> None:
        at_least(0, owner="TangentProp", draws=self.draws)

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R, or R̂ where the tangents are combined.

        Returns:
            A scalar, at least 0.
        """
        network, x = context.smooth()
        directions = self._directions(x)
        if self.draws:
            mixing = signs((self.draws, len(directions), len(x)), x, self.generator)
            directions = torch.einsum("mkn,kn...->mn...", mixing, directions)
        with running_statistics_held(network):
            _, moved = first_order(network, x, directions)
        return moved.square().sum() / (len(x) * max(1, self.draws))

    def _directions(self, x: Tensor) -> Tensor:
        if self.tangents is None:
            return image_tangents(x, self.transforms)
        if isinstance(self.tangents, Tensor):
            directions = self.tangents.to(x)
            directions = directions.unsqueeze(1).expand(-1, *x.shape) if directions.shape[1:] == x.shape[1:] else x
        else:
            directions = self.tangents(x).detach()
        if directions.ndim != x.ndim + 1 or directions.shape[1:] != x.shape:
            raise ConfigError(
                f"the tangents do not fit inputs of shape {tuple(x.shape)}",
                where="TangentProp",
                mend="give (K, ...) shaped as one example, or a function that returns (K, N, ...)",
            )
        return directions
