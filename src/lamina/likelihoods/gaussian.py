"""Gaussian likelihood: linear outputs with squared error, or with a learnt spread."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import (
    check_column_count,
    check_count,
    check_level,
    check_outputs,
    drop_lone_column,
    over_targets,
    target_columns,
)
from lamina.likelihoods._location import check_scale, log_scale, log_scale_slope, raw_log_scale
from lamina.likelihoods._products import check_vector, location_fisher, location_hessian


@dataclass(frozen=True)
class Gaussian:
    """T real targets, independent given the outputs, each normal with a mean µ and a standard deviation s.

        log p(y | µ, s) = Σ_t  -½ ((y_t - µ_t) / s_t)² - log s_t - ½ log 2π   (nats)

    With a fixed ``scale`` the outputs are the T means, and the loss is ½ Σ (y - µ)² / s² up to a constant: squared
    error for scale = 1. With ``scale=None`` the spread is learnt too: the outputs are T means, then T raw log-scales r,

        log s = r / √(1 + (r / 14)²)
        d(-log p)/dµ = (µ - y) / s²,   d(-log p)/dr = (1 - ((y - µ)/s)²) (1 + (r/14)²)^(-3/2)

    which is r itself near zero (to third order) and stays within ±14, so that s lies between 8.3e-7 and 1.2e6: fit to
    standardised targets. A collapsing spread is floored there, value and gradient stay finite for outputs up to ±1e4 in
    float32, and the slope never becomes exactly zero, so that training can come back.

    The forms of squared error in use are this loss with a fixed scale, up to its constant:

        ½ ‖y - µ‖²        scale = 1         gradient µ - y
        ‖y - µ‖²          scale = √½        gradient 2 (µ - y)
        ‖y - µ‖² / T      scale = √(T/2)    ``torch.nn.MSELoss()``, whose mean is over examples and targets

    each averaged over the examples, or N times that where they are summed. All have one minimum; what differs is the
    step that a learning rate takes, and the weight of a penalty beside it. The reconstruction error of an autoencoder
    is the same, with the clean inputs for targets.

    Differs from ``torch.nn.GaussianNLLLoss``: outputs the log of a standard deviation (there a variance, clamped, which
    stops its gradient) and keeps the constant ½ log 2π.

    Where the spread is learnt, a network explains what is easy first and calls the rest noise, which slows the mean
    there. With ``beta`` above 0 each target's term is multiplied by s^(2β), taken as a constant in the gradient: at
    β = 1 the mean learns as under squared error, at 0 by maximum likelihood. ``log_prob`` is then the training loss
    with its sign turned and no log-probability; score with ``for_scoring(likelihood)``.

    Args:
        n_targets: T, at least 1.
        scale: The fixed standard deviation s > 0 of every target, or None to learn it for each example.
        beta: β in [0, 1]; without effect where the scale is fixed.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Nix & Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994;
    Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation", ICLR 2022, eq. 5 (β).
    """

    n_targets: int = 1
    scale: float | None = None
    beta: float = 0.0

    def __post_init__(self) -> None:
        check_count("Gaussian", "n_targets", self.n_targets)
        check_scale("Gaussian", self.scale)
        if not 0.0 <= self.beta <= 1.0:
            raise ConfigError(f"beta must lie in [0, 1], got {self.beta!r}", where="Gaussian", mend="use 0.5")

    @property
    def n_outputs(self) -> int:
        """T means, and T raw log-scales if the spread is learnt."""
        return self.n_targets if self.scale is not None else 2 * self.n_targets

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | µ, s) in nats, summed over the targets of an example.

        Returns:
            One number an example.
        """
        if self.scale is not None:
            check_outputs("Gaussian", outputs, self.n_outputs)
            z = (target_columns("Gaussian", target, outputs, self.n_targets) - outputs) / self.scale
            return over_targets(-0.5 * z.square() - (math.log(self.scale) + 0.5 * math.log(2 * math.pi)))
        mean, log_s = self._split(outputs)
        z = (target_columns("Gaussian", target, outputs, self.n_targets) - mean) * torch.exp(-log_s)
        terms = -0.5 * z.square() - log_s - 0.5 * math.log(2 * math.pi)
        return over_targets(terms * torch.exp(2.0 * self.beta * log_s.detach()) if self.beta else terms)

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return (µ - y)/s², beside it (1 - ((y - µ)/s)²) (1 + (r/14)²)^(-3/2) if the spread is learnt.

        Returns:
            The gradient of -log_prob of each example.
        """
        mean, log_s = self._split(outputs)
        inverse = torch.exp(-log_s)
        z = (target_columns("Gaussian", target, outputs, self.n_targets) - mean) * inverse
        if self.scale is not None:
            return -z * inverse
        slope = log_scale_slope(outputs[:, self.n_targets :])
        return self._weighted(torch.cat([-z * inverse, (1.0 - z.square()) * slope], dim=-1), log_s)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return v / s² where the spread is fixed; else the second derivative by µ and r times v.

            d²/dµ² = 1/s²,   d²/dµdr = 2 a z/s,   d²/dr² = 2 a² z² + a' (1 - z²)
            z = (y - µ)/s,   a = (1 + (r/14)²)^(-3/2)

        and all of it times s^(2β), which is constant here as it is in the gradient.

        Returns:
            One row an example.
        """
        check_vector("Gaussian", outputs, vector)
        mean, log_s = self._split(outputs)
        inverse = torch.exp(-log_s)
        z = (target_columns("Gaussian", target, outputs, self.n_targets) - mean) * inverse
        turned = location_hessian(
            outputs,
            vector,
            z=z,
            pull=z,
            bend=torch.ones_like(z),
            inverse=inverse,
            n_targets=self.n_targets,
            scale=self.scale,
        )
        return self._weighted(turned, log_s)

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return v / s² for the means and 2 (1 + (r/14)²)⁻³ v for the raw log-scales, times s^(2β).

        With β above 0 it is the curvature of what training makes small, not of the distribution alone.

        Returns:
            One row an example.
        """
        check_vector("Gaussian", outputs, vector)
        log_s = self._split(outputs)[1]
        turned = location_fisher(
            outputs,
            vector,
            of_location=1.0,
            of_log_scale=2.0,
            inverse=torch.exp(-log_s),
            n_targets=self.n_targets,
            scale=self.scale,
        )
        return self._weighted(turned, log_s)

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return µ, (N,) or (N, T).

        Returns:
            Means, in the target's unit.
        """
        return drop_lone_column(self._split(outputs)[0])

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return µ, which is also the median and the mode.

        Returns:
            Decisions, in the target's unit.
        """
        return self.mean(outputs)

    def spread(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return s, the standard deviation, (N,) or (N, T).

        Returns:
            Standard deviations, in the target's unit.
        """
        return drop_lone_column(self._split(outputs)[1].exp())

    def outputs_for(self, mean: Float[Tensor, "N ..."], spread: Float[Tensor, "N ..."]) -> Float[Tensor, "N outputs"]:
        """Return the outputs whose mean and standard deviation are given: the inverse of ``mean`` and ``spread``.

        Args:
            mean: µ, (N,) or (N, T).
            spread: s, of the same shape; brought within e^±14. Without effect where the scale is fixed.

        Returns:
            (N, outputs).
        """
        means = mean.reshape(len(mean), self.n_targets)
        if self.scale is not None:
            return means
        return torch.cat([means, raw_log_scale(spread.reshape(means.shape).log())], dim=1)

    def interval(
        self, outputs: Float[Tensor, "N outputs"], level: float = 0.9
    ) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N ..."]]:
        """Return the central interval that holds the target with probability ``level``: µ ± s Φ⁻¹((1 + level)/2).

        Returns:
            The lower and the upper ends, (N,) or (N, T) each.
        """
        check_level("Gaussian", level)
        mean, log_s = self._split(outputs)
        half = log_s.exp() * torch.special.ndtri(torch.tensor((1.0 + level) / 2.0, dtype=torch.float64)).item()
        return drop_lone_column(mean - half), drop_lone_column(mean + half)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw the targets, (N,) or (N, T).

        Returns:
            One draw an example, in the target's unit.
        """
        mean, log_s = self._split(outputs)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return drop_lone_column(mean + log_s.exp() * noise)

    def kl(self, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return KL(p ‖ q) in nats: Σ_t ½ ((µ - µ')/s')² + ½ (s/s')² - ½ - log (s/s').

        Against the standard normal it is Σ_t ½ (s² + µ² - 1 - log s²).

        Returns:
            One number an example.
        """
        (mean, log_s), (other_mean, other_log_s) = self._split(outputs), self._split(other)
        terms = 0.5 * ((mean - other_mean) * torch.exp(-other_log_s)).square()
        if self.scale is None:
            log_ratio = log_s - other_log_s
            terms = terms + 0.5 * torch.expm1(2.0 * log_ratio) - log_ratio
        return over_targets(terms)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not finite, by row."""
        check_column_count("Gaussian", target, self.n_targets)

    def _weighted(self, rows: Tensor, log_s: Tensor) -> Tensor:
        """Return the rows, of means and raw log-scales, times s^(2β)."""
        if self.scale is not None or not self.beta:
            return rows
        return rows * torch.exp(2.0 * self.beta * log_s).repeat(1, 2)

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return µ and log s, (N, T) each."""
        check_outputs("Gaussian", outputs, self.n_outputs)
        if self.scale is not None:
            return outputs, torch.full_like(outputs, math.log(self.scale))
        return outputs[:, : self.n_targets], log_scale(outputs[:, self.n_targets :])
