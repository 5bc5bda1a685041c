"""The deep Boltzmann machine: layers of binary units, connections between neighbours, none of them directed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from lamina.energy.units import Bernoulli
from lamina.energy.variational import VariationalBound, enumerated_bound, enumerated_log_sum
from lamina.errors import ConfigError


class DeepBoltzmannMachine(nn.Module):
    """p(x, h¹ … hᴸ) = e^-E / Z with h⁰ = x,   E = -Σ_k hᵏ·Wᵏ hᵏ⁻¹ - Σ_k bᵏ·hᵏ.

        P(hᵏ_j = 1 | the rest) = σ(bᵏ + Wᵏ hᵏ⁻¹ + Wᵏ⁺¹ᵀ hᵏ⁺¹)_j
        log p(x) ≥ -E(x, μ) + H(μ) - log Z,   μᵏ = σ(bᵏ + Wᵏ μᵏ⁻¹ + Wᵏ⁺¹ᵀ μᵏ⁺¹)      mean field

    Unlike a deep belief network's, a layer's belief depends on the layers above it too, so inference iterates. Given
    all layers of one parity those of the other are independent: a Gibbs sweep draws the even ones, then the odd ones,
    and enumeration needs the states of one parity only. ``MeanFieldLearning`` trains it, after
    ``pretrain_deep_boltzmann``, without which machines of several large layers hardly learn.

    Not with one hidden layer (``RBM`` is that, with exact inference), and not to classify with or for likelihoods of
    pictures to report.

    Args:
        sizes: Units of x, h¹, …, hᴸ, from below; at least two hidden layers. Rows of x between 0 and 1 are
            probabilities.
        std: Standard deviation of the weights at the start; biases start at 0.
        chains: Persistent Markov chains to keep beside the weights, in the buffer ``chains``, so that checkpoints carry
            them; 0 for none.
        generator: Source of the weights and the chains' start; None is PyTorch's default generator.

    Raises:
        ConfigError: If there are fewer than two hidden layers, or a number is out of range.

    Reference: Salakhutdinov & Hinton, "Deep Boltzmann Machines", AISTATS 2009.
    """

    def __init__(
        self, sizes: Sequence[int], *, std: float = 0.01, chains: int = 0, generator: Generator | None = None
    ) -> None:
        super().__init__()
        if len(sizes) < 3:
            raise ConfigError(
                f"needs at least two hidden layers, got sizes {tuple(sizes)}",
                where="DeepBoltzmannMachine",
                mend="use RBM",
            )
        if min(sizes) < 1 or chains < 0 or not std >= 0.0:
            raise ConfigError(
                f"sizes must be at least 1, chains and std at least 0, got {tuple(sizes)}, {chains} and {std}",
                where="DeepBoltzmannMachine",
            )
        self.sizes = tuple(sizes)
        self.weights = nn.ParameterList(
            torch.empty(above, below).normal_(0.0, std, generator=generator) for below, above in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes)
        self.chains: Tensor | None
        self.register_buffer("chains", None)
        if chains:
            self.chains = Bernoulli().sample(torch.zeros(chains, sum(sizes)), generator)

    @property
    def depth(self) -> int:
        """L, hidden layers."""
        return len(self.sizes) - 1

    def split(self, rows: Tensor) -> list[Tensor]:
        """Return x, h¹, …, hᴸ of rows of all units, as the chains hold them."""
        return list(torch.split(rows, list(self.sizes), dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean-field means of hᴸ, ``(N, n_L)``."""
        return self.mean_field(x)[-1]

    def layer_input(self, k: int, units: Sequence[Tensor | None]) -> Tensor:
        """Return bᵏ + Wᵏ hᵏ⁻¹ + Wᵏ⁺¹ᵀ hᵏ⁺¹, ``(..., n_k)``; a neighbour that is None sends nothing."""
        total: Tensor = self.biases[k]
        below = units[k - 1] if k > 0 else None
        above = units[k + 1] if k < self.depth else None
        if below is not None:
            total = total + below @ self.weights[k - 1].t()
        if above is not None:
            total = total + above @ self.weights[k]
        return total

    def energy(self, units: Sequence[Tensor]) -> Tensor:
        """Return E(x, h¹ … hᴸ) of rows that belong together, ``(...)``."""
        return -self._log_sum_out(units)

    def _log_sum_out(self, units: Sequence[Tensor | None]) -> Tensor:
        """Return log Σ e^-E over the layers that are None, no two of which are neighbours, ``(...)``."""
        terms = [
            softplus(self.layer_input(k, units)).sum(-1) if one is None else one @ self.biases[k]
            for k, one in enumerate(units)
        ]
        for k, (below, above) in enumerate(pairwise(units)):
            if below is not None and above is not None:
                terms.append((above * (below @ self.weights[k].t())).sum(-1))
        return sum(terms[1:], terms[0])

    @torch.no_grad()
    def gibbs(
        self, units: Sequence[Tensor], sweeps: int = 1, generator: Generator | None = None, *, clamped: bool = False
    ) -> list[Tensor]:
        """Make sweeps, each of which draws the even layers given the odd ones, then the odd ones.

        Args:
            units: x, h¹, …, hᴸ, each ``(N, n)``, where to start; even hidden layers do not matter.
            sweeps: How many.
            generator: Source of the draws; None is PyTorch's default generator.
            clamped: Leave x as it is: the sweeps keep p(h | x) instead of p(x, h).

        Returns:
            x, h¹, …, hᴸ.
        """
        state = list(units)
        order = [*range(0, self.depth + 1, 2), *range(1, self.depth + 1, 2)]
        for _ in range(sweeps):
            for k in order[1:] if clamped else order:
                state[k] = Bernoulli().sample(self.layer_input(k, state), generator)
        return state

    @torch.no_grad()
    def mean_field(self, x: Tensor, sweeps: int = 10) -> list[Tensor]:
        """Return the means μ¹ … μᴸ of the product q(h | x) that coordinate ascent of the bound comes to.

        It starts with one pass up, in which each layer's input from below is doubled for what it lacks from above (not
        the last layer's), and alternates between the odd and the even layers; the bound never falls. Ten sweeps nearly
        always suffice.

        Args:
            x: ``(N, n_0)``.
            sweeps: How many.

        Returns:
            Each ``(N, n_k)``.
        """
        means = [x]
        for k in range(1, self.depth + 1):
            lacks = 1.0 if k == self.depth else 2.0
            means.append(torch.sigmoid(self.biases[k] + lacks * (means[-1] @ self.weights[k - 1].t())))
        for _ in range(sweeps):
            for k in (*range(1, self.depth + 1, 2), *range(2, self.depth + 1, 2)):
                means[k] = torch.sigmoid(self.layer_input(k, means))
        return means[1:]

    def bound(self, x: Tensor, log_z: Tensor | float, means: Sequence[Tensor] | None = None) -> Tensor:
        """Return -E(x, μ) + H(μ) - log Z ≤ log p(x), in nats, ``(N,)``.

        Args:
            x: ``(N, n_0)``.
            log_z: Exact (``log_partition``) or estimated (``annealed_importance`` with a ``DeepBoltzmannPath``).
            means: μ¹ … μᴸ of any product; None is the mean field's.

        Returns:
            A number an example.
        """
        means = self.mean_field(x) if means is None else means
        entropy = sum((_entropy(mu) for mu in means), x.new_zeros(len(x)))
        return entropy - self.energy([x, *means]) - log_z

    def log_partition(self) -> Tensor:
        """Return log Z by enumerating the layers of one parity, at most 25 units, a scalar; it has derivatives."""
        return self._log_sum(None, self.weights[0].new_zeros(1))[0]

    def log_likelihood(self, x: Tensor, log_z: Tensor | float) -> Tensor:
        """Return log p(x) in nats by enumerating the hidden layers of one parity, at most 25 units, ``(N,)``."""
        return self._log_sum(x, x) - log_z

    def _log_sum(self, x: Tensor | None, like: Tensor) -> Tensor:
        """Return log Σ e^-E over all layers, or all but x where it is given; a number a row of ``like``."""
        first = 0 if x is None else 1
        free = range(first, self.depth + 1)
        chosen = min(
            ([k for k in free if k % 2 == parity] for parity in (0, 1)),
            key=lambda some: sum(self.sizes[k] for k in some),
        )

        def term(states: Tensor) -> Tensor:
            units: list[Tensor | None] = [None] * (self.depth + 1)
            if x is not None:
                units[0] = x[:, None]
            cut = torch.split(states, [self.sizes[k] for k in chosen], dim=-1)
            for k, one in zip(chosen, cut, strict=True):
                units[k] = one[None]
            return self._log_sum_out(units)

        return enumerated_log_sum(term, sum(self.sizes[k] for k in chosen), like, sum(self.sizes))

    def exact_bound(self, x: Tensor, log_z: Tensor | float, means: Sequence[Tensor] | None = None) -> VariationalBound:
        """Return log p(x), the bound of a product with given means and their gap, by enumerating all hidden states.

        Args:
            x: ``(N, n_0)``.
            log_z: See ``bound``.
            means: See ``bound``.

        Returns:
            A number an example, in nats.
        """
        q = torch.cat(list(self.mean_field(x) if means is None else means), 1)[:, None]
        hidden = list(self.sizes[1:])

        def joint(h: Tensor) -> Tensor:
            return -self.energy([x[:, None], *(part[None] for part in torch.split(h, hidden, dim=-1))]) - log_z

        def log_q(h: Tensor) -> Tensor:
            return torch.where(h > 0, q, 1.0 - q).log().sum(-1)

        return enumerated_bound(joint, log_q, sum(hidden), x, sum(self.sizes))

    @torch.no_grad()
    def set_visible_bias(self, inputs: Tensor) -> None:
        """Set b⁰ so that without weights the machine has the data's means, drawn inward as by one more grey example."""
        self.biases[0].copy_(base_rates(inputs))

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return "-".join(map(str, self.sizes))


def base_rates(inputs: Tensor) -> Tensor:
    """Return the biases that give the data's means without weights, drawn inward as by one more grey example."""
    mean = inputs.mean(0)
    return (mean + (0.5 - mean) / (len(inputs) + 1)).logit()


def _entropy(mean: Tensor) -> Tensor:
    return -(torch.xlogy(mean, mean) + torch.xlogy(1.0 - mean, 1.0 - mean)).sum(-1)
