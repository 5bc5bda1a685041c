"""Low-rank projection: an affine map through a narrow linear middle."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import linear

from lamina.errors import ConfigError, nearest
from lamina.initialisers import Fans, Weight, xavier
from lamina.nn._checks import at_least


class LowRankLinear(nn.Module):
    """An affine map whose matrix is a product of two thin ones: a hidden layer without a unit's function.

        y = W x + b,   W = U V,   U: out × rank,   V: rank × in

    Weights: in·rank + rank·out in place of in·out, fewer where rank < in·out / (in + out). The map is evaluated as
    U (V x), so it takes as many multiply-adds as it has weights.

    Starting weights are a pure function of the generator. With V_kj ~ N(0, 1/in) the middle keeps the variance of x,
    and U_ik ~ N(0, in·v/rank), so that the entries of W have the variance v that ``lamina.nn.linear`` gives them:
    2/in for ``he``, 2/(in + out) for ``glorot``, 0 for ``zero``. Biases are zero.

    Args:
        in_features: Size of the last axis of the input, at least 1.
        out_features: Number of units, at least 1.
        rank: Width of the middle, from 1 to the smaller of the two; there W can be any matrix.
        start: Which rule.
        generator: Source of the weights; None is PyTorch's default generator.
        bias: Whether the layer adds a bias.

    Raises:
        ConfigError: If a size is below 1, the rank above the smaller of the two, or the start unknown.

    Reference: Sainath et al., "Low-rank matrix factorization for deep neural network training with high-dimensional
    output targets", ICASSP 2013, section 2.
    """

    def __init__(  # noqa: PLR0917 -- the order of lamina.nn.linear, with the rank between
        self,
        in_features: int,
        out_features: int,
        rank: int,
        start: str = "he",
        generator: Generator | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, owner="LowRankLinear", in_features=in_features, out_features=out_features, rank=rank)
        if rank > min(in_features, out_features):
            raise ConfigError(
                f"rank must be at most {min(in_features, out_features)}, the smaller of in_features and out_features, "
                f"got {rank}",
                where="LowRankLinear",
                mend="use torch.nn.Linear, which can be any matrix",
            )
        variances = {"he": 2.0 / in_features, "glorot": 2.0 / (in_features + out_features), "zero": 0.0}
        if start not in variances:
            raise ConfigError(
                f'unknown start "{start}"{nearest(start, list(variances))}',
                where="LowRankLinear",
                mend=f"choose one of {', '.join(variances)}",
            )
        variance = variances[start]
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.u = nn.Parameter(torch.empty(out_features, rank))
        self.v = nn.Parameter(torch.empty(rank, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        with torch.no_grad():
            self.v.normal_(0.0, math.sqrt(1.0 / in_features), generator=generator)
            if variance:
                self.u.normal_(0.0, math.sqrt(in_features * variance / rank), generator=generator)
            else:
                self.u.zero_()

    @staticmethod
    def from_linear(layer: nn.Linear, rank: int) -> "LowRankLinear":
        """Factorise a trained layer by a truncated singular value decomposition.

            W = P S Qᵀ;   U = P_r S_r^½,   V = S_r^½ Q_rᵀ

        No matrix of this rank is closer: ‖W - U V‖² is the sum of the squares of the singular values left out.

        Args:
            layer: The layer; it is left as it is, its bias is copied.
            rank: Singular values to keep, from 1 to the smaller size of the matrix (else ConfigError).

        Returns:
            The factorised layer, in the layer's type and on its device.

        Reference: Eckart & Young, "The approximation of one matrix by another of lower rank", Psychometrika 1936.
        """
        with torch.device("meta"):  # no weights are drawn
            made = LowRankLinear(layer.in_features, layer.out_features, rank, bias=layer.bias is not None)
        with torch.no_grad():
            p, s, q = torch.linalg.svd(layer.weight, full_matrices=False)
            root = s[:rank].sqrt()
            made.u = nn.Parameter(p[:, :rank] * root)
            made.v = nn.Parameter(root[:, None] * q[:rank])
            made.bias = nn.Parameter(layer.bias.clone()) if layer.bias is not None else None
        return made

    def starting_weights(self) -> list[Weight]:
        """Return how ``lamina.initialisers.initialise`` draws the factors: V, then U.

            V_kj ~ N(0, 1/in),   U as a layer of in' = rank inputs and out' = out·rank/in outputs

        Whatever the scheme, V keeps the variance of x, and the scheme draws U on the middle. Where a scheme's variance
        falls as 1/in, 1/out or 1/(in + out), the entries of W = U V thereby have the variance that it gives a whole
        matrix: v(rank, out·rank/in) · rank · 1/in = v(in, out).

        Returns:
            Both, with their fans.
        """
        units = self.out_features * self.rank / self.in_features
        return [
            Weight("v", Fans(self.in_features, self.rank), rule=xavier),
            Weight("u", Fans(self.rank, units)),
        ]

    def starting_biases(self) -> list[Tensor]:
        """Return b, where there is one."""
        return [] if self.bias is None else [self.bias]

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The product W = U V."""
        return self.u @ self.v

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Return U (V x) + b."""
        return linear(linear(x, self.v), self.u, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, bias={self.bias is not None}"
