"""Unit types of energy-based models: what values a unit takes, and its distribution given its input.

    p(x | θ) = exp(θ · x + log base(x) - A(θ)),   A(θ) = log Σ_x exp(θ · x + log base(x)),   mean = dA/dθ

θ is a unit's whole input, its bias and what the other side sends. All sums run over the units of a row, all logarithms
are natural.

    type       values           log base             A(θ)
    Bernoulli  0, 1             0                    log(1 + e^θ)
    Binomial   0 … n            log C(n, x)          n log(1 + e^θ)
    Softmax    one of K is 1    0                    log Σ_k e^θ_k, a group
    Gaussian   real             -x²/2                θ²/2 + log(2π)/2
    Rectified  0 and above      (a sum of copies)    ∫_0^∞ log(1 + e^(θ-t)) dt = -Li₂(-e^θ)

Reference: Welling, Rosen-Zvi & Hinton, "Exponential Family Harmoniums with an Application to Information Retrieval",
NeurIPS 2004; Salakhutdinov, Mnih & Hinton, "Restricted Boltzmann Machines for Collaborative Filtering", ICML 2007
(softmax); Nair & Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010 (binomial and
rectified).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, one_hot, softplus

from lamina.energy.binary_draws import draw_binary
from lamina.errors import ConfigError

Side = Literal["visible", "hidden"]


@runtime_checkable
class Units(Protocol):
    """A layer of units of one type; holds no parameters. Rows are ``(..., n)``."""

    def check(self, n: int, side: Side) -> None:
        """Refuse a number of units, or a side of the machine, that the type has no meaning for."""
        ...

    def values(self) -> Tensor | None:
        """Return what one site can be, ``(values, units a site)``; None if these cannot be counted."""
        ...

    def log_base(self, x: Tensor) -> Tensor:
        """Return log base(x), ``(...)``."""
        ...

    def offset(self, bias: Tensor) -> Tensor:
        """Return the constant that completes the energy's square, a scalar; 0 but for Gaussian units."""
        ...

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return A(θ), ``(...)``."""
        ...

    def mean(self, theta: Tensor) -> Tensor:
        """Return the mean of x given θ, ``(..., n)``."""
        ...

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw x given θ, ``(..., n)``."""
        ...

    def natural(self, mean: Tensor) -> Tensor:
        """Return the θ that gives a mean."""
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Units that are 0 or 1: P(x = 1 | θ) = σ(θ). Rows of numbers between are read as probabilities."""

    def check(self, n: int, side: Side) -> None:
        """Accept any number on any side."""

    def values(self) -> Tensor:
        """Return 0 and 1, ``(2, 1)``."""
        return torch.tensor([[0.0], [1.0]])

    def log_base(self, x: Tensor) -> Tensor:
        """Return 0 a row."""
        return x.new_zeros(x.shape[:-1])

    def offset(self, bias: Tensor) -> Tensor:
        """Return 0."""
        return bias.new_zeros(())

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return Σ log(1 + e^θ)."""
        return softplus(theta).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        """Return σ(θ)."""
        return theta.sigmoid()

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Return 1 with probability σ(θ), else 0: see ``draw_binary``."""
        return draw_binary(theta.sigmoid(), generator, spend=True)

    def natural(self, mean: Tensor) -> Tensor:
        """Return log(p / (1 - p))."""
        return mean.logit()


@dataclass(frozen=True)
class Binomial:
    """Counts 0 … n: each unit is n Bernoulli copies that share their weights.

    Args:
        n: Copies, at least 1.

    Raises:
        ConfigError: If n is below 1.
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"n must be at least 1, got {self.n!r}", where="Binomial", mend="use Bernoulli()")

    def check(self, n: int, side: Side) -> None:
        """Accept any number on any side."""

    def values(self) -> Tensor:
        """Return 0 … n, ``(n + 1, 1)``."""
        return torch.arange(self.n + 1.0)[:, None]

    def log_base(self, x: Tensor) -> Tensor:
        """Return Σ log C(n, x)."""
        return (math.lgamma(self.n + 1.0) - torch.lgamma(x + 1.0) - torch.lgamma(self.n - x + 1.0)).sum(-1)

    def offset(self, bias: Tensor) -> Tensor:
        """Return 0."""
        return bias.new_zeros(())

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return n Σ log(1 + e^θ)."""
        return self.n * softplus(theta).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        """Return n σ(θ)."""
        return self.n * theta.sigmoid()

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Return counts drawn given θ."""
        return torch.binomial(torch.full_like(theta, float(self.n)), theta.sigmoid(), generator=generator)

    def natural(self, mean: Tensor) -> Tensor:
        """Return log(p / (1 - p)) with p = mean / n."""
        return (mean / self.n).logit()


@dataclass(frozen=True)
class Softmax:
    """Groups of K units of which exactly one is 1: ratings, words, classes.

    n units are n / K groups, side by side. A group that is all 0 adds nothing to the energy and to the other side's
    input, as if the machine lacked it: so a missing rating is written.

    Args:
        k: K, units a group, at least 2.

    Raises:
        ConfigError: If K is below 2.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ConfigError(f"k must be at least 2, got {self.k!r}", where="Softmax", mend="use Bernoulli()")

    def check(self, n: int, side: Side) -> None:
        """Refuse a number of units that is not whole groups.

        Raises:
            ConfigError: If K does not divide n.
        """
        if n % self.k:
            raise ConfigError(
                f"{n} {side} units are not whole groups of {self.k}", where="Softmax", mend="count units, not groups"
            )

    def values(self) -> Tensor:
        """Return the K unit vectors, ``(K, K)``."""
        return torch.eye(self.k)

    def log_base(self, x: Tensor) -> Tensor:
        """Return 0 a row."""
        return x.new_zeros(x.shape[:-1])

    def offset(self, bias: Tensor) -> Tensor:
        """Return 0."""
        return bias.new_zeros(())

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return the sum over groups of log Σ_k e^θ_k."""
        return self._groups(theta).logsumexp(-1).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        """Return the probabilities."""
        return self._groups(theta).softmax(-1).reshape(theta.shape)

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Return one unit a group, drawn: the one whose p / Exp(1) is largest."""
        p = self._groups(theta).softmax(-1)
        waits = torch.empty_like(p).exponential_(generator=generator)
        return one_hot((p / waits).argmax(-1), self.k).to(theta.dtype).reshape(theta.shape)

    def natural(self, mean: Tensor) -> Tensor:
        """Return log p."""
        return mean.log()

    def _groups(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], -1, self.k)


@dataclass(frozen=True)
class Gaussian:
    """Real units of variance 1 about their input: x | θ ~ N(θ, 1).

    On the visible side a machine rescales them by a standard deviation a unit, which it learns or leaves at 1.

    Args:
        learn_variance: Whether the machine learns the variances. Rarely worth it on standardised data, and it needs a
            small learning rate.
    """

    learn_variance: bool = True

    def check(self, n: int, side: Side) -> None:
        """Refuse learnt variances of hidden units: they are the scale of the weights.

        Raises:
            ConfigError: If they are asked for.
        """
        if side == "hidden" and self.learn_variance:
            raise ConfigError(
                "the variance of a hidden unit is the scale of its weights, and cannot be learnt beside them",
                where="Gaussian",
                mend="use hidden=Gaussian(learn_variance=False)",
            )

    def values(self) -> None:
        """Return None: they cannot be counted."""
        return

    def log_base(self, x: Tensor) -> Tensor:
        """Return -½ Σ x²."""
        return -0.5 * x.square().sum(-1)

    def offset(self, bias: Tensor) -> Tensor:
        """Return ½ Σ b², so that the energy is ½ Σ (x - b)²."""
        return 0.5 * bias.square().sum()

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return Σ θ²/2 + log(2π)/2."""
        return 0.5 * (theta.square() + math.log(2.0 * math.pi)).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        """Return θ."""
        return theta

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Return θ plus standard normal noise."""
        return torch.empty_like(theta).normal_(generator=generator).add_(theta)

    def natural(self, mean: Tensor) -> Tensor:
        """Return the mean."""
        return mean


@dataclass(frozen=True)
class Rectified:
    """Rectified linear units with noise: each stands for infinitely many binary copies with biases -½, -1½ and so on.

        Σ_i log(1 + e^(θ - i + ½)) ≈ A(θ) = -Li₂(-e^θ),   mean = log(1 + e^θ),   sample = max(0, θ + N(0, σ(θ)))

    Free energies are those of A, below the sum over the copies by σ(θ)/24 at most. Samples are the paper's, which have
    about the mean and variance of the copies' sum; so Gibbs sweeps keep the machine's distribution only nearly, and
    the joint energy has no closed form. Hidden units only.

    With Gaussian visible units A grows as θ²/2: where ‖W‖ reaches 1 there is no density any more.
    """

    def check(self, n: int, side: Side) -> None:
        """Refuse the visible side.

        Raises:
            ConfigError: For visible units.
        """
        if side == "visible":
            raise ConfigError(
                "rectified units have no closed energy of their own and can only be hidden",
                where="Rectified",
                mend="use visible=Gaussian() or Binomial(n)",
            )

    def values(self) -> None:
        """Return None: they cannot be counted."""
        return

    def log_base(self, x: Tensor) -> Tensor:
        """Refuse: the copies are summed out.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("has no energy for single states", where="Rectified", mend="use free_energy")

    def offset(self, bias: Tensor) -> Tensor:
        """Return 0."""
        return bias.new_zeros(())

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return Σ -Li₂(-e^θ).

        -Li₂(-z) = ∫_0^1 log(1 + z u) / u du for z = e^-|θ| by Gauss's rule of 12 points, exact to 1e-16 there; above 0
        by -Li₂(-e^θ) = π²/6 + θ²/2 + Li₂(-e^-θ).

        Returns:
            ``(...)``.
        """
        nodes, weights = np.polynomial.legendre.leggauss(12)
        u, w = (theta.new_tensor(array) for array in (0.5 * (nodes + 1.0), 0.5 * weights))
        below = (torch.log1p(torch.exp(-theta.abs())[..., None] * u) * (w / u)).sum(-1)
        return torch.where(theta > 0, math.pi**2 / 6 + 0.5 * theta.square() - below, below).sum(-1)

    def mean(self, theta: Tensor) -> Tensor:
        """Return log(1 + e^θ)."""
        return softplus(theta)

    def sample(self, theta: Tensor, generator: Generator | None = None) -> Tensor:
        """Return max(0, θ + N(0, σ(θ)))."""
        noise = torch.empty_like(theta).normal_(generator=generator)
        return noise.mul_(torch.exp(0.5 * logsigmoid(theta))).add_(theta).clamp_min_(0.0)

    def natural(self, mean: Tensor) -> Tensor:
        """Return log(e^mean - 1)."""
        return mean + torch.log(-torch.expm1(-mean))
