"""Layers of units with arrows down, which generate, and arrows up, which guess what generated an input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from lamina.energy.stochastic_layer import StochasticLayer
from lamina.energy.units import Bernoulli, Units
from lamina.errors import ConfigError


class DirectedLayers(nn.Module):
    """What lies below the top of a sigmoid belief network or a deep belief network.

        p(x, h¹ … hᵐ⁻¹ | hᵐ) = p(x | h¹) p(h¹ | h²) … p(hᵐ⁻¹ | hᵐ)      generative, down
        q(h¹ … hᵐ | x) = q(h¹ | x) q(h² | h¹) … q(hᵐ | hᵐ⁻¹)            recognition, up

    each factor that of a ``StochasticLayer``. The recognition weights begin as the generative ones transposed, and are
    parameters of their own. States are lists x, h¹, …, hᵐ.

    Args:
        sizes: Units of x, h¹, …, hᵐ.
        visible: Type of x; hidden units are Bernoulli.
        std: Standard deviation of the weights at the start.
        generator: Their source; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1, or the type of x has no meaning here.
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
        if not sizes or min(sizes) < 1 or not std >= 0.0:
            raise ConfigError(
                f"sizes must be at least 1 and std at least 0, got {tuple(sizes)} and {std}", where="DirectedLayers"
            )
        visible.check(sizes[0], "visible")
        self.sizes = tuple(sizes)
        self.generative = nn.ModuleList()
        self.recognition = nn.ModuleList()
        for k, (below, above) in enumerate(pairwise(sizes)):
            units = visible if k == 0 else Bernoulli()
            down = StochasticLayer(above, below, units, std=std, generator=generator)
            up = StochasticLayer(below, above, std=0.0)
            with torch.no_grad():
                up.weight.copy_(down.weight.t())
            self.generative.append(down)
            self.recognition.append(up)

    @property
    def down(self) -> list[StochasticLayer]:
        """The generative layers; the first gives x."""
        return [layer for layer in self.generative if isinstance(layer, StochasticLayer)]

    @property
    def up(self) -> list[StochasticLayer]:
        """The recognition layers; the first gives h¹."""
        return [layer for layer in self.recognition if isinstance(layer, StochasticLayer)]

    @property
    def n_hidden(self) -> int:
        """Hidden units of all layers together."""
        return sum(self.sizes[1:])

    @torch.no_grad()
    def infer(self, x: Tensor, generator: Generator | None = None) -> list[Tensor]:
        """Return x, h¹, …, hᵐ, the latter drawn from q(· | x), each ``(..., n)``."""
        units = [x]
        for layer in self.up:
            units.append(layer.sample(units[-1], generator))
        return units

    def means(self, x: Tensor) -> list[Tensor]:
        """Return x and the layers' means when each is given the means below it, each ``(..., n)``."""
        units = [x]
        for layer in self.up:
            units.append(layer.mean(units[-1]))
        return units

    @torch.no_grad()
    def generate(self, top: Tensor, generator: Generator | None = None) -> list[Tensor]:
        """Return x, h¹, …, hᵐ, drawn downwards from hᵐ, each ``(..., n)``."""
        units = [top]
        for layer in reversed(self.down):
            units.append(layer.sample(units[-1], generator))
        return units[::-1]

    def log_p(self, units: Sequence[Tensor]) -> Tensor:
        """Return Σ_k log p(hᵏ⁻¹ | hᵏ), ``(...)``; leading axes broadcast. Without layers it is 0."""
        terms = [layer.log_prob(x, given) for layer, x, given in zip(self.down, units, units[1:], strict=False)]
        return sum(terms, units[0].new_zeros(units[0].shape[:-1]))

    def log_q(self, units: Sequence[Tensor]) -> Tensor:
        """Return Σ_k log q(hᵏ | hᵏ⁻¹), ``(...)``; leading axes broadcast. Without layers it is 0."""
        terms = [layer.log_prob(h, given) for layer, given, h in zip(self.up, units, units[1:], strict=False)]
        return sum(terms, units[0].new_zeros(units[0].shape[:-1]))

    def split(self, hidden: Tensor) -> list[Tensor]:
        """Return h¹, …, hᵐ of rows of all hidden units, ``(S, n_hidden)``."""
        return list(torch.split(hidden, list(self.sizes[1:]), dim=-1))
