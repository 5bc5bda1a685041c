"""Gaussian likelihood with a full covariance: targets that are correlated given the input."""

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
    target_columns,
)
from lamina.likelihoods._location import log_scale, log_scale_slope
from lamina.likelihoods._products import check_vector, derivative_of_gradient


@dataclass(frozen=True)
class FullGaussian:
    """T real targets, jointly normal with a mean µ and a covariance Σ, both given by the network.

        log p(y | µ, Σ) = -½ ‖W (y - µ)‖² - Σ_i log s_i - (T/2) log 2π       (nats)
        W = L⁻¹ lower triangular, Σ = L Lᵀ:   W_ii = 1 / s_i,   W_ij = a_ij  (j < i)

    W is the inverse of the Cholesky factor of the covariance, so that neither the loss nor its gradient solves or
    inverts anything. s_i is the standard deviation of target i given the targets before it; W (y - µ) is white. The
    outputs are T means, then T raw log-scales r, bounded as in ``Gaussian``, then the T (T - 1) / 2 numbers a_ij row by
    row. Where those are 0 the likelihood is ``Gaussian(T)``.

        d(-log p)/dµ = -Wᵀ z,   d(-log p)/dr_i = (1 - z_i e_i / s_i) (1 + (r_i/14)²)^(-3/2),   d(-log p)/da_ij = z_i e_j
        e = y - µ,   z = W e

    Work and memory are T² an example. ``spread``, ``covariance``, ``sample`` and ``kl`` solve with W; for extreme
    outputs of two targets or more they may leave the range of float32, which ``log_prob`` and its gradient do not.

    Args:
        n_targets: T, at least 1.

    Raises:
        ConfigError: If n_targets is below 1.

    Reference: Williams, "Using Neural Networks to Model Conditional Multivariate Densities", Neural Computation 8,
    1996; Dorta et al., "Structured Uncertainty Prediction Networks", CVPR 2018.
    """

    n_targets: int = 1

    def __post_init__(self) -> None:
        check_count("FullGaussian", "n_targets", self.n_targets)

    @property
    def n_outputs(self) -> int:
        """T means, T raw log-scales and T (T - 1) / 2 couplings."""
        return 2 * self.n_targets + self.n_targets * (self.n_targets - 1) // 2

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | µ, Σ) in nats.

        Returns:
            One number an example.
        """
        mean, log_s, whitener = self._split(outputs)
        error = target_columns("FullGaussian", target, outputs, self.n_targets) - mean
        z = (whitener @ error.unsqueeze(-1)).squeeze(-1)
        return -0.5 * z.square().sum(-1) - log_s.sum(-1) - 0.5 * self.n_targets * math.log(2.0 * math.pi)

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return -Wᵀ z, beside it (1 - z_i e_i / s_i) (1 + (r_i/14)²)^(-3/2), beside it z_i e_j for j < i.

        Returns:
            The gradient of -log_prob of each example.
        """
        t = self.n_targets
        mean, log_s, whitener = self._split(outputs)
        error = target_columns("FullGaussian", target, outputs, t) - mean
        z = (whitener @ error.unsqueeze(-1)).squeeze(-1)
        by_mean = -(z.unsqueeze(1) @ whitener).squeeze(1)
        by_raw = (1.0 - z * error * torch.exp(-log_s)) * log_scale_slope(outputs[:, t : 2 * t])
        rows, columns = torch.tril_indices(t, t, -1, device=outputs.device)
        return torch.cat([by_mean, by_raw, z[:, rows] * error[:, columns]], dim=1)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the second derivative times v, by differentiating ``nll_gradient``.

        Returns:
            One row an example.
        """
        check_vector("FullGaussian", outputs, vector)
        return derivative_of_gradient(self.nll_gradient, outputs, target, vector)

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return Wᵀ W v for the means; for W along δ, row by row, δ Σ below the diagonal and δ_ii / W_ii² more on it.

        Returns:
            One row an example.
        """
        check_vector("FullGaussian", outputs, vector)
        t = self.n_targets
        _, log_s, whitener = self._split(outputs)
        u, by_raw, by_entry = vector[:, :t], vector[:, t : 2 * t], vector[:, 2 * t :]
        turned = (whitener.mT @ (whitener @ u.unsqueeze(-1))).squeeze(-1)
        rows, columns = torch.tril_indices(t, t, -1, device=outputs.device)
        drawn = -torch.exp(-log_s) * log_scale_slope(outputs[:, t : 2 * t])  # dW_ii/dr_i
        moved = torch.diag_embed(drawn * by_raw)
        moved[:, rows, columns] = by_entry
        answer = moved @ self.covariance(outputs)
        on = answer.diagonal(dim1=1, dim2=2) + drawn * by_raw * torch.exp(2.0 * log_s)
        return torch.cat([turned, drawn * on, answer[:, rows, columns]], dim=1)

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return µ, (N,) or (N, T).

        Returns:
            Means, in the targets' units.
        """
        return drop_lone_column(self._split(outputs)[0])

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return µ, which is also the mode.

        Returns:
            Decisions, in the targets' units.
        """
        return self.mean(outputs)

    def covariance(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N T T"]:
        """Return Σ.

        Returns:
            Symmetric positive definite matrices, in the products of the targets' units.
        """
        factor = self._factor(outputs)
        return factor @ factor.mT

    def spread(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return √Σ_ii, the standard deviation of each target alone, (N,) or (N, T).

        Returns:
            Standard deviations, in the targets' units.
        """
        factor = self._factor(outputs)
        largest = factor.abs().amax(-1, keepdim=True)  # the squares of the others stay in range
        return drop_lone_column(largest.squeeze(-1) * (factor / largest).square().sum(-1).sqrt())

    def interval(
        self, outputs: Float[Tensor, "N outputs"], level: float = 0.9
    ) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N ..."]]:
        """Return the central interval of each target alone: µ ± √Σ_ii Φ⁻¹((1 + level)/2).

        Returns:
            The lower and the upper ends, (N,) or (N, T) each.
        """
        check_level("FullGaussian", level)
        mean = self.mean(outputs)
        half = self.spread(outputs) * torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)).item()
        return mean - half, mean + half

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N ..."]:
        """Draw the targets together, µ + L ε, (N,) or (N, T).

        Returns:
            One draw an example, in the targets' units.
        """
        mean, _, whitener = self._split(outputs.detach())
        noise = torch.randn((*mean.shape, 1), generator=generator, dtype=mean.dtype, device=mean.device)
        return drop_lone_column(mean + torch.linalg.solve_triangular(whitener, noise, upper=False).squeeze(-1))

    def kl(self, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return KL(p ‖ q) in nats: ½ (‖W' L‖² + ‖W' (µ - µ')‖² - T) - Σ_i log (s_i / s'_i).

        Returns:
            One number an example.
        """
        (mean, log_s, _), (other_mean, other_log_s, other_whitener) = self._split(outputs), self._split(other)
        ratio = other_whitener @ self._factor(outputs)
        shift = other_whitener @ (mean - other_mean).unsqueeze(-1)
        log_ratio = log_s - other_log_s  # the diagonal of W' L holds its exponentials
        off = ratio.tril(-1).square().sum((-2, -1)) + shift.square().sum((-2, -1))
        return 0.5 * (off + torch.expm1(2.0 * log_ratio).sum(-1)) - log_ratio.sum(-1)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that are not finite, by row."""
        check_column_count("FullGaussian", target, self.n_targets)

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return µ and log s, (N, T) each, and W, (N, T, T)."""
        check_outputs("FullGaussian", outputs, self.n_outputs)
        t = self.n_targets
        log_s = log_scale(outputs[:, t : 2 * t])
        entries = torch.cat([torch.zeros_like(outputs[:, :1]), outputs[:, 2 * t :]], dim=1)
        place = torch.zeros(t, t, dtype=torch.int64, device=outputs.device)
        rows, columns = torch.tril_indices(t, t, -1, device=outputs.device)
        place[rows, columns] = torch.arange(1, len(rows) + 1, device=outputs.device)
        below = entries[:, place.flatten()].reshape(len(outputs), t, t)
        return outputs[:, :t], log_s, below + torch.diag_embed(torch.exp(-log_s))

    def _factor(self, outputs: Tensor) -> Tensor:
        """Return L = W⁻¹, (N, T, T)."""
        whitener = self._split(outputs)[2]
        identity = torch.eye(self.n_targets, dtype=outputs.dtype, device=outputs.device).expand_as(whitener)
        factor: Tensor = torch.linalg.solve_triangular(whitener, identity, upper=False)
        return factor
