"""The path from a machine without weights to a deep Boltzmann machine, for annealed importance sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from lamina.energy.deep_boltzmann import DeepBoltzmannMachine, base_rates
from lamina.energy.units import Bernoulli


class DeepPathState(NamedTuple):
    """Where the chains stand.

    Attributes:
        odd: h¹, h³, …, each ``(chains, n)``.
        linear: ``(chains,)``, Σ_k bᵏ·hᵏ over the odd layers.
        inputs: bᵏ and what the odd layers send, of the even layers, each ``(chains, n)``.
    """

    odd: list[Tensor]
    linear: Tensor
    inputs: list[Tensor]


class DeepBoltzmannPath:
    """A path over the odd layers, the even ones summed out, from the base-rate model at β = 0 to the machine at β = 1.

        p*_β(h¹, h³ …) = e^(β Σ_odd b·h) Π_even (1 + e^θ),   θ = β (bᵏ + W hᵏ⁻¹ + Wᵀ hᵏ⁺¹),   of x: (1 - β) b₀ + β (…)
        log Z_0 = Σ log(1 + e^b₀) + (hidden units) log 2

    The base rates b₀ are those of the data. A sweep draws the even layers, then the odd ones.

    Args:
        machine: The machine.
        inputs: ``(N, n_0)`` data for the base rates; without, b₀ is the machine's own visible bias.

    Reference: Salakhutdinov & Hinton, "Deep Boltzmann Machines", AISTATS 2009, section 3.3.
    """

    def __init__(self, machine: DeepBoltzmannMachine, inputs: Tensor | None = None) -> None:
        self.machine = machine
        with torch.no_grad():
            self.base = machine.biases[0].detach() if inputs is None else base_rates(inputs)
        self._odd = range(1, machine.depth + 1, 2)
        self._even = range(0, machine.depth + 1, 2)

    @property
    def log_z_start(self) -> Tensor:
        """Log Z_0, a scalar."""
        return softplus(self.base).sum() + sum(self.machine.sizes[1:]) * math.log(2.0)

    @torch.no_grad()
    def start(self, chains: int, generator: Generator | None = None) -> DeepPathState:
        """Return chains drawn from the base-rate model, whose hidden units are fair coins."""
        sizes = [self.machine.sizes[k] for k in self._odd]
        return self._state([Bernoulli().sample(self.base.new_zeros(chains, n), generator) for n in sizes])

    @torch.no_grad()
    def state(self, units: Sequence[Tensor]) -> DeepPathState:
        """Return the state of chains at given units x, h¹, …, of which the odd layers matter."""
        return self._state([units[k] for k in self._odd])

    @torch.no_grad()
    def log_ratio(self, state: DeepPathState, new: float, old: float) -> Tensor:
        """Return log p*_new - log p*_old, ``(chains,)``."""
        gained = (new - old) * state.linear
        for k, total in zip(self._even, state.inputs, strict=True):
            gained = gained + (softplus(self._at(k, total, new)) - softplus(self._at(k, total, old))).sum(-1)
        return gained

    @torch.no_grad()
    def move(self, state: DeepPathState, beta: float, generator: Generator | None = None) -> DeepPathState:
        """Return the chains after one Gibbs sweep at β, reversible as seen from the odd layers."""
        machine = self.machine
        units: list[Tensor | None] = [None] * (machine.depth + 1)
        for k, total in zip(self._even, state.inputs, strict=True):
            units[k] = Bernoulli().sample(self._at(k, total, beta), generator)
        return self._state([Bernoulli().sample(beta * machine.layer_input(k, units), generator) for k in self._odd])

    def _at(self, k: int, total: Tensor, beta: float) -> Tensor:
        return torch.lerp(self.base.expand_as(total), total, beta) if k == 0 else beta * total

    def _state(self, odd: list[Tensor]) -> DeepPathState:
        machine = self.machine
        units: list[Tensor | None] = [None] * (machine.depth + 1)
        for k, one in zip(self._odd, odd, strict=True):
            units[k] = one
        linear = sum((one @ machine.biases[k] for k, one in zip(self._odd, odd, strict=True)), odd[0].new_zeros(()))
        return DeepPathState(odd, linear, [machine.layer_input(k, units) for k in self._even])
