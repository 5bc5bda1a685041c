"""Batch normalisation with the variance of one's choice."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from lamina.errors import ConfigError
from lamina.nn._checks import at_least


class BatchNorm(_BatchNorm):
    """Standardise each feature over the mini-batch, then give it a learnt scale and shift.

        m_j = 1/n Σ_B u_j,   s_j = 1/(n - d) Σ_B (u_j - m_j)²,   û_j = (u_j - m_j) / √(s_j + ε),   y_j = γ_j û_j + β_j

    d = 0 is PyTorch's and the paper's biased variance; d = 1 (``unbiased``) the one that some texts print: at a batch
    of 8 it makes û smaller by the factor √(7/8). n counts the examples and, for sequences and images, the places too;
    γ and β are one number a feature, learnt, 1 and 0 at the start (texts that print one γ for a layer mean this).

    While training, running averages m ← (1 - a) m + a m_B and s ← (1 - a) s + a s_B are kept, which stand in for m_j
    and s_j in evaluation; the running s is of the unbiased kind for either d, as in PyTorch.

    Without ``unbiased`` it computes to the bit what ``torch.nn.BatchNorm1d``, ``2d`` and ``3d`` compute, for any of
    their shapes in one class, and has their state; as a subclass of theirs it is found by PyTorch's tools.
    ``SyncBatchNorm.convert_sync_batchnorm`` turns either kind into the biased one.

    Args:
        features: Size of axis 1, at least 1.
        unbiased: d = 1.
        eps: ε, inside the root, above 0.
        momentum: a, the share of the new batch; None averages over all batches alike.

    Raises:
        ConfigError: If features is below 1 or eps not above 0; in the forward pass, if n is 1 while training.

    Reference: Ioffe & Szegedy, "Batch Normalization", ICML 2015, algorithms 1 and 2.
    """

    def __init__(
        self, features: int, *, unbiased: bool = False, eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        at_least(1, owner="BatchNorm", features=features)
        if not (math.isfinite(eps) and eps > 0.0):
            raise ConfigError(f"eps must be a finite number above 0, got {eps!r}", where="BatchNorm", mend="use 1e-5")
        super().__init__(features, eps, momentum)
        self.unbiased = unbiased

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept every shape: the signature of ``forward`` says which."""

    def forward(self, u: Float[Tensor, "N D *places"]) -> Float[Tensor, "N D *places"]:
        """Return y, of the input's shape.

        Raises:
            ConfigError: If there is one number a feature while training.
        """
        if not self.training:
            return super().forward(u)
        n = u.numel() // self.num_features
        if n == 1:
            raise ConfigError(
                "needs more than one number a feature to train on", where="BatchNorm", mend="use a larger batch"
            )
        if not self.unbiased or n == 0:
            return super().forward(u)
        # û with the unbiased s is √((n-1)/n) times û with the biased s and ε (n-1)/n: PyTorch's fused kernel does both.
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1.0 / float(self.num_batches_tracked) if share is None else share
        ratio = (n - 1) / n
        return batch_norm(
            u,
            self.running_mean,
            self.running_var,
            self.weight * ratio**0.5,
            self.bias,
            training=True,
            momentum=share or 0.0,
            eps=self.eps * ratio,
        )

    def extra_repr(self) -> str:
        """Return the size and the settings."""
        return f"{self.num_features}, unbiased={self.unbiased}, eps={self.eps}, momentum={self.momentum}"
