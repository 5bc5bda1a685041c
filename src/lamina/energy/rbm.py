"""The restricted Boltzmann machine: two layers of units, an energy, and no connections within a layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from lamina.energy.exact import count_states, log_sum_over_states
from lamina.energy.pseudo_likelihood import pseudo_likelihood
from lamina.energy.units import Bernoulli, Gaussian, Units
from lamina.errors import ConfigError


class RBM(nn.Module):
    """p(v, h) = e^-E(v, h) / Z, so that each layer's units are independent given the other layer.

        E(v, h) = -h·W v - b·v - c·h                            Bernoulli units
        E(v, h) = Σ_i (v_i - b_i)² / 2σ_i² - h·W (v / σ²) - c·h   Gaussian visible units
        P(h_j = 1 | v) = σ(c + W v)_j,   P(v_i = 1 | h) = σ(b + Wᵀ h)_i;   Gaussian: v | h ~ N(b + Wᵀ h, σ²)
        F(v) = -log Σ_h e^-E(v, h) = -b·v - Σ_j log(1 + e^(c + W v)_j),   p(v) = e^-F(v) / Z

    In general a layer is an exponential family (``lamina.energy.units``): Gaussian hidden units have ½ Σ (h - c)² for
    -c·h, and so on. The parameters are ``weight`` W, ``(n_hidden, n_visible)`` as in ``nn.Linear``, so that an encoder
    starts with ``linear.weight.copy_(rbm.weight)``; ``visible_bias`` b; ``hidden_bias`` c; and with learnt variances
    ``visible_log_variance`` log σ², which is None without. Called, it returns the hidden means: it is its own encoder.

    The variance's place is Cho, Ilin & Raiko's: b + Wᵀ h is the mean whatever σ is, where Krizhevsky (2009) has
    b + σ Wᵀ h.

    Args:
        n_visible: Visible units; of ``Softmax(k)`` count units, not groups.
        n_hidden: Hidden units.
        visible: Their type.
        hidden: Their type.
        std: Standard deviation of the weights at the start; biases start at 0.
        chains: Persistent Markov chains to keep beside the weights, in the buffer ``chains``, so that checkpoints carry
            them; 0 for none.
        generator: Source of the weights and the chains' start; None is PyTorch's default generator.

    Raises:
        ConfigError: If a number is out of range, a unit type has no meaning on its side, or both sides are Gaussian.

    Reference: Smolensky, "Information Processing in Dynamical Systems", 1986; Hinton, "A Practical Guide to Training
    Restricted Boltzmann Machines", 2010; Cho, Ilin & Raiko, "Improved Learning of Gaussian-Bernoulli Restricted
    Boltzmann Machines", ICANN 2011.
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        visible: Units = Bernoulli(),  # noqa: B008  frozen
        hidden: Units = Bernoulli(),  # noqa: B008
        *,
        std: float = 0.01,
        chains: int = 0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if min(n_visible, n_hidden) < 1 or chains < 0 or not std >= 0.0:
            raise ConfigError(
                "n_visible and n_hidden must be at least 1, chains and std at least 0, "
                f"got {n_visible}, {n_hidden}, {chains} and {std}",
                where="RBM",
            )
        visible.check(n_visible, "visible")
        hidden.check(n_hidden, "hidden")
        if isinstance(visible, Gaussian) and isinstance(hidden, Gaussian):
            raise ConfigError(
                "with both sides Gaussian the machine is one Gaussian, and has no density where ‖W‖ reaches 1",
                where="RBM",
                mend="use sklearn.decomposition.FactorAnalysis",
            )
        self.visible, self.hidden = visible, hidden
        self.weight = nn.Parameter(torch.empty(n_hidden, n_visible).normal_(0.0, std, generator=generator))
        self.visible_bias = nn.Parameter(torch.zeros(n_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))
        learnt = isinstance(visible, Gaussian) and visible.learn_variance
        self.visible_log_variance = nn.Parameter(torch.zeros(n_visible)) if learnt else None
        self.chains: Tensor | None
        self.register_buffer("chains", None)
        if chains:
            self.chains = visible.sample(torch.zeros(chains, n_visible), generator)

    @property
    def n_visible(self) -> int:
        """Visible units."""
        return self.weight.shape[1]

    @property
    def n_hidden(self) -> int:
        """Hidden units."""
        return self.weight.shape[0]

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"{self.n_visible}, {self.n_hidden}, visible={self.visible}, hidden={self.hidden}"

    def forward(self, v: Tensor) -> Tensor:
        """Return the hidden means, ``(N, n_hidden)``."""
        return self.hidden_given(v)

    def hidden_input(self, v: Tensor) -> Tensor:
        """Return c + W v, or c + W (v / σ²), ``(N, n_hidden)``."""
        v = v if self.visible_log_variance is None else v * torch.exp(-self.visible_log_variance)
        return torch.addmm(self.hidden_bias, v, self.weight.t())

    def visible_input(self, h: Tensor) -> Tensor:
        """Return b + Wᵀ h, ``(N, n_visible)``."""
        return torch.addmm(self.visible_bias, h, self.weight)

    def hidden_given(self, v: Tensor) -> Tensor:
        """Return the means of the hidden units given the visible ones, ``(N, n_hidden)``."""
        return self.hidden.mean(self.hidden_input(v))

    def visible_given(self, h: Tensor) -> Tensor:
        """Return the means of the visible units given the hidden ones, ``(N, n_visible)``."""
        return self._unscaled(self.visible.mean(self._scaled(self.visible_input(h))))

    @torch.no_grad()
    def sample_hidden(self, v: Tensor, generator: Generator | None = None, beta: Tensor | None = None) -> Tensor:
        """Return hidden units drawn given the visible ones, ``(N, n_hidden)``.

        Args:
            v: ``(N, n_visible)``.
            generator: Source of the draws; None is PyTorch's default generator.
            beta: ``(N, 1)``, inverse temperatures that multiply the units' inputs; None is 1.
        """
        theta = self.hidden_input(v)
        return self.hidden.sample(theta if beta is None else beta * theta, generator)

    @torch.no_grad()
    def sample_visible(self, h: Tensor, generator: Generator | None = None, beta: Tensor | None = None) -> Tensor:
        """Return visible units drawn given the hidden ones, ``(N, n_visible)``.

        Args:
            h: ``(N, n_hidden)``.
            generator: Source of the draws; None is PyTorch's default generator.
            beta: ``(N, 1)``, inverse temperatures that multiply the units' inputs; None is 1.
        """
        theta = self._scaled(self.visible_input(h))
        return self._unscaled(self.visible.sample(theta if beta is None else beta * theta, generator))

    @torch.no_grad()
    def gibbs(
        self, v: Tensor, sweeps: int = 1, generator: Generator | None = None, *, reconstruction: str = "sample"
    ) -> Tensor:
        """Make sweeps of h ~ p(h | v), v ~ p(v | h), each of which leaves the machine's distribution as it is.

        Args:
            v: ``(N, n_visible)``, where to start.
            sweeps: How many.
            generator: Source of the samples; None is PyTorch's default generator.
            reconstruction: "mean" sets v to its mean instead of drawing it: less noise, but no longer a Markov chain of
                the machine.

        Returns:
            ``(N, n_visible)``.
        """
        for _ in range(sweeps):
            h = self.sample_hidden(v, generator)
            v = self.visible_given(h) if reconstruction == "mean" else self.sample_visible(h, generator)
        return v

    def exponent(self, v: Tensor, h: Tensor) -> Tensor:
        """Return b·v + c·h + h·W v, what an inverse temperature multiplies, of rows that belong together, ``(N,)``."""
        return self._scaled(v) @ self._scaled(self.visible_bias) + (h * self.hidden_input(v)).sum(-1)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """Return E(v, h) of rows that belong together, ``(N,)``."""
        coupled = (h * self.hidden_input(v)).sum(-1)
        return self.visible_energy(v) - coupled - self.hidden.log_base(h) + self.hidden.offset(self.hidden_bias)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return F(v) = -log Σ_h e^-E(v, h), ``(N,)``."""
        summed = self.hidden.log_partition(self.hidden_input(v))
        return self.visible_energy(v) - summed + self.hidden.offset(self.hidden_bias)

    def hidden_free_energy(self, h: Tensor) -> Tensor:
        """Return -log Σ_v e^-E(v, h), ``(N,)``."""
        summed = self.visible.log_partition(self._scaled(self.visible_input(h)))
        if self.visible_log_variance is not None:
            summed = summed + 0.5 * self.visible_log_variance.sum()
        own = -self.hidden.log_base(h) - h @ self.hidden_bias + self.hidden.offset(self.hidden_bias)
        return own + self.visible.offset(self._scaled(self.visible_bias)) - summed

    def log_partition(self, *, differentiable: bool = False) -> Tensor:
        """Return log Z by enumerating the side with fewer states, at most 2^25.

        Args:
            differentiable: Keep what derivatives need, for maximum likelihood on tiny machines; memory is then that of
                all states, where else it is that of a piece of them.

        Returns:
            A scalar.
        """
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            return self._log_partition()

    def _log_partition(self) -> Tensor:
        if count_states(self.hidden, self.n_hidden) <= count_states(self.visible, self.n_visible):
            return log_sum_over_states(
                self.hidden, self.n_hidden, lambda h: -self.hidden_free_energy(h), self.weight, self.n_visible
            )
        return log_sum_over_states(
            self.visible, self.n_visible, lambda v: -self.free_energy(v), self.weight, self.n_hidden
        )

    def log_likelihood(self, v: Tensor, log_z: Tensor | float) -> Tensor:
        """Return log p(v) = -F(v) - log Z in nats, ``(N,)``; log Z is exact or estimated (``annealed_importance``)."""
        return -self.free_energy(v) - log_z

    def pseudo_likelihood(
        self, v: Tensor, flips: Tensor | Literal["all", "one"] = "all", generator: Generator | None = None
    ) -> Tensor:
        """Return the log pseudo-likelihood of each row: see ``lamina.energy.pseudo_likelihood``, ``(N,)``."""
        return pseudo_likelihood(self, v, flips, generator)

    @torch.no_grad()
    def set_visible_bias(self, inputs: Tensor) -> None:
        """Set the visible biases so that without weights the machine has the data's means (Hinton's guide, section 8).

        Args:
            inputs: ``(N, n_visible)``; means of bounded units are drawn inward as by one more example of all values.
        """
        self.visible_bias.copy_(self.base_rates(inputs))

    def base_rates(self, inputs: Tensor) -> Tensor:
        """Return the visible biases that give the data's means without weights, ``(n_visible,)``."""
        mean = inputs.mean(0)
        if isinstance(self.visible, Gaussian):
            return mean
        middle = self.visible.mean(torch.zeros_like(mean))
        return self.visible.natural(mean + (middle - mean) / (len(inputs) + 1))

    def visible_energy(self, v: Tensor) -> Tensor:
        """Return the part of the energy that no hidden unit changes, ``(N,)``."""
        v, bias = self._scaled(v), self._scaled(self.visible_bias)
        return self.visible.offset(bias) - self.visible.log_base(v) - v @ bias

    def _scaled(self, v: Tensor) -> Tensor:
        return v if self.visible_log_variance is None else v * torch.exp(-0.5 * self.visible_log_variance)

    def _unscaled(self, v: Tensor) -> Tensor:
        return v if self.visible_log_variance is None else v * torch.exp(0.5 * self.visible_log_variance)
