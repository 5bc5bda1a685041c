"""The path from a machine without weights to a restricted Boltzmann machine, for annealed importance sampling."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from lamina.energy.rbm import RBM
from lamina.energy.units import Rectified
from lamina.errors import ConfigError


class PathState(NamedTuple):
    """Where the chains stand.

    Attributes:
        v: ``(chains, n_visible)``, in units of σ where the machine has one.
        turned: ``(chains,)``, (b - b₀)·v.
        hidden: ``(chains, n_hidden)``, c + W v.
    """

    v: Tensor
    turned: Tensor
    hidden: Tensor


class RBMPath:
    """A path from the base-rate model at β = 0 to the machine at β = 1.

        p*_β(v, h) = base(v) base(h) exp((1 - β) b₀·v + β (b·v + c·h + h·W v))
        log p*_β(v) = (1 - β) b₀·v + β b·v + log base(v) + A(β (c + W v))
        log Z_0 = A_visible(b₀) + A_hidden(0)

    The base rates b₀ are those of the data, from which the chains have a shorter way than from an even start. A sweep
    costs two matrix products. The paper's base model has hidden biases of 0 and no weights; so has this one.

    Args:
        rbm: The machine.
        inputs: ``(N, n_visible)`` data for the base rates; without, b₀ is the machine's own visible bias.

    Raises:
        ConfigError: If the hidden units are Rectified, whose samples are not exact.

    Reference: Salakhutdinov & Murray, "On the Quantitative Analysis of Deep Belief Networks", ICML 2008, section 4.1.
    """

    def __init__(self, rbm: RBM, inputs: Tensor | None = None) -> None:
        if isinstance(rbm.hidden, Rectified):
            raise ConfigError(
                "samples of Rectified units do not keep the machine's distribution, so weights of chains mean nothing",
                where="RBMPath",
                mend="use hidden=Binomial(n)",
            )
        self.rbm = rbm
        with torch.no_grad():
            base = rbm.visible_bias if inputs is None else rbm.base_rates(inputs)
            self._scale = None if rbm.visible_log_variance is None else torch.exp(0.5 * rbm.visible_log_variance)
            self.base, self.bias = self._over(base), self._over(rbm.visible_bias)
            self.weight = self._over(rbm.weight).detach()
            self.offset = rbm.visible.offset(self.bias) + rbm.hidden.offset(rbm.hidden_bias)

    def _over(self, x: Tensor) -> Tensor:
        return x.detach() if self._scale is None else x.detach() / self._scale

    @property
    def log_z_start(self) -> Tensor:
        """Log Z_0, a scalar."""
        rbm = self.rbm
        start = rbm.visible.log_partition(self.base) + rbm.hidden.log_partition(torch.zeros_like(rbm.hidden_bias))
        return (start if self._scale is None else start + self._scale.log().sum()).detach()

    def state(self, v: Tensor) -> PathState:
        """Return the state of chains at given visible units, ``(chains, n_visible)``."""
        return self._state(self._over(v))

    def visible(self, state: PathState) -> Tensor:
        """Return the visible units of a state, ``(chains, n_visible)``."""
        return state.v if self._scale is None else state.v * self._scale

    def start(self, chains: int, generator: Generator | None = None) -> PathState:
        """Return chains drawn from the base-rate model."""
        return self._state(self.rbm.visible.sample(self.base.expand(chains, -1), generator))

    def log_ratio(self, state: PathState, new: float, old: float) -> Tensor:
        """Return log p*_new(v) - log p*_old(v), ``(chains,)``."""
        hidden = self.rbm.hidden
        gained = hidden.log_partition(new * state.hidden) - hidden.log_partition(old * state.hidden)
        return (new - old) * (state.turned - self.offset) + gained

    def move(self, state: PathState, beta: float, generator: Generator | None = None) -> PathState:
        """Return the chains after one Gibbs sweep at β, reversible as seen from v."""
        h = self.rbm.hidden.sample(beta * state.hidden, generator)
        theta = torch.addmm(torch.lerp(self.base, self.bias, beta), h, self.weight, alpha=beta)
        return self._state(self.rbm.visible.sample(theta, generator))

    def _state(self, v: Tensor) -> PathState:
        turned = v @ (self.bias - self.base)
        hidden = torch.addmm(self.rbm.hidden_bias.detach(), v, self.weight.t())
        return PathState(v, turned, hidden)
