"""Multiplicative noise of mean one (Gaussian dropout)."""

import math

from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.nn._checks import fraction
from lamina.nn.noise._draw import check_std, standard_normal


class MultiplicativeNoise(nn.Module):
    """Multiply each unit with noise around one while training, with one in evaluation.

        y = x ⊙ m,   m ~ N(1, σ²)

    E y = x, so evaluation needs no factor. A unit cannot escape it by growing, as it can escape additive noise. With
    σ² = p / (1 - p) m has the mean and the variance of the mask of ``torch.nn.Dropout(p)``, which is 0 or 1/(1 - p).

    Args:
        std: σ, at least 0; at 0 it is the identity.
        generator: Source of the noise; None is PyTorch's default generator.

    Raises:
        ConfigError: If std is no finite number of at least 0.

    Reference: Srivastava et al., "Dropout", Journal of Machine Learning Research 2014, section 10.
    """

    def __init__(self, std: float, generator: Generator | None = None) -> None:
        super().__init__()
        check_std("MultiplicativeNoise", std)
        self.std, self.generator = std, generator

    @staticmethod
    def like_dropout(drop: float, generator: Generator | None = None) -> "MultiplicativeNoise":
        """Build the noise with the variance of dropout's mask.

        Args:
            drop: p, the probability of dropping, in [0, 1).
            generator: Source of the noise.

        Returns:
            The module with σ = √(p / (1 - p)).
        """
        fraction(owner="MultiplicativeNoise", drop=drop)
        return MultiplicativeNoise(math.sqrt(drop / (1.0 - drop)), generator)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return x ⊙ m while training, x itself in evaluation."""
        if not self.training or self.std == 0.0:
            return x
        return x * standard_normal(x, self.generator).mul_(self.std).add_(1.0)

    def extra_repr(self) -> str:
        """Return σ."""
        return f"std={self.std}"
