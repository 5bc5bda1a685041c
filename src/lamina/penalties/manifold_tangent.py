"""Manifold tangents: the directions in which a code follows the data, for tangent propagation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties._input_gradient import pass_from
from lamina.penalties._jets import first_order
from lamina.penalties._passes import running_statistics_held
from lamina.penalties.base import Context, Penalty
from lamina.penalties.tangent_prop import TangentProp


@dataclass(frozen=True, slots=True)
class ManifoldTangents:
    """Tangents of the data's manifold as an encoder has learnt it: the leading right singular vectors of its Jacobian.

        ∂h(x_n)/∂x = U S Vᵀ,   tangents v_n^(1), …, v_n^(K): the columns of V of the K largest singular values

    An instance is a function of the inputs, for ``TangentProp(tangents=ManifoldTangents(encoder))``, which together are
    the manifold tangent classifier. The Jacobian J is never formed: a block of K directions is multiplied by JᵀJ,
    forwards and then in reverse, and made orthonormal again, ``iterations`` times; at the end J's small image of the
    block is split into its singular vectors, by which the block is turned. An error falls by (σ_{K+1} / σ_k)² an
    iteration. The encoder is used as it is, in evaluation mode, and gets no gradient.

    Differs from the reference, which forms J of one layer and takes directions whose singular value is above a
    threshold; here K is fixed.

    Attributes:
        encoder: From inputs ``(N, ...)``, as the penalised network's smooth part takes them, to codes ``(N, ...)``. An
            autoencoder with its decoder serves as well.
        rank: K, at least 1, at most the size of an input or of the code.
        iterations: Products with JᵀJ, at least 1.
        generator: Source of the first block; None is PyTorch's default generator.

    Raises:
        ConfigError: If a number is below 1.

    References: Rifai, Dauphin, Vincent, Bengio & Muller, "The Manifold Tangent Classifier", NIPS 2011, section 3;
    Halko, Martinsson & Tropp, SIAM Review 53, 2011, algorithm 4.4 (block iteration).
    """

    encoder: nn.Module
    rank: int = 8
    iterations: int = 8
    generator: Generator | None = None

    def __post_init__(self) -> None:
        at_least(1, owner="ManifoldTangents", rank=self.rank, iterations=self.iterations)

    def __call__(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "K N ..."]:
        """Return the tangents, of length 1, the steepest first, detached.

        Returns:
            ``(K, N, ...)``; the sign of each is arbitrary.
        """
        encoder, modes = self.encoder, [(layer, layer.training) for layer in self.encoder.modules()]
        encoder.eval()
        try:
            with running_statistics_held(encoder):
                return self._leading(x.detach())
        finally:
            for layer, training in modes:
                layer.training = training

    def _leading(self, x: Tensor) -> Tensor:
        shape = (self.rank, *x.shape)
        block = torch.empty(shape, dtype=x.dtype, device=x.device).normal_(generator=self.generator)
        with torch.no_grad():
            block = _orthonormal(block)
            code, pull = pass_from(self.encoder, x)
            for _ in range(self.iterations):
                image = self._image(x, block)
                block = _orthonormal(torch.stack([pull(code, along) for along in image]))
            image = self._image(x, block).flatten(2).permute(1, 2, 0)  # (N, H, K)
            turn = torch.linalg.svd(image, full_matrices=False).Vh
            return torch.einsum("nik,kn...->in...", turn, block)

    def _image(self, x: Tensor, block: Tensor) -> Tensor:
        return first_order(self.encoder, x, block)[1]


@dataclass(frozen=True, slots=True)
class ManifoldTangentProp(Penalty):
    """Tangent propagation along the directions that an encoder has learnt: what makes a manifold tangent classifier.

        R = 1/N Σ_n Σ_i ‖ J(x_n) v_n^(i) ‖²,   v_n^(i): the leading right singular vectors of the encoder's Jacobian

    It is ``TangentProp(ManifoldTangents(encoder, rank), draws=draws)``. Without an encoder it says what one is to be
    like: ``lamina fit`` then learns a contractive autoencoder of that size on the training inputs beforehand.

    Attributes:
        rank: Tangents an example.
        draws: Random combinations of them; 0 for the exact sum.
        units: Hidden units of the autoencoder, where one is learnt.
        epochs: Passes over the training inputs to learn it.
        contraction: Coefficient of the contractive penalty on it.
        encoder: From the inputs of the network's smooth part to codes; None where it is still to be learnt.

    Raises:
        ConfigError: If a number is outside its range; when called, if there is no encoder.

    Reference: Rifai et al., "The Manifold Tangent Classifier", NIPS 2011, section 4.
    """

    rank: int = 8
    draws: int = 1
    units: int = 100
    epochs: int = 10
    contraction: float = 0.1
    encoder: nn.Module | None = None

    def __post_init__(self) -> None:
        at_least(1, owner="ManifoldTangentProp", rank=self.rank, units=self.units, epochs=self.epochs)
        at_least(0, owner="ManifoldTangentProp", draws=self.draws)
        if not self.contraction >= 0.0:
            raise ConfigError(
                f"contraction must be at least 0, got {self.contraction!r}", where="ManifoldTangentProp", mend="use 0.1"
            )

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R, or its estimate.

        Returns:
            A scalar, at least 0.

        Raises:
            ConfigError: If there is no encoder.
        """
        if self.encoder is None:
            raise ConfigError(
                "has no encoder", where="ManifoldTangentProp", mend="give encoder=, or let lamina.fit learn one"
            )
        return TangentProp(ManifoldTangents(self.encoder, self.rank), draws=self.draws)(context)


def _orthonormal(block: Tensor) -> Tensor:
    """Return directions of length 1 at right angles to one another that span the same, ``(K, N, ...)``."""
    columns = block.flatten(2).permute(1, 2, 0)  # (N, D, K)
    basis: Tensor = torch.linalg.qr(columns).Q
    return basis.permute(2, 0, 1).reshape(block.shape)
