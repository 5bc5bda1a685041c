"""Sparse autoencoders: a wanted mean activity as a penalty, and a unit that keeps the k largest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.autoencoders.reconstruction import CodeContext
from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties.base import Context, Penalty
from lamina.penalties.contractive import encoder_of


@dataclass(frozen=True, slots=True)
class SparseTarget(Penalty):
    """Divergence of each code unit's mean activity from a wanted one, summed over the units.

        Σ_j KL(ρ ‖ ρ̂_j) = Σ_j ρ log(ρ / ρ̂_j) + (1 - ρ) log((1 - ρ) / (1 - ρ̂_j)),   ρ̂_j = (1/N) Σ_n w_n h_nj

    ρ̂ is the mean over the batch: with small batches it is a noisy one, and the penalty then asks for a mean activity
    in every batch, not over the data. For units between 0 and 1, such as sigmoids; other values give NaN. Weighed
    against an error summed over hundreds of inputs it wants a factor of 1 to 10.

    Within ``Reconstruction`` it takes the code of the model's own pass; elsewhere it makes one through the encoder.

    Attributes:
        target: ρ, in (0, 1).
        encoder: Name of the part that makes the code, as in ``Contractive``; read only outside of ``Reconstruction``
            or if it is not empty.

    Raises:
        ConfigError: If the target is out of range.

    Reference: Lee, Ekanadham & Ng, "Sparse Deep Belief Net Model for Visual Area V2", NIPS 2007 (the idea); Ng,
    "Sparse Autoencoder", CS294A lecture notes, 2011, section 3.
    """

    target: float = 0.05
    encoder: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0:
            raise ConfigError(
                f"target must lie between 0 and 1, got {self.target!r}", where="SparseTarget", mend="use 0.05"
            )

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the sum over the units.

        Returns:
            A scalar, at least 0.
        """
        code = context.code if isinstance(context, CodeContext) and not self.encoder else None
        if code is None:
            model: nn.Module = getattr(context.model, "_orig_mod", context.model)
            code = encoder_of(model, self.encoder)(context.inputs)
        h = code.flatten(1)
        mean = h.mean(0) if context.weights is None else context.weights @ h / len(h)
        # A unit that is 0 (or 1) for the whole batch has a finite divergence, and no slope to come back by.
        edge = torch.finfo(mean.dtype)
        inside = mean.clamp(edge.tiny, 1.0 - edge.eps)
        inside = torch.where((mean < 0.0) | (mean > 1.0 + 1e-6), math.nan, inside)
        rho = self.target
        silent = rho * math.log(rho) + (1.0 - rho) * math.log(1.0 - rho)
        return (silent - rho * inside.log() - (1.0 - rho) * torch.log1p(-inside)).sum()


class KSparse(nn.Module):
    """Keep the k largest of a code's units for each example, set the others to 0.

        h_j = a_j if a_j is among the k largest of a, else 0

    The unit of the k-sparse autoencoder, over an affine layer alone: the choice is all of its non-linearity. In
    evaluation ⌊α k⌋ are kept, since codes somewhat less sparse than those trained with serve a classifier better.

    With a small k from the start many units are never chosen and stay dead; begin with a large ``k`` (it may be set
    between epochs) and come down over the first half of training.

    Args:
        k: Units kept while training, at least 1.
        alpha: α, at least 1.

    Raises:
        ConfigError: If an argument is out of range.

    Reference: Makhzani & Frey, "k-Sparse Autoencoders", ICLR 2014 (arXiv:1312.5663), section 2.
    """

    def __init__(self, k: int, alpha: float = 1.0) -> None:
        super().__init__()
        at_least(1, owner="KSparse", k=k)
        if not (math.isfinite(alpha) and alpha >= 1.0):
            raise ConfigError(f"alpha must be at least 1, got {alpha!r}", where="KSparse", mend="use 1")
        self.k, self.alpha = k, alpha

    def forward(self, a: Float[Tensor, "N units"]) -> Float[Tensor, "N units"]:
        """Return the sparse code; all units where there are not more than k."""
        k = min(self.k if self.training else math.floor(self.alpha * self.k), a.shape[1])
        values, places = a.topk(k, dim=1, sorted=False)
        return torch.zeros_like(a).scatter(1, places, values)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"k={self.k}, alpha={self.alpha}"
