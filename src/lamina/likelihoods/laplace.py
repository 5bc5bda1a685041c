"""Laplace likelihood: absolute error, whose constant optimum is the median."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from lamina.likelihoods._checks import check_column_count, check_count, check_level, drop_lone_column, over_targets
from lamina.likelihoods._location import (
    check_scale,
    location_and_log_scale,
    location_gradient,
    n_location_outputs,
    standardise,
)
from lamina.likelihoods._products import check_vector, location_fisher, location_hessian


@dataclass(frozen=True)
class Laplace:
    """T real targets, independent given the outputs, each Laplace with a median µ and a scale b.

        log p(y | µ, b) = Σ_t  -|y_t - µ_t| / b_t - log 2 b_t                (nats)
        d(-log p)/dµ = sign(µ - y) / b,   d(-log p)/dr = (1 - |y - µ| / b) (1 + (r/14)²)^(-3/2)

    With a fixed ``scale`` the outputs are the T medians, and the loss is Σ |y - µ| / b up to a constant: absolute
    error for scale = 1. An error pulls with the same force however large it is, so that the best constant is the
    sample's median, where squared error gives the mean. With ``scale=None`` the scale is learnt too: the outputs are T
    medians, then T raw log-scales r, bounded as in ``Gaussian``. Where y = µ exactly the slope is taken as 0.

    Args:
        n_targets: T, at least 1.
        scale: The fixed b > 0 of every target (the mean absolute error; the standard deviation is √2 b), or None to
            learn it for each example.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Bishop, "Pattern Recognition and Machine Learning", 2006, section 1.5.5 (loss and median).
    """

    n_targets: int = 1
    scale: float | None = None

    def __post_init__(self) -> None:
        check_count("Laplace", "n_targets", self.n_targets)
        check_scale("Laplace", self.scale)

    @property
    def n_outputs(self) -> int:
        """T medians, and T raw log-scales if the scale is learnt."""
        return n_location_outputs(self.n_targets, self.scale)

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | µ, b) in nats, summed over the targets of an example.

        Returns:
            One number an example.
        """
        z, _, log_b = standardise("Laplace", outputs, target, self.n_targets, self.scale)
        return over_targets(-z.abs() - log_b - math.log(2.0))

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return sign(µ - y) / b, beside it (1 - |y - µ| / b) (1 + (r/14)²)^(-3/2) if the scale is learnt.

        Returns:
            The gradient of -log_prob of each example.
        """
        z, inverse, _ = standardise("Laplace", outputs, target, self.n_targets, self.scale)
        return location_gradient(z, z.sign(), inverse, outputs, n_targets=self.n_targets, scale=self.scale)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the second derivative times v: 0 by the medians, where the loss is straight but for its kink.

        Returns:
            One row an example.
        """
        z, inverse, _ = standardise("Laplace", outputs, target, self.n_targets, self.scale)
        check_vector("Laplace", outputs, vector)
        pull, bend = z.sign(), torch.zeros_like(z)
        return location_hessian(
            outputs, vector, z=z, pull=pull, bend=bend, inverse=inverse, n_targets=self.n_targets, scale=self.scale
        )

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return v / b² for the medians and (1 + (r/14)²)⁻³ v for the raw log-scales: the kink, averaged.

        Returns:
            One row an example.
        """
        check_vector("Laplace", outputs, vector)
        inverse = torch.exp(-self._split(outputs)[1])
        return location_fisher(
            outputs,
            vector,
            of_location=1.0,
            of_log_scale=1.0,
            inverse=inverse,
            n_targets=self.n_targets,
            scale=self.scale,
        )

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return µ, (N,) or (N, T).

        Returns:
            Means, in the target's unit.
        """
        return drop_lone_column(self._split(outputs)[0])

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return µ, the median: the decision under absolute error.

        Returns:
            Decisions, in the target's unit.
        """
        return self.mean(outputs)

    def interval(
        self, outputs: Float[Tensor, "N outputs"], level: float = 0.9
    ) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N ..."]]:
        """Return the central interval that holds the target with probability ``level``: µ ± b log(1 / (1 - level)).

        Returns:
            The lower and the upper ends, (N,) or (N, T) each.
        """
        check_level("Laplace", level)
        median, log_b = self._split(outputs)
        half = log_b.exp() * -math.log1p(-level)
        return drop_lone_column(median - half), drop_lone_column(median + half)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw the targets, (N,) or (N, T).

        Returns:
            One draw an example, in the target's unit.
        """
        median, log_b = self._split(outputs.detach())
        one, other = torch.empty((2, *median.shape), dtype=median.dtype, device=median.device).exponential_(
            generator=generator
        )
        return drop_lone_column(median + log_b.exp() * (one - other))

    def kl(self, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return KL(p ‖ q) in nats: Σ_t |µ - µ'|/b' + (b/b') e^(-|µ - µ'|/b) - 1 - log (b/b').

        Twice differentiable where the two medians meet too, with the second derivative 1/(b b') there.

        Returns:
            One number an example.
        """
        (median, log_b), (other_median, other_log_b) = self._split(outputs), self._split(other)
        gap = median - other_median
        gap = torch.where(gap < 0, -gap, gap)  # not abs(): its derivative of 0 at 0 would hide the curvature
        log_ratio = log_b - other_log_b
        bent = torch.exp(log_ratio) * torch.expm1(-gap * torch.exp(-log_b))
        return over_targets(gap * torch.exp(-other_log_b) + bent + torch.expm1(log_ratio) - log_ratio)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not finite, by row."""
        check_column_count("Laplace", target, self.n_targets)

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return µ and log b, (N, T) each."""
        return location_and_log_scale("Laplace", outputs, self.n_targets, self.scale)
