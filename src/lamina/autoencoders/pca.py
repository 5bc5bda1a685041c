"""Principal component analysis: the best linear autoencoder under squared error, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.errors import ConfigError
from lamina.likelihoods.gaussian import Gaussian
from lamina.nn.tied_linear import TiedLinear

_AT_ONCE = 4_096  # examples whose products are summed in one go


class PCA(nn.Module):
    """h = W (x - μ),   x̂ = Wᵀ h + μ,   the rows of W the k leading eigenvectors of the covariance of x.

    No linear map through k numbers has a lower mean of ‖x - x̂‖²: what is left is the sum of the other eigenvalues. The
    baseline that every autoencoder has to beat, for seconds of work.

    Of each row the largest entry is positive, so that the result is one.

    Args:
        x: Examples, more than one. Sums are in float64, whatever their type.
        k: Components, from 1 to D.

    Raises:
        ConfigError: If k is out of range or there are fewer than two examples.

    Reference: Hotelling, "Analysis of a complex of statistical variables into principal components", 1933; Baldi &
    Hornik, "Neural Networks and Principal Component Analysis", Neural Networks 2, 1989 (as an autoencoder).
    """

    def __init__(self, x: Float[Tensor, "N D"], k: int) -> None:
        super().__init__()
        n, d = x.shape
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= d or n < 2:
            raise ConfigError(
                f"k must be a whole number in 1 … {d} and there be at least 2 examples, got {k!r} and {n}",
                where="PCA",
                mend="take fewer components",
            )
        mean = x.sum(0, dtype=torch.float64) / n
        covariance = torch.zeros(d, d, dtype=torch.float64, device=x.device)
        for part in torch.split(x, _AT_ONCE):
            centred = part.double() - mean
            covariance.addmm_(centred.t(), centred, alpha=1.0 / (n - 1))
        variances, vectors = torch.linalg.eigh(covariance)
        rows = vectors.t().flip(0)[:k]
        signs = torch.gather(rows, 1, rows.abs().argmax(1, keepdim=True)).sign()
        self.mean: Tensor
        self.components: Tensor
        self.variances: Tensor
        self.total_variance: Tensor
        self.register_buffer("mean", mean.to(x))
        self.register_buffer("components", (rows * signs).to(x))
        self.register_buffer("variances", variances.flip(0)[:k].clamp_min(0.0).to(x))
        self.register_buffer("total_variance", covariance.trace().to(x))

    def encode(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N k"]:
        """Return h = W (x - μ)."""
        return (x - self.mean) @ self.components.t()

    def decode(self, h: Float[Tensor, "N k"]) -> Float[Tensor, "N D"]:
        """Return x̂ = Wᵀ h + μ."""
        return torch.addmm(self.mean, h, self.components)

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Return x̂."""
        return self.decode(self.encode(x))

    def autoencoder(self) -> Autoencoder:
        """Return the same as an ``Autoencoder`` with tied weights, to start another from."""
        k, d = self.components.shape
        encoder: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, d, k, device=self.mean.device, dtype=self.mean.dtype
        )
        decoder = TiedLinear(encoder)
        with torch.no_grad():
            encoder.weight.copy_(self.components)
            encoder.bias.copy_(-self.components @ self.mean)
            decoder.bias.copy_(self.mean)
        return Autoencoder(encoder, decoder, Gaussian(d, scale=1.0))

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        k, d = self.components.shape
        return f"{d}, {k}"
