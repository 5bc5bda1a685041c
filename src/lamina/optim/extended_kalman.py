"""The extended Kalman filter as an optimiser: incremental Gauss-Newton, recursive least squares for a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.likelihoods.gaussian import Gaussian
from lamina.optim._flat import Closure, Flat, FlatBatch, whole_state


@dataclass(frozen=True, slots=True)
class ExtendedKalmanReport:
    """The last step.

    Attributes:
        length: ‖Δθ‖; 0 where the parameters have not moved.
        surprise: eᵀ S⁻¹ e over the number of outputs seen: 1 on average where the filter knows what it doesn't know.
        reason: ``filtered``; ``non-finite``, or ``zero-gradient`` where no parameter may move: nothing was changed.
    """

    length: float
    surprise: float
    reason: str


class ExtendedKalman(Optimizer):
    """θ and its covariance P, corrected by each batch as it comes: Gauss-Newton that sees every example once.

        e = (t - f(x; θ)) / s,   J = ∂f/∂θ / s          N·K rows, of standard deviation 1 each
        P ← P / forgetting + process_noise I
        S = I + J P Jᵀ,   K = P Jᵀ S⁻¹
        θ ← θ + lr ⊙ K e,   P ← P - K J P

    For a linear unit this is recursive least squares: after any number of batches, in any order, θ is the minimum of
    ½ Σ e² + ½ (θ - θ₀)ᵀ P₀⁻¹ (θ - θ₀), the ridge regression with penalty 1/variance, without a matrix inverted. For a
    network each batch is linearised where θ stands then; examples that are seen again count again, and P shrinks. With
    ``forgetting`` below 1 an example's weight falls by that factor a step; ``process_noise`` keeps P from falling
    asleep, where the target moves or the linearisation was poor. The spread s and the weights of the examples are the
    likelihood's and the batch's.

    One step costs N·K adjoint sweeps (vectorised), 2 P² N K + (N K)³/3 multiplications and P² numbers: meant for one or
    a few examples a step.

    When not to use it: beyond one or two thousand parameters; over many epochs of data that stay the same
    (``LevenbergMarquardt`` solves that problem); in float32 over many thousand steps without process noise, where P may
    lose its positive definiteness (then S has no Cholesky factor, and steps end with ``non-finite``); with classes.

    Args:
        params: Parameters or groups.
        lr: Share of the correction that is taken; 1 is the filter, 0 holds a group and takes it for known.
        variance: P₀ = variance · I, how far from the start the weights of a group may lie; 1/variance is the penalty.
        forgetting: In (0, 1]; the memory is about 1/(1 - forgetting) steps.
        process_noise: Of a group, variance added each step, at least 0.

    Raises:
        ConfigError: If an argument does not fit.

    References: Singhal & Wu, "Training Multilayer Perceptrons with the Extended Kalman Algorithm", NIPS 1988;
    Bertsekas, "Incremental Least Squares Methods and the Extended Kalman Filter", SIAM J. Optim. 6(3), 1996; Haykin,
    "Kalman Filtering and Neural Networks", 2001, chapter 2.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        variance: float = 1.0,
        forgetting: float = 1.0,
        process_noise: float = 0.0,
    ) -> None:
        if not lr >= 0.0 or not variance > 0.0 or not 0.0 < forgetting <= 1.0 or not process_noise >= 0.0:
            raise ConfigError(
                "lr and process_noise must be at least 0, variance above 0 and forgetting in (0, 1], got "
                f"{lr!r}, {process_noise!r}, {variance!r} and {forgetting!r}",
                where="ExtendedKalman",
                mend="correct the one that is not",
            )
        super().__init__(params, {"lr": lr, "variance": variance, "process_noise": process_noise})
        self.forgetting = forgetting
        self.last: ExtendedKalmanReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Correct by one batch.

        Args:
            closure: A ``lamina.curvature.BatchLoss`` with a ``Gaussian`` likelihood of fixed scale and no penalty.

        Returns:
            The loss at the beginning.

        Raises:
            ConfigError: If it has another likelihood, or a penalty, whose place P₀ takes.
        """
        here = FlatBatch("ExtendedKalman", self.param_groups, closure)
        batch, flat = here.batch, here.flat
        likelihood = batch.likelihood
        if not isinstance(likelihood, Gaussian) or likelihood.scale is None or batch.penalty is not None:
            raise ConfigError(
                "needs the Gaussian likelihood of a fixed scale, without penalty",
                where="ExtendedKalman",
                mend="likelihoods.Gaussian(scale=1.0), and variance in place of a penalty",
            )
        if not flat.parameters:
            self.last = ExtendedKalmanReport(0.0, float("nan"), "zero-gradient")
            return here.loss
        jacobian, error = here.residuals(likelihood.scale)
        state: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        covariance = self._covariance(state, flat) / self.forgetting
        covariance.diagonal().add_(flat.option("process_noise"))
        spread = jacobian @ covariance  # J P
        inner = spread @ jacobian.mT
        inner.diagonal().add_(1.0)
        factor, failed = torch.linalg.cholesky_ex(inner)
        whitened = torch.linalg.solve_triangular(factor, torch.cat([spread, error.unsqueeze(1)], dim=1), upper=False)
        gained, surprise = whitened[:, :-1], whitened[:, -1]
        step = flat.option("lr") * (gained.mT @ surprise)
        covariance = covariance - gained.mT @ gained
        length = float(torch.linalg.vector_norm(step) + covariance.sum() * 0.0)
        if failed or not length < float("inf"):
            self.last = ExtendedKalmanReport(0.0, float("nan"), "non-finite")
            return here.loss
        flat.place(flat.values() + step)
        state.update(layout=flat.layout, covariance=0.5 * (covariance + covariance.mT))
        self.last = ExtendedKalmanReport(length, float(surprise.square().mean()), "filtered")
        return here.loss

    def _covariance(self, state: dict[str, Any], flat: Flat) -> Tensor:
        """Return P of the parameters that move now: of those that moved before as it was, of others as at first."""
        if state.get("layout") == flat.layout:
            kept: Tensor = state["covariance"]
            return kept
        covariance = torch.diag(flat.option("variance"))
        if state:
            every = [p for group in self.param_groups for p in group["params"]]
            old, new = (_ranges(layout, every) for layout in (state["layout"], flat.layout))
            common = sorted(old.keys() & new.keys())
            if common:
                rows, places = (torch.cat([of[i] for i in common]).to(covariance.device) for of in (old, new))
                covariance[places.unsqueeze(1), places] = state["covariance"][rows.unsqueeze(1), rows]
        return covariance


def _ranges(layout: list[int], every: list[Tensor]) -> dict[int, Tensor]:
    """Return which elements of the vector each parameter is."""
    sizes = [every[i].numel() for i in layout]
    return dict(zip(layout, torch.split(torch.arange(sum(sizes)), sizes), strict=True))
