"""Gaussian mixture likelihood: the mixture-density network, for targets with several likely values."""

import math
from dataclasses import dataclass
from typing import Literal

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
    target_columns,
)
from lamina.likelihoods._location import log_scale, log_scale_slope
from lamina.likelihoods._products import check_vector, derivative_of_gradient

_FORMS = ("diagonal", "shared", "isotropic")


@dataclass(frozen=True)
class GaussianMixture:
    """T real targets, drawn together from one of M Gaussians that the network describes: a mixture-density network.

        log p(y | outputs) = log Σ_m π_m Π_t N(y_t; µ_mt, s_mt²),   π = softmax(c)      (nats)
        γ_m = π_m N_m / Σ_j π_j N_j   (the responsibility of component m),   z_mt = (y_t - µ_mt) / s_mt
        d(-log p)/dc_m = π_m - γ_m,   d(-log p)/dµ_mt = -γ_m z_mt / s_mt
        d(-log p)/dr = Σ γ_m (1 - z_mt²) (1 + (r/14)²)^(-3/2), summed over the (m, t) that share the raw log-scale r

    The outputs are M mixing logits c, then M T means component by component, then the raw log-scales r, bounded as in
    ``Gaussian``: the courses' exponential, which cannot collapse onto one example. Each component's covariance is
    diagonal; ``covariance`` says who shares a scale:

        "diagonal"    a scale for each component and target, M T of them
        "shared"      one diagonal covariance for all components, T scales
        "isotropic"   one scale for each component, the same in all T directions, M of them (Bishop's own)

    With M = 1 it is ``Gaussian(T)`` beside an output without effect. Equal outputs for all components are a saddle from
    which the gradient does not part them: start from a network with random weights. The network's last bias is the
    place to set the means apart.

    Args:
        n_components: M, at least 1.
        n_targets: T, at least 1.
        covariance: Who shares a scale.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Bishop, "Mixture Density Networks", Aston University NCRG/94/004, 1994.
    """

    n_components: int
    n_targets: int = 1
    covariance: Literal["diagonal", "shared", "isotropic"] = "diagonal"

    def __post_init__(self) -> None:
        check_count("GaussianMixture", "n_components", self.n_components)
        check_count("GaussianMixture", "n_targets", self.n_targets)
        if self.covariance not in _FORMS:
            raise ConfigError(
                f"covariance must be one of {', '.join(_FORMS)}, got {self.covariance!r}",
                where="GaussianMixture",
                mend='use "diagonal"',
            )

    @property
    def n_outputs(self) -> int:
        """M logits, M T means and as many raw log-scales as there are different scales."""
        scales = math.prod(self._scale_shape)
        return self.n_components * (1 + self.n_targets) + scales

    @property
    def _scale_shape(self) -> tuple[int, int]:
        components = 1 if self.covariance == "shared" else self.n_components
        return components, (1 if self.covariance == "isotropic" else self.n_targets)

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | outputs) in nats.

        Returns:
            One number an example.
        """
        joint = self._joint(outputs, target)[0]
        # Not logsumexp(): its derivative exp(joint - result) counts components double where float32 rounds log 2 away.
        largest = joint.detach().amax(-1, keepdim=True)
        return (joint - largest).exp().sum(-1).log() + largest.squeeze(-1)

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return π - γ, beside it -γ z / s, beside it γ (1 - z²) (1 + (r/14)²)^(-3/2) summed where a scale is shared.

        Returns:
            The gradient of -log_prob of each example.
        """
        joint, z, inverse = self._joint(outputs, target)
        responsibility = joint.softmax(-1)
        by_logit = outputs[:, : self.n_components].softmax(-1) - responsibility
        owned = responsibility.unsqueeze(-1)
        by_mean = -owned * z * inverse
        raw = self._raw(outputs)
        by_raw = (owned * (1.0 - z.square())).sum_to_size(raw.shape) * log_scale_slope(raw)
        return torch.cat([by_logit, by_mean.flatten(1), by_raw.flatten(1)], dim=1)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the second derivative times v, by differentiating ``nll_gradient``.

        Returns:
            One row an example.
        """
        check_vector("GaussianMixture", outputs, vector)
        return derivative_of_gradient(self.nll_gradient, outputs, target, vector)

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Refuse: the expectation has no closed form.

        Raises:
            ConfigError: Always; average over targets drawn from the mixture instead.
        """
        check_vector("GaussianMixture", outputs, vector)
        raise ConfigError(
            "the Fisher information of a mixture has no closed form",
            where="GaussianMixture",
            mend='draw targets: batch.product("fisher", draws=10, generator=generator)',
        )

    def responsibilities(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N M"]:
        """Return γ, the probability that each component made the target.

        Returns:
            Rows that sum to one.
        """
        return self._joint(outputs, target)[0].softmax(-1)

    def weights(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N M"]:
        """Return π, the mixing coefficients.

        Returns:
            Rows that sum to one.
        """
        check_outputs("GaussianMixture", outputs, self.n_outputs)
        return outputs[:, : self.n_components].softmax(-1)

    def means(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N M T"]:
        """Return µ, the mean of each component.

        Returns:
            Means, in the targets' units.
        """
        check_outputs("GaussianMixture", outputs, self.n_outputs)
        end = self.n_components * (1 + self.n_targets)
        return outputs[:, self.n_components : end].reshape(len(outputs), self.n_components, self.n_targets)

    def scales(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N M T"]:
        """Return s, the standard deviation of each component in each direction.

        Returns:
            Standard deviations, in the targets' units.
        """
        check_outputs("GaussianMixture", outputs, self.n_outputs)
        return log_scale(self._raw(outputs)).exp().expand(-1, self.n_components, self.n_targets)

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return Σ_m π_m µ_m, (N,) or (N, T).

        Returns:
            Means, in the targets' units.
        """
        return drop_lone_column((self.weights(outputs).unsqueeze(-1) * self.means(outputs)).sum(1))

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return the mean, the decision under squared error; where it falls between two modes, see ``likeliest``.

        Returns:
            Decisions, in the targets' units.
        """
        return self.mean(outputs)

    def likeliest(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return the mean of the component with the largest mixing coefficient, (N,) or (N, T).

        Returns:
            One component's mean an example, in the targets' units.
        """
        return drop_lone_column(self._chosen(self.means(outputs), self.weights(outputs).argmax(-1)))

    def spread(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return the standard deviation of each target: √(Σ_m π_m (s_m² + (µ_m - µ)²)).

        Returns:
            Standard deviations, in the targets' units, (N,) or (N, T).
        """
        weights, means = self.weights(outputs).unsqueeze(-1), self.means(outputs)
        away = means - (weights * means).sum(1, keepdim=True)
        return drop_lone_column((weights * (self.scales(outputs).square() + away.square())).sum(1).sqrt())

    def interval(
        self, outputs: Float[Tensor, "N outputs"], level: float = 0.9
    ) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N ..."]]:
        """Return the central interval of each target alone: the (1 - level)/2 and (1 + level)/2 quantiles.

        Each end is found by bisection on the distribution function Σ_m π_m Φ((y - µ_m) / s_m).

        Returns:
            The lower and the upper ends, (N,) or (N, T) each.
        """
        check_level("GaussianMixture", level)
        weights = self.weights(outputs).detach().double().unsqueeze(-1)
        means, scales = self.means(outputs).detach().double(), self.scales(outputs).detach().double()
        low, high = (
            drop_lone_column(_quantile(weights, means, scales, q).to(outputs.dtype))
            for q in ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        )
        return low, high

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw a component, then the targets from it, (N,) or (N, T).

        Returns:
            One draw an example, in the targets' units.
        """
        outputs = outputs.detach()
        weights = self.weights(outputs)
        noise = torch.randn(
            (len(outputs), self.n_targets), generator=generator, dtype=outputs.dtype, device=outputs.device
        )
        if not len(outputs):  # multinomial refuses to draw nothing
            return drop_lone_column(noise)
        component = torch.multinomial(weights, 1, generator=generator).squeeze(1)
        mean, scale = self._chosen(self.means(outputs), component), self._chosen(self.scales(outputs), component)
        return drop_lone_column(mean + scale * noise)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not finite, by row."""
        check_column_count("GaussianMixture", target, self.n_targets)

    def _raw(self, outputs: Tensor) -> Tensor:
        """Return the raw log-scales, (N, M or 1, T or 1)."""
        return outputs[:, self.n_components * (1 + self.n_targets) :].reshape(len(outputs), *self._scale_shape)

    def _joint(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log π_m N_m, (N, M), z, (N, M, T), and 1 / s, which broadcasts against z."""
        means = self.means(outputs)
        y = target_columns("GaussianMixture", target, outputs, self.n_targets).unsqueeze(1)
        log_s = log_scale(self._raw(outputs))
        inverse = torch.exp(-log_s)
        z = (y - means) * inverse
        log_normal = (-0.5 * z.square() - log_s - 0.5 * math.log(2.0 * math.pi)).sum(-1)
        return outputs[:, : self.n_components].log_softmax(-1) + log_normal, z, inverse

    def _chosen(self, values: Tensor, component: Tensor) -> Tensor:
        """Return the row of one component an example, (N, M, T) -> (N, T)."""
        place = component[:, None, None].expand(-1, 1, self.n_targets)
        return values.gather(1, place).squeeze(1)


def _quantile(weights: Tensor, means: Tensor, scales: Tensor, q: float) -> Tensor:
    """Return y with Σ_m π_m Φ((y - µ_m) / s_m) = q, by bisection between the components' own quantiles.

    Returns:
        (N, T).
    """
    own: Tensor = means + scales * torch.special.ndtri(torch.tensor(q, dtype=means.dtype, device=means.device))
    low, high = own.amin(1), own.amax(1)
    for _ in range(80):  # halves a range of at most 1e6 scales to the last digit of float64
        middle = 0.5 * (low + high)
        reached = (weights * torch.special.ndtr((middle.unsqueeze(1) - means) / scales)).sum(1) >= q
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return 0.5 * (low + high)
