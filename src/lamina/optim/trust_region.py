"""Newton's method in a trust region: steps no longer than the model of the loss has been right for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.optim._flat import Closure, FlatBatch, whole_state
from lamina.optim.newton import Curvature, check_curvature
from lamina.optim.trust_region_subproblem import TrustRegionStep, more_sorensen, steihaug_toint


@dataclass(frozen=True, slots=True)
class TrustRegionReport:
    """The last step.

    Attributes:
        length: ‖p‖ of the step that was tried.
        radius: r it was tried with.
        ratio: ρ, the fall of the loss over what the model promised; nan where no step was tried.
        accepted: Whether the parameters moved.
        multiplier: λ with (C + λI) p = -g; nan where conjugate gradients ended on the boundary.
        products: With the curvature.
        loss: At the end.
        reason: Of the subproblem (see ``TrustRegionStep``), or ``rejected``, ``non-finite``, ``zero-gradient``.
    """

    length: float
    radius: float
    ratio: float
    accepted: bool
    multiplier: float
    products: int
    loss: float
    reason: str


class TrustRegionNewton(Optimizer):
    """θ ← θ + p,  p = argmin g·p + ½ p·C p within ‖p‖ ≤ r,  where the loss falls by enough of what this promises.

        ρ = (L(θ) - L(θ + p)) / -(g·p + ½ p·C p)
        p is taken if ρ > accept
        r ← ‖p‖/4 if ρ < ¼;   r ← min(2r, largest) if ρ > ¾ and ‖p‖ = r

    The bound on the step is a damping that finds itself: the exact p solves (C + λI) p = -g for the one λ ≥ 0 with
    λ (r - ‖p‖) = 0 and C + λI positive semi-definite. λ = 0 where Newton's own step fits into the region; else
    ‖(C + λI)⁻¹g‖ = r, λ falls as r grows, and is near ‖g‖/r for small r. Texts that add λ²I mean this λ by λ².
    Negative curvature is followed, not fled from: saddles are left, and the loss never rises on its batch.

    ``subproblem="steihaug"`` goes along conjugate gradients up to the boundary: up to ``max_steps`` products of two
    gradients' cost each, five vectors. ``"exact"`` forms C (P products, P² numbers) and its eigenvectors (some 10 P³
    multiplications), for up to a thousand parameters. Both evaluate the loss once more for ρ; where its fall is lost in
    rounding (float32 near a minimum), the gradient, and take the fall from -½ (g + g')·p.

    When not to use it: on mini-batches of a few hundred examples and less, where r follows noise and a step costs many
    gradients (Adam); with kinked units take ``curvature="gauss-newton"``.

    Args:
        params: Parameters or groups.
        lr: The square of the scale that a group's steps are measured in: ‖p‖² = Σ p²/lr. 1 for all is the plain region;
            a group of lr 0.01 is held ten times closer, one of 0 stays.
        radius: r at first, above 0.
        largest: Bound on r.
        accept: In [0, ¼).
        curvature: "hessian" or "gauss-newton".
        subproblem: "steihaug" or "exact".
        max_steps: Of conjugate gradients.
        tolerance: On their residual relative to ‖g‖; None is min(½, √‖g‖).

    Raises:
        ConfigError: If an argument does not fit.

    References: Nocedal & Wright, Numerical Optimization, 2006, algorithms 4.1 and 7.2, section 4.3; Conn, Gould &
    Toint, "Trust-Region Methods", 2000, section 17.4.2 (rounding).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        radius: float = 1.0,
        largest: float = 100.0,
        accept: float = 0.1,
        curvature: Curvature = "hessian",
        subproblem: Literal["steihaug", "exact"] = "steihaug",
        max_steps: int = 250,
        tolerance: float | None = None,
    ) -> None:
        if not lr >= 0.0 or not 0.0 < radius <= largest < math.inf or not 0.0 <= accept < 0.25 or max_steps < 1:
            raise ConfigError(
                "lr must be at least 0, radius above 0 and at most largest, accept in [0, 0.25) and max_steps at least "
                f"1, got {lr!r}, {radius!r}, {largest!r}, {accept!r} and {max_steps!r}",
                where="TrustRegionNewton",
                mend="correct the one that is not",
            )
        if subproblem not in {"steihaug", "exact"} or not (tolerance is None or tolerance >= 0.0):
            raise ConfigError(
                'subproblem must be "steihaug" or "exact" and tolerance at least 0, got '
                f"{subproblem!r} and {tolerance!r}",
                where="TrustRegionNewton",
                mend="leave both out",
            )
        check_curvature("TrustRegionNewton", curvature)
        super().__init__(params, {"lr": lr})
        self.radius, self.largest, self.accept, self.curvature = radius, largest, accept, curvature
        self.subproblem, self.max_steps, self.tolerance = subproblem, max_steps, tolerance
        self.last: TrustRegionReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Try one step.

        Args:
            closure: A ``lamina.curvature.BatchLoss``.

        Returns:
            The loss at the beginning.
        """
        here = FlatBatch("TrustRegionNewton", self.param_groups, closure)
        state = self.state[self.param_groups[0]["params"][0]]
        radius: float = state.setdefault("radius", self.radius)
        loss = float(here.loss)
        stuck = here.stuck
        if stuck:
            self.last = TrustRegionReport(0.0, radius, math.nan, False, 0.0, 0, loss, stuck)
            return here.loss
        # In φ = θ / √lr the region is a ball, whatever the groups' lr.
        scale = here.flat.option("lr").sqrt()
        gradient = scale * here.gradient
        found = self._solve(here, scale, gradient, radius)
        if not math.isfinite(found.predicted) or found.predicted >= 0.0:
            reason = "zero-gradient" if found.predicted == 0.0 else "non-finite"
            self.last = TrustRegionReport(0.0, radius, math.nan, False, 0.0, found.products, loss, reason)
            return here.loss
        origin = here.flat.values()
        step = scale * found.step
        after = float(here.value_at(origin + step))
        ratio = here.ratio(after, found.predicted, step)
        length = float(torch.linalg.vector_norm(found.step))
        accepted = ratio > self.accept
        if not accepted:
            here.flat.place(origin)
        if ratio < 0.25:
            state["radius"] = 0.25 * length
        elif ratio > 0.75 and found.on_boundary:
            state["radius"] = min(2.0 * radius, self.largest)
        self.last = TrustRegionReport(
            length,
            radius,
            ratio,
            accepted,
            found.multiplier,
            found.products,
            after if accepted else loss,
            found.reason if accepted else "rejected" if math.isfinite(after) else "non-finite",
        )
        return here.loss

    def _solve(self, here: FlatBatch, scale: Tensor, gradient: Tensor, radius: float) -> TrustRegionStep:
        if self.subproblem == "exact":
            matrix = scale.unsqueeze(1) * here.matrix(self.curvature) * scale
            if not matrix.isfinite().all():
                return TrustRegionStep(gradient, math.nan, math.nan, len(gradient), "non-finite")
            return replace(more_sorensen(matrix, gradient, radius), products=len(gradient))
        product = here.product(self.curvature)
        return steihaug_toint(
            lambda v: scale * product(scale * v),
            gradient,
            radius,
            max_steps=self.max_steps,
            tolerance=self.tolerance,
        )
