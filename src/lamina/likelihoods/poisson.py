"""Poisson likelihood: a log-linear rate for counts."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from lamina.likelihoods._checks import (
    check_column_count,
    check_count,
    check_level,
    check_outputs,
    drop_lone_column,
    over_targets,
    refuse_rows,
    target_columns,
)
from lamina.likelihoods._products import check_vector

_KNEE = 20.0  # above this output the rate grows along its tangent; e^20 = 4.9e8 events


@dataclass(frozen=True)
class Poisson:
    """T counts, independent given the outputs, from one log-rate η each.

        log p(y | η) = Σ_t  y_t log λ_t - λ_t - log y_t!,   λ = exp(η)       (nats)
        d(-log p)/dη = λ - y

    Above η = 20 (4.9e8 events) the rate goes on along its tangent, λ = e²⁰ (1 + η - 20), with a continuous derivative:
    values and gradients stay finite for outputs up to ±1e4 in float32. There the gradient is (λ - y) / (1 + η - 20).

    Differs from ``torch.nn.PoissonNLLLoss``: log y! is exact (there left out, or Stirling's formula) and nothing
    overflows.

    Args:
        n_targets: T, at least 1.

    Raises:
        ConfigError: If n_targets is below 1.

    Reference: McCullagh & Nelder, "Generalized Linear Models", 2nd edition, 1989, chapter 6.
    """

    n_targets: int = 1

    def __post_init__(self) -> None:
        check_count("Poisson", "n_targets", self.n_targets)

    @property
    def n_outputs(self) -> int:
        """One log-rate a target."""
        return self.n_targets

    def log_prob(self, outputs: Float[Tensor, "N T"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | η) in nats, summed over the targets of an example.

        Returns:
            One number an example.
        """
        rate, log_rate, _ = self._rates(outputs)
        y = target_columns("Poisson", target, outputs, self.n_targets)
        return over_targets(y * log_rate - rate - torch.lgamma(y + 1.0))

    def nll_gradient(self, outputs: Float[Tensor, "N T"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N T"]:
        """Return (λ - y) d(log λ)/dη, which is λ - y up to η = 20.

        Returns:
            The gradient of -log_prob of each example.
        """
        rate, _, slope = self._rates(outputs)
        return (rate - target_columns("Poisson", target, outputs, self.n_targets)) * slope

    def hessian_product(
        self, outputs: Float[Tensor, "N T"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """Return λ v, above η = 20 y / (1 + η - 20)² v.

        Returns:
            One row an example.
        """
        rate, _, slope = self._rates(outputs)
        check_vector("Poisson", outputs, vector)
        y = target_columns("Poisson", target, outputs, self.n_targets)
        return torch.where(outputs > _KNEE, y * slope.square(), rate) * vector

    def fisher_product(self, outputs: Float[Tensor, "N T"], vector: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        """Return λ (d log λ/dη)² v, which is λ v up to η = 20.

        Returns:
            One row an example.
        """
        rate, _, slope = self._rates(outputs)
        check_vector("Poisson", outputs, vector)
        return rate * slope.square() * vector

    def mean(self, outputs: Float[Tensor, "N T"]) -> Float[Tensor, "N ..."]:
        """Return λ, (N,) or (N, T).

        Returns:
            Expected counts.
        """
        return drop_lone_column(self._rates(outputs)[0])

    def predict(self, outputs: Float[Tensor, "N T"]) -> Float[Tensor, "N ..."]:
        """Return λ: the decision under squared error, not rounded.

        Returns:
            Expected counts.
        """
        return self.mean(outputs)

    def interval(
        self, outputs: Float[Tensor, "N T"], level: float = 0.9
    ) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N ..."]]:
        """Return the central interval: the (1 - level)/2 and (1 + level)/2 quantiles, whole numbers.

        A count being discrete, the interval holds the target with a probability of at least ``level``.

        Returns:
            The lower and the upper ends, both included, (N,) or (N, T) each.
        """
        check_level("Poisson", level)
        rate = self._rates(outputs)[0].detach()
        low, high = (_quantile(rate.double(), q).to(rate.dtype) for q in ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
        return drop_lone_column(low), drop_lone_column(high)

    def sample(self, outputs: Float[Tensor, "N T"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw the targets, (N,) or (N, T).

        Returns:
            Counts, in the outputs' dtype.
        """
        return drop_lone_column(torch.poisson(self._rates(outputs)[0].detach(), generator=generator))

    def kl(self, outputs: Float[Tensor, "N T"], other: Float[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """Return KL(p(· | outputs) ‖ p(· | other)) in nats: Σ_t λ (log λ - log λ') - λ + λ'.

        Where the two are near each other it is λ (eᵈ - 1 - d), d = log λ' - log λ, which does not cancel.

        Returns:
            One number an example.
        """
        (rate, log_rate, _), (other_rate, other_log_rate, _) = self._rates(outputs), self._rates(other)
        log_ratio = other_log_rate - log_rate
        far = log_ratio.abs() > 1.0
        small = log_ratio.masked_fill(far, 0.0)
        near_terms = rate * (torch.expm1(small) - small)
        return over_targets(torch.where(far, -rate * log_ratio - (rate - other_rate), near_terms))

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not whole numbers from 0, by row."""
        values = check_column_count("Poisson", target, self.n_targets)
        refuse_rows("Poisson", (values < 0) | (values != values.floor()), values, "a count (0, 1, 2, …)")

    def _rates(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return λ, log λ and d(log λ)/dη, (N, T) each; exp sees nothing above the knee, so no inf · 0 arises."""
        check_outputs("Poisson", outputs, self.n_outputs)
        below = outputs.clamp(max=_KNEE)
        stretch = 1.0 + (outputs - below)
        return below.exp() * stretch, below + stretch.log(), 1.0 / stretch


def _quantile(rate: Tensor, q: float) -> Tensor:
    """Return the smallest count k with P(y ≤ k) ≥ q, by bisection on the incomplete gamma function.

    P(y ≤ k) = Q(k + 1, λ), the regularised upper incomplete gamma function.

    Returns:
        Counts, of the shape of ``rate``.
    """
    tail = 40.0 - math.log(min(q, 1.0 - q))  # Chernoff: beyond λ + √(2λa) + a lies less than e^-a
    low = torch.full_like(rate, -1.0)  # P(y ≤ -1) = 0 < q
    high = (rate + torch.sqrt(2.0 * rate * tail) + tail).ceil()
    while bool((high - low > 1.0).any()):
        middle = ((low + high) / 2.0).floor()
        middle = torch.where(high - low > 1.0, middle, high)
        enough = torch.special.gammaincc(middle + 1.0, rate) >= q
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high
