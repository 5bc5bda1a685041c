"""Additive Gaussian noise on inputs or hidden units."""

from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.nn.noise._draw import check_std, standard_normal


class GaussianNoise(nn.Module):
    """Add noise while training, nothing in evaluation.

        y = x + σ ε,   ε ~ N(0, I)

    On the input of a linear model with squared error it is ridge regression in expectation, E (y - wᵀ(x + σε))² =
    (y - wᵀx)² + σ²‖w‖²; for a network with small σ a penalty on how fast the output changes with the input. On hidden
    units the same, from there on up. For inputs scaled to variance 1 a customary start is a variance of 0.1, σ = 0.32.

    Args:
        std: σ, a standard deviation in units of x, at least 0; at 0 it is the identity.
        generator: Source of the noise; None is PyTorch's default generator, whose state a training checkpoint holds.

    Raises:
        ConfigError: If std is no finite number of at least 0.

    References: Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", Neural Computation 1995, eq.
    16; Poole, Sohl-Dickstein & Ganguli, "Analyzing noise in autoencoders and deep networks", arXiv:1406.1831 (hidden).
    """

    def __init__(self, std: float, generator: Generator | None = None) -> None:
        super().__init__()
        check_std("GaussianNoise", std)
        self.std, self.generator = std, generator

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return x + σ ε while training, x itself in evaluation."""
        if not self.training or self.std == 0.0:
            return x
        return x.add(standard_normal(x, self.generator), alpha=self.std)

    def extra_repr(self) -> str:
        """Return σ."""
        return f"std={self.std}"
