"""The sigmoid belief network: binary units, every layer drawn given the one above it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from lamina.energy.directed import DirectedLayers
from lamina.energy.units import Bernoulli, Units
from lamina.energy.variational import VariationalBound, enumerated_bound, enumerated_log_sum, sampled_log_weights
from lamina.errors import ConfigError


class SigmoidBeliefNetwork(nn.Module):
    """p(x, h¹ … hᴸ) = p(hᴸ) p(hᴸ⁻¹ | hᴸ) … p(x | h¹), all factors products over units.

        P(hᴸ_j = 1) = σ(a_j),   P(hᵏ⁻¹_j = 1 | hᵏ) = σ(bᵏ⁻¹ + Wᵏ hᵏ)_j

    Sampling is one pass down and exact. The posterior p(h | x) is not a product, since causes of the same effect
    explain each other away; ``layers.recognition`` is a guess q(h | x) at it, which ``WakeSleep`` learns together
    with the network. On networks of up to 25 hidden units ``log_likelihood`` is exact and has derivatives, so that
    small ones can be trained by maximum likelihood with autograd.

    Not where a likelihood or good samples are the aim and there are many units: the bound is loose. A deep belief
    network has an undirected top, under which one layer's posterior can be a product.

    Args:
        sizes: Units of x, h¹, …, hᴸ, from below.
        visible: Type of x; hidden units are Bernoulli.
        std: Standard deviation of the weights at the start; biases start at 0.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If there is no hidden layer or a size is below 1.

    Reference: Neal, "Connectionist Learning of Belief Networks", Artificial Intelligence 56, 1992; Saul, Jaakkola &
    Jordan, "Mean Field Theory for Sigmoid Belief Networks", JAIR 4, 1996.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        visible: Units = Bernoulli(),  # noqa: B008  frozen
        *,
        std: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ConfigError(
                f"needs at least one hidden layer, got sizes {tuple(sizes)}", where="SigmoidBeliefNetwork"
            )
        self.layers = DirectedLayers(sizes, visible, std=std, generator=generator)
        self.prior_bias = nn.Parameter(torch.zeros(sizes[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of hᴸ that the recognition weights guess, ``(N, n_L)``."""
        return self.layers.means(x)[-1]

    def log_joint(self, units: Sequence[Tensor]) -> Tensor:
        """Return log p(x, h¹ … hᴸ) in nats of rows that belong together, ``(...)``; leading axes broadcast."""
        top = units[-1]
        prior = top @ self.prior_bias - Bernoulli().log_partition(self.prior_bias)
        return self.layers.log_p(units) + prior

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None = None) -> list[Tensor]:
        """Return x, h¹, …, hᴸ of n states, drawn from the top down, each ``(n, units)``."""
        top = Bernoulli().sample(self.prior_bias.expand(n, -1), generator)
        return self.layers.generate(top, generator)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats by enumerating all hidden states, at most 2^25; it has derivatives, ``(N,)``."""
        return enumerated_log_sum(
            lambda h: self.log_joint(self._with(x, h)), self.layers.n_hidden, x, sum(self.layers.sizes)
        )

    def exact_bound(self, x: Tensor) -> VariationalBound:
        """Return log p(x) and E_q[log p(x, h) - log q(h | x)] of the recognition weights, by enumeration."""
        return enumerated_bound(
            lambda h: self.log_joint(self._with(x, h)),
            lambda h: self.layers.log_q(self._with(x, h)),
            self.layers.n_hidden,
            x,
            sum(self.layers.sizes),
        )

    def log_weights(self, x: Tensor, samples: int = 100, generator: Generator | None = None) -> Tensor:
        """Return log p(x, h) - log q(h | x) of states drawn from q.

        Their mean over samples is an unbiased estimate of the bound; the logarithm of the mean of their exponentials
        lies between the bound and log p(x) on average, and nears the latter with more samples.

        Args:
            x: ``(N, n_0)``.
            samples: Draws an example.
            generator: Their source; None is PyTorch's default generator.

        Returns:
            ``(samples, N)``, in nats.
        """

        def weigh(rows: Tensor) -> Tensor:
            units = self.layers.infer(rows, generator)
            return self.log_joint(units) - self.layers.log_q(units)

        return sampled_log_weights(weigh, x, samples, sum(self.layers.sizes))

    def _with(self, x: Tensor, hidden: Tensor) -> list[Tensor]:
        return [x[:, None], *(h[None] for h in self.layers.split(hidden))]
