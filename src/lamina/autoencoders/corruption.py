"""Corruption of inputs, for denoising autoencoders: ``corruption(inputs, generator) -> inputs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.nn.noise._draw import check_std, standard_normal


@runtime_checkable
class Corruption(Protocol):
    """Anything that draws a corrupted version of inputs, of the same shape."""

    def __call__(self, inputs: Tensor, generator: Generator | None = None) -> Tensor:
        """Return x̃ drawn given x."""
        ...


@dataclass(frozen=True)
class Masking:
    """Some components, chosen anew for each example, are set to 0: x̃_i = 0 with probability p, else x_i.

    What is left is not scaled up, as dropout would. For data of which 0 is an ordinary value (standardised ones) it
    puts the mean in place of a number; a network then cannot see what is missing.

    Differs from the reference: each component is drawn for itself, so that the fraction is p on average, where the
    reference has ⌊p D⌋ components of every example.

    Args:
        p: Probability of each component, in [0, 1).

    Raises:
        ConfigError: If p is out of range.

    Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008, section 2.2.
    """

    p: float

    def __post_init__(self) -> None:
        _check("Masking", self.p)

    def __call__(self, inputs: Float[Tensor, "N ..."], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Return x̃ drawn given x; None is PyTorch's default generator."""
        return inputs * (_uniform(inputs, generator) >= self.p)


@dataclass(frozen=True)
class SaltAndPepper:
    """Some components are set to the least or the greatest value, by a fair coin.

        x̃_i = low with probability p/2, high with probability p/2, else x_i

    Args:
        p: Probability of each component, in [0, 1).
        low: The least value.
        high: The greatest.

    Raises:
        ConfigError: If p is out of range, or low is not below high.

    Reference: Vincent, Larochelle, Lajoie, Bengio & Manzagol, "Stacked Denoising Autoencoders", JMLR 11, 2010,
    section 3.3.
    """

    p: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check("SaltAndPepper", self.p)
        if not self.low < self.high:
            raise ConfigError(f"low must be below high, got {self.low} and {self.high}", where="SaltAndPepper")

    def __call__(self, inputs: Float[Tensor, "N ..."], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Return x̃ drawn given x; None is PyTorch's default generator."""
        uniform = _uniform(inputs, generator)
        pepper = torch.where(uniform < 0.5 * self.p, self.low, inputs)
        return torch.where(uniform >= 1.0 - 0.5 * self.p, self.high, pepper)


@dataclass(frozen=True)
class GaussianCorruption:
    """Normal noise is added: x̃ = x + σ ε,   ε ~ N(0, I).

    For real inputs. With a small σ and squared error it comes to a contractive penalty on the whole reconstruction,
    σ² ‖∂x̂/∂x‖².

    Args:
        std: σ, in units of x, at least 0.

    Raises:
        ConfigError: If std is no finite number of at least 0.

    Reference: Vincent, Larochelle, Lajoie, Bengio & Manzagol, "Stacked Denoising Autoencoders", JMLR 11, 2010,
    section 3.3; Alain & Bengio, "What Regularized Auto-Encoders Learn from the Data-Generating Distribution", JMLR
    15, 2014, section 3.1 (small noise).
    """

    std: float

    def __post_init__(self) -> None:
        check_std("GaussianCorruption", self.std)

    def __call__(self, inputs: Float[Tensor, "N ..."], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Return x̃ drawn given x; None is PyTorch's default generator."""
        return inputs.add(standard_normal(inputs, generator), alpha=self.std)


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def _check(owner: str, p: float) -> None:
    if not 0.0 <= p < 1.0:
        raise ConfigError(f"p must be at least 0 and below 1, got {p!r}", where=owner, mend="use 0.25")
