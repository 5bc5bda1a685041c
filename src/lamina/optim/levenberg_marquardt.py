"""Levenberg-Marquardt: damped Gauss-Newton steps, the damping raised until the loss falls and lowered where it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.optim._flat import Closure, FlatBatch, whole_state

LOWEST, HIGHEST = 1e-30, 1e30  # of µ, so that it stays a number that can change


@dataclass(frozen=True, slots=True)
class LevenbergMarquardtReport:
    """The last step.

    Attributes:
        length: ‖Δθ‖; 0 where the parameters have not moved.
        damping: µ of the last trial.
        ratio: ρ of the last trial; nan where there was none.
        trials: Systems that were solved, each with one evaluation of the loss where it could be.
        loss: At the end.
        reason: ``accepted``; ``trials``: no µ that was tried lowered the loss, and the next step goes on from the last;
            ``zero-gradient``, ``non-finite``: none was tried.
    """

    length: float
    damping: float
    ratio: float
    trials: int
    loss: float
    reason: str


class LevenbergMarquardt(Optimizer):
    """Least squares, (G + µD) p = -∇L, θ ← θ + p, with µ between Gauss-Newton's step and a short one downhill.

        G = JᵀJ / (N s²) for the Gaussian likelihood of fixed scale s, whose loss is Σ ‖f - t‖² / (2 N s²)
        G = (1/N) Σ_n J_nᵀ M_n J_n for any other, M the Fisher information of the outputs: damped natural gradient
        ρ = (L(θ) - L(θ + p)) / -(g·p + ½ p·G p),   p is taken if ρ > accept, else µ is raised and p solved anew

        nielsen      µ ← µ max(⅓, 1 - (2ρ - 1)³), ν ← 2 on success;   µ ← µν, ν ← 2ν on failure
        marquardt    µ ← µ/10 on success;   µ ← 10µ on failure

    D is the largest diagonal of G seen so far, which makes the steps the same whatever the parameters' units and serves
    networks better, or without ``scaled`` the identity. A penalty's Hessian is part of G. Where G + µD is not positive
    definite in the type's arithmetic, that is a failure as well. Where the fall is lost in rounding, it is taken from
    -½ (g + g')·p, at one more gradient.

    One step forms G by P products (vectorised; each a sweep forward and one back), P² numbers, and solves P³/3
    multiplications and evaluates the loss once a trial, mostly one. Near a minimum with small residuals it converges
    like Newton's method, without second derivatives.

    When not to use it: beyond one or two thousand parameters (``HessianFree``, ``KFAC``); on mini-batches, as the fall
    of one batch's loss says little of the others'; where residuals stay large and curved (``TrustRegionNewton``).

    Args:
        params: Parameters or groups.
        lr: The square of the scale that a group's steps are measured in: the damping of its weights is µD/lr. 1 for all
            is the plain method; 0 keeps a group where it is.
        damping: τ: µ at first; without ``scaled`` relative to the largest diagonal of G.
        rule: How µ goes.
        scaled: Damp by G's diagonal, as Marquardt did, and Moré's MINPACK by its largest.
        trials: µ is raised so often in one step, at least 1.
        accept: Least ρ, in [0, 1).

    Raises:
        ConfigError: If an argument does not fit.

    References: Levenberg, Quart. Appl. Math. 2, 1944; Marquardt, SIAM J. Appl. Math. 11(2), 1963; Moré, "The
    Levenberg-Marquardt Algorithm", 1978 (scaling); Nielsen, "Damping Parameter in Marquardt's Method", IMM-REP-1999-05.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        damping: float = 1e-3,
        rule: Literal["nielsen", "marquardt"] = "nielsen",
        scaled: bool = True,
        trials: int = 10,
        accept: float = 1e-4,
    ) -> None:
        if not lr >= 0.0 or not 0.0 < damping < math.inf or trials < 1 or not 0.0 <= accept < 1.0:
            raise ConfigError(
                f"lr must be at least 0, damping above 0, trials at least 1 and accept in [0, 1), got {lr!r}, "
                f"{damping!r}, {trials!r} and {accept!r}",
                where="LevenbergMarquardt",
                mend="correct the one that is not",
            )
        if rule not in {"nielsen", "marquardt"}:
            raise ConfigError(
                f'rule must be "nielsen" or "marquardt", got {rule!r}', where="LevenbergMarquardt", mend="leave it out"
            )
        super().__init__(params, {"lr": lr})
        self.damping, self.rule, self.scaled, self.trials, self.accept = damping, rule, scaled, trials, accept
        self.last: LevenbergMarquardtReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Make one step, of as many trials as it takes.

        Args:
            closure: A ``lamina.curvature.BatchLoss``.

        Returns:
            The loss at the beginning.
        """
        here = FlatBatch("LevenbergMarquardt", self.param_groups, closure)
        loss = float(here.loss)
        stuck = here.stuck
        curvature = here.matrix("gauss-newton") if not stuck else here.gradient
        if stuck or not curvature.isfinite().all():
            self.last = LevenbergMarquardtReport(0.0, math.nan, math.nan, 0, loss, stuck or "non-finite")
            return here.loss
        # In φ = θ / √lr all weights are damped alike.
        scale = here.flat.option("lr").sqrt()
        gradient = scale * here.gradient
        matrix = scale.unsqueeze(1) * curvature * scale
        state = self.state[self.param_groups[0]["params"][0]]
        diagonal = self._diagonal(state, here.flat.layout, curvature.diagonal(), float(matrix.diagonal().max()))
        origin, length, ratio, trials, end, reason = here.flat.values(), 0.0, math.nan, 0, loss, "trials"
        damping: float = state["damping"]
        while trials < self.trials and reason != "accepted":
            trials += 1
            damping = state["damping"]
            factor, failed = torch.linalg.cholesky_ex(matrix + torch.diag(damping * diagonal))
            ratio = -math.inf
            if not failed:
                step = torch.cholesky_solve(-gradient.unsqueeze(1), factor).squeeze(1)
                predicted = float(gradient @ step + 0.5 * (step @ (matrix @ step)))
                if predicted < 0.0:
                    moved = scale * step
                    end = float(here.value_at(origin + moved))
                    ratio = here.ratio(end, predicted, moved)
            if ratio > self.accept:
                reason, length = "accepted", float(torch.linalg.vector_norm(moved))
            self._adapt(state, ratio)
        if reason != "accepted":
            end = loss
            here.flat.place(origin)
        self.last = LevenbergMarquardtReport(length, damping, ratio, trials, end, reason)
        return here.loss

    def _diagonal(self, state: dict[str, object], layout: list[int], now: Tensor, largest: float) -> Tensor:
        """Return D, and set µ where the parameters are new."""
        if state.get("layout") != layout:
            state.clear()
            relative_to = 1.0 if self.scaled or largest == 0.0 else largest
            state.update(layout=layout, damping=self.damping * relative_to, growth=2.0)
        if not self.scaled:
            return torch.ones_like(now)
        before = state.get("diagonal")
        now = torch.maximum(now, before) if isinstance(before, Tensor) else torch.where(now > 0.0, now, 1.0)
        state["diagonal"] = now
        return now

    def _adapt(self, state: dict[str, float], ratio: float) -> None:
        """Set µ for the next trial."""
        if ratio > self.accept:
            fall = max(1.0 / 3.0, 1.0 - (2.0 * min(ratio, 1e3) - 1.0) ** 3) if self.rule == "nielsen" else 0.1
            state.update(damping=max(state["damping"] * fall, LOWEST), growth=2.0)
        else:
            state["damping"] = min(state["damping"] * (state["growth"] if self.rule == "nielsen" else 10.0), HIGHEST)
            state["growth"] *= 2.0
