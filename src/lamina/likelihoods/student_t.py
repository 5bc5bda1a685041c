"""Student-t likelihood: squared error near, a logarithm far out, so that outliers hardly pull."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from lamina.errors import ConfigError
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
class StudentT:
    """T real targets, independent given the outputs, each Student-t: centre µ, scale s, ν degrees of freedom.

        log p(y | µ, s) = Σ_t  log Γ((ν+1)/2) - log Γ(ν/2) - ½ log νπ - log s_t - ½(ν+1) log(1 + z_t²/ν)    (nats)
        d(-log p)/dµ = -ψ / s,   d(-log p)/dr = (1 - z ψ) (1 + (r/14)²)^(-3/2)
        z = (y - µ) / s,   ψ = (ν + 1) z / (ν + z²)

    The pull ψ of an error grows up to z = √ν and falls again beyond: an outlier is given up. ν → ∞ is ``Gaussian``.
    With a fixed ``scale`` the outputs are the T centres; with ``scale=None`` T centres, then T raw log-scales r,
    bounded as in ``Gaussian``.

    Args:
        n_targets: T, at least 1.
        freedom: ν, finite and above 1, so that the mean exists; the variance is s² ν / (ν - 2) for ν > 2,
            else infinite.
        scale: The fixed s > 0 of every target, or None to learn it for each example.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Lange, Little & Taylor, "Robust Statistical Modeling Using the t Distribution", JASA 84, 1989; Bishop,
    "Pattern Recognition and Machine Learning", 2006, section 2.3.7.
    """

    n_targets: int = 1
    freedom: float = 4.0
    scale: float | None = None

    def __post_init__(self) -> None:
        check_count("StudentT", "n_targets", self.n_targets)
        if not (self.freedom > 1.0 and math.isfinite(self.freedom)):
            raise ConfigError(
                f"freedom must be finite and above 1, got {self.freedom!r}", where="StudentT", mend="use 4.0"
            )
        check_scale("StudentT", self.scale)

    @property
    def n_outputs(self) -> int:
        """T centres, and T raw log-scales if the scale is learnt."""
        return n_location_outputs(self.n_targets, self.scale)

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | µ, s) in nats, summed over the targets of an example.

        Returns:
            One number an example.
        """
        z, _, log_s = standardise("StudentT", outputs, target, self.n_targets, self.scale)
        v = self.freedom
        constant = math.lgamma((v + 1.0) / 2.0) - math.lgamma(v / 2.0) - 0.5 * math.log(v * math.pi)
        return over_targets(constant - log_s - 0.5 * (v + 1.0) * torch.log1p(z.square() / v))

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return -ψ / s, beside it (1 - z ψ) (1 + (r/14)²)^(-3/2) if the scale is learnt; ψ = (ν + 1) z / (ν + z²).

        Returns:
            The gradient of -log_prob of each example.
        """
        z, inverse, _ = standardise("StudentT", outputs, target, self.n_targets, self.scale)
        pull = (self.freedom + 1.0) * z / (self.freedom + z.square())
        return location_gradient(z, pull, inverse, outputs, n_targets=self.n_targets, scale=self.scale)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the second derivative times v, with ψ' = (ν + 1)(ν - z²) / (ν + z²)², which is below 0 for an outlier.

        Returns:
            One row an example.
        """
        z, inverse, _ = standardise("StudentT", outputs, target, self.n_targets, self.scale)
        check_vector("StudentT", outputs, vector)
        v, squared = self.freedom, z.square()
        pull = (v + 1.0) * z / (v + squared)
        bend = (v + 1.0) * (v - squared) / (v + squared).square()
        return location_hessian(
            outputs, vector, z=z, pull=pull, bend=bend, inverse=inverse, n_targets=self.n_targets, scale=self.scale
        )

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return (ν+1)/(ν+3) v / s² for the centres and 2ν/(ν+3) (1 + (r/14)²)⁻³ v for the raw log-scales.

        Returns:
            One row an example.
        """
        check_vector("StudentT", outputs, vector)
        inverse = torch.exp(-self._split(outputs)[1])
        v = self.freedom
        return location_fisher(
            outputs,
            vector,
            of_location=(v + 1.0) / (v + 3.0),
            of_log_scale=2.0 * v / (v + 3.0),
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
        """Return µ, which is the mean, the median and the mode.

        Returns:
            Decisions, in the target's unit.
        """
        return self.mean(outputs)

    def interval(
        self, outputs: Float[Tensor, "N outputs"], level: float = 0.9
    ) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N ..."]]:
        """Return the central interval that holds the target with probability ``level``: µ ± s t_ν((1 + level)/2).

        Returns:
            The lower and the upper ends, (N,) or (N, T) each.
        """
        from scipy.special import stdtrit

        check_level("StudentT", level)
        centre, log_s = self._split(outputs)
        half = log_s.exp() * float(stdtrit(self.freedom, (1.0 + level) / 2.0))
        return drop_lone_column(centre - half), drop_lone_column(centre + half)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw the targets, (N,) or (N, T): a normal number over the root of a mean square of ν others.

        Returns:
            One draw an example, in the target's unit.
        """
        centre, log_s = self._split(outputs.detach())
        normal = torch.randn(centre.shape, generator=generator, dtype=centre.dtype, device=centre.device)
        half = torch._standard_gamma(torch.full_like(centre, self.freedom / 2.0), generator=generator)
        return drop_lone_column(centre + log_s.exp() * normal * torch.rsqrt(2.0 * half / self.freedom))

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not finite, by row."""
        check_column_count("StudentT", target, self.n_targets)

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return µ and log s, (N, T) each."""
        return location_and_log_scale("StudentT", outputs, self.n_targets, self.scale)
