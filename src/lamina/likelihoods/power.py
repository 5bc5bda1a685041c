"""Power likelihood: the loss |error|^R, between absolute and squared error."""

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
class Power:
    """T real targets, independent given the outputs, with a density that falls as exp(-|error|^R): 1 ≤ R ≤ 2.

        log p(y | µ, s) = Σ_t  -|z_t|^R - log s_t - log 2Γ(1 + 1/R),   z = (y - µ) / s      (nats)
        d(-log p)/dµ = -ψ / s,   d(-log p)/dr = (1 - z ψ) (1 + (r/14)²)^(-3/2),   ψ = R |z|^(R-1) sign(z)

    R = 1 is ``Laplace`` of the same scale; R = 2 is ``Gaussian`` of the standard deviation s / √2. The smaller R, the
    less an outlier pulls. Σ_t |z_t|^R is the course's ‖z‖^R for one target; of several, each has a density of its own,
    as in ``Gaussian``, where ‖z‖² is the same sum. With a fixed ``scale`` the outputs are the T centres; with
    ``scale=None`` T centres, then T raw log-scales r, bounded as in ``Gaussian``. For R < 2 the second derivative by µ
    is infinite at y = µ; there automatic differentiation is given 0.

    Args:
        exponent: R in [1, 2].
        n_targets: T, at least 1.
        scale: The fixed s > 0 of every target, or None to learn it for each example; scale = 1 gives Σ |y - µ|^R.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Box & Tiao, "Bayesian Inference in Statistical Analysis", 1973, section 3.2 (exponential power family);
    Bishop, "Neural Networks for Pattern Recognition", 1995, section 6.2 (Minkowski error).
    """

    exponent: float
    n_targets: int = 1
    scale: float | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.exponent <= 2.0:
            raise ConfigError(f"exponent must lie in [1, 2], got {self.exponent!r}", where="Power", mend="use 1.5")
        check_count("Power", "n_targets", self.n_targets)
        check_scale("Power", self.scale)

    @property
    def n_outputs(self) -> int:
        """T centres, and T raw log-scales if the scale is learnt."""
        return n_location_outputs(self.n_targets, self.scale)

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | µ, s) in nats, summed over the targets of an example.

        Returns:
            One number an example.
        """
        z, _, log_s = standardise("Power", outputs, target, self.n_targets, self.scale)
        if self.exponent == 2.0:
            power = z.square()
        else:  # a power of 0 has no finite second derivative: it is taken of 1 instead, and 0 set in its place
            met = z == 0
            power = z.abs().masked_fill(met, 1.0).pow(self.exponent).masked_fill(met, 0.0)
        return over_targets(-power - log_s - math.log(2.0) - math.lgamma(1.0 + 1.0 / self.exponent))

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return -ψ / s, beside it (1 - z ψ) (1 + (r/14)²)^(-3/2) if the scale is learnt; ψ = R |z|^(R-1) sign(z).

        Returns:
            The gradient of -log_prob of each example.
        """
        z, inverse, _ = standardise("Power", outputs, target, self.n_targets, self.scale)
        pull = self._pull(z)
        return location_gradient(z, pull, inverse, outputs, n_targets=self.n_targets, scale=self.scale)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the second derivative times v; by the centres R (R - 1) |z|^(R-2) / s², taken as 0 at y = µ for R < 2.

        Returns:
            One row an example.
        """
        z, inverse, _ = standardise("Power", outputs, target, self.n_targets, self.scale)
        check_vector("Power", outputs, vector)
        met = z == 0
        bend = self.exponent * (self.exponent - 1.0) * z.abs().masked_fill(met, 1.0).pow(self.exponent - 2.0)
        if self.exponent < 2.0:
            bend = bend.masked_fill(met, 0.0)
        pull = self._pull(z)
        return location_hessian(
            outputs, vector, z=z, pull=pull, bend=bend, inverse=inverse, n_targets=self.n_targets, scale=self.scale
        )

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return R² Γ(2 - 1/R) / Γ(1/R) v / s² for the centres and R (1 + (r/14)²)⁻³ v for the raw log-scales.

        Returns:
            One row an example.
        """
        check_vector("Power", outputs, vector)
        inverse = torch.exp(-self._split(outputs)[1])
        r = self.exponent
        of_location = r * r * math.exp(math.lgamma(2.0 - 1.0 / r) - math.lgamma(1.0 / r))
        return location_fisher(
            outputs,
            vector,
            of_location=of_location,
            of_log_scale=r,
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
        """Return the central interval that holds the target with probability ``level``.

        |z|^R follows the gamma distribution of shape 1/R: µ ± s q with P(1/R, q^R) = level.

        Returns:
            The lower and the upper ends, (N,) or (N, T) each.
        """
        from scipy.special import gammaincinv

        check_level("Power", level)
        centre, log_s = self._split(outputs)
        half = log_s.exp() * float(gammaincinv(1.0 / self.exponent, level)) ** (1.0 / self.exponent)
        return drop_lone_column(centre - half), drop_lone_column(centre + half)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw the targets, (N,) or (N, T).

        Returns:
            One draw an example, in the target's unit.
        """
        centre, log_s = self._split(outputs.detach())
        shape = torch.full_like(centre, 1.0 / self.exponent)
        size = torch._standard_gamma(shape, generator=generator).pow(1.0 / self.exponent)
        side = torch.randint(0, 2, centre.shape, generator=generator, dtype=centre.dtype, device=centre.device)
        return drop_lone_column(centre + log_s.exp() * size * (2.0 * side - 1.0))

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not finite, by row."""
        check_column_count("Power", target, self.n_targets)

    def _pull(self, z: Tensor) -> Tensor:
        """Return ψ = R |z|^(R-1) sign(z)."""
        return self.exponent * z.abs().pow(self.exponent - 1.0) * z.sign()

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return µ and log s, (N, T) each."""
        return location_and_log_scale("Power", outputs, self.n_targets, self.scale)
