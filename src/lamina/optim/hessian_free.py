"""Hessian-free optimisation: truncated Newton steps with the Gauss-Newton matrix, which is met in products only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.conjugate_gradient import Iterate, Solution, conjugate_gradient
from lamina.curvature.diagonal import curvature_diagonal
from lamina.errors import ConfigError
from lamina.optim._flat import Closure, FlatBatch, whole_state
from lamina.optim.newton import Curvature, check_curvature

LOWEST, HIGHEST = 1e-30, 1e30  # of λ, so that it stays a number that can change
SHORTER, SUFFICIENT, LEAST = 0.8, 1e-2, 1e-6  # of the line search


@dataclass(frozen=True, slots=True)
class HessianFreeReport:
    """The last step.

    Attributes:
        length: ‖Δθ‖; 0 where the parameters have not moved.
        damping: λ it was solved with.
        ratio: ρ; nan where there was no direction to try.
        steps: Of conjugate gradients.
        chosen: The step of conjugate gradients whose iterate was taken.
        rate: How much of it, found by the line search.
        evaluations: Of the loss, beside the gradient.
        loss: At the end.
        reason: ``accepted``; ``line-search``: no share of the direction lowers the loss, and the parameters stay;
            ``zero-gradient``, ``non-finite``: none was tried.
    """

    length: float
    damping: float
    ratio: float
    steps: int
    chosen: int
    rate: float
    evaluations: int
    loss: float
    reason: str


class HessianFree(Optimizer):
    """(G + λI) p ≈ -∇L by conjugate gradients, θ ← θ + α p, with λ raised where G misjudges the loss.

        G          Gauss-Newton matrix of a part of the batch, with the penalty's Hessian; ∇L of the whole batch
        M          (diag(mean of g_n²) + λ)^0.75, the preconditioner, g_n the gradient of one example of that part
        stop       φ(p) = g·p + ½ p·(G + λI) p falls over the last k steps by less than k ε |φ|, k = max(10, i/10)
        backtrack  of the iterates at about 1.3^j steps, from the last towards the first, as long as L falls
        ρ          (L(θ) - L(θ + p)) / (-g·p - ½ p·G p);   λ ← 3/2 λ if ρ < ¼, λ ← 2/3 λ if ρ > ¾
        search     α = 1, 0.8, 0.64, … until L(θ + α p) ≤ L(θ) + 0.01 α g·p

    Conjugate gradients start from ``decay`` times the last p, which carries what one batch's curvature has said over to
    the next. A step costs a gradient and some tens of products at 1.2 gradients of the part each, and some forward
    passes; the memory is some thirty vectors. It goes through the long narrow valleys of deep autoencoders and of
    recurrent networks, where steepest descent creeps. Where p does not descend (G is indefinite by a penalty, or
    ``curvature="hessian"``), the preconditioned gradient takes its place. Where rounding hides the fall of L, ρ takes
    it from the gradient at the end, and with ρ above 0.01 the step is made.

    Depart from the paper: ρ is of the model without damping and of the iterate that was chosen; the parts of a batch
    are taken in turn, not drawn, so give examples in random order; no structural damping.

    When not to use it: on mini-batches of a few hundred (take thousands, or all); where Adam is at the goal within
    minutes; with batch normalisation or dropout in training mode beside the layers that ``curvature_diagonal`` takes
    whole, unless ``preconditioned=False``; with a Gaussian mixture, whose Gauss-Newton matrix has no closed form.

    Args:
        params: Parameters or groups.
        lr: The square of the scale that a group's steps are measured in: the damping of its weights is λ/lr. 1 for all
            is the plain method; 0 keeps a group where it is.
        damping: λ at first, at least 0; 0 stays 0.
        share: Of the batch's examples that the curvature is taken of, in (0, 1].
        curvature: "gauss-newton", or "hessian".
        preconditioned: Whether conjugate gradients use M.
        max_steps: Of conjugate gradients.
        progress: ε of the stopping rule; 0 goes on to ``tolerance``.
        tolerance: On the residual of conjugate gradients, relative to the gradient.
        decay: In [0, 1].

    Raises:
        ConfigError: If an argument does not fit.

    References: Martens, "Deep Learning via Hessian-free Optimization", ICML 2010; Martens & Sutskever, "Training Deep
    and Recurrent Networks with Hessian-Free Optimization", in "Neural Networks: Tricks of the Trade", 2012.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        damping: float = 1.0,
        share: float = 1.0,
        curvature: Curvature = "gauss-newton",
        preconditioned: bool = True,
        max_steps: int = 250,
        progress: float = 5e-4,
        tolerance: float = 1e-6,
        decay: float = 0.95,
    ) -> None:
        if not lr >= 0.0 or not 0.0 <= damping < math.inf or not 0.0 < share <= 1.0 or not 0.0 <= decay <= 1.0:
            raise ConfigError(
                "lr and damping must be at least 0, share in (0, 1] and decay in [0, 1], got "
                f"{lr!r}, {damping!r}, {share!r} and {decay!r}",
                where="HessianFree",
                mend="correct the one that is not",
            )
        if max_steps < 1 or not progress >= 0.0 or not tolerance >= 0.0:
            raise ConfigError(
                "max_steps must be at least 1, progress and tolerance at least 0, got "
                f"{max_steps!r}, {progress!r} and {tolerance!r}",
                where="HessianFree",
                mend="correct the one that is not",
            )
        check_curvature("HessianFree", curvature)
        super().__init__(params, {"lr": lr})
        self.damping, self.share, self.curvature, self.preconditioned = damping, share, curvature, preconditioned
        self.max_steps, self.progress, self.tolerance, self.decay = max_steps, progress, tolerance, decay
        self.last: HessianFreeReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Make one step.

        Args:
            closure: A ``lamina.curvature.BatchLoss``.

        Returns:
            The loss at the beginning.
        """
        here = FlatBatch("HessianFree", self.param_groups, closure)
        loss, state = float(here.loss), self.state[self.param_groups[0]["params"][0]]
        damping: float = state.setdefault("damping", self.damping)
        # In φ = θ / √lr all weights are damped alike.
        scale = here.flat.option("lr").sqrt() if not here.stuck else here.gradient
        gradient = scale * here.gradient
        if here.stuck or not gradient.any():
            self._report(0.0, damping, loss, here.stuck or "zero-gradient")
            return here.loss
        solution, precondition = self._solve(here, scale, gradient, damping)
        state["steps"] = state.get("steps", 0) + 1
        origin = here.flat.values()

        def at(vector: Tensor) -> float:
            value = float(here.value_at(torch.addcmul(origin, scale, vector)))
            return value if math.isfinite(value) else math.inf

        chosen, after, evaluations = _backtrack(solution, at)
        step = chosen.vector[""]
        slope = float(gradient @ step)
        if not slope < 0.0:
            step = -precondition(gradient)
            slope, after, evaluations = float(gradient @ step), at(step), evaluations + 1
            chosen = Iterate(0, {"": step}, slope)
        # φ holds the damping, the model that is judged does not.
        predicted = chosen.value - 0.5 * damping * float(step @ step)
        here.flat.place(torch.addcmul(origin, scale, step))
        ratio = here.ratio(after, predicted, scale * step) if predicted < 0.0 else -math.inf
        # Where rounding hides what the loss fell by, the ratio has looked at the gradient there.
        moved, rate = ratio > SUFFICIENT and abs(after - loss) <= here.flat.rounding * abs(loss), 1.0
        while not moved and not after <= loss + SUFFICIENT * rate * slope and rate > LEAST:
            rate *= SHORTER
            after, evaluations = at(rate * step), evaluations + 1
        moved = moved or after <= loss + SUFFICIENT * rate * slope
        step = scale * step
        here.flat.place(torch.add(origin, step, alpha=rate) if moved else origin)
        if ratio < 0.25 or not moved:
            state["damping"] = min(1.5 * damping, HIGHEST)
        elif ratio > 0.75:
            state["damping"] = max(damping / 1.5, LOWEST) if damping else 0.0
        for p, part in zip(here.flat.parameters, here.flat.split(step), strict=True):
            self.state[p]["direction"] = part.clone() if moved else torch.zeros_like(part)
        self._report(
            rate * float(torch.linalg.vector_norm(step)) if moved else 0.0,
            damping,
            after if moved else loss,
            "accepted" if moved else "line-search",
            ratio=ratio,
            steps=solution.steps,
            chosen=chosen.step,
            rate=rate if moved else 0.0,
            evaluations=evaluations,
        )
        return here.loss

    def _solve(
        self, here: FlatBatch, scale: Tensor, gradient: Tensor, damping: float
    ) -> tuple[Solution, Callable[[Tensor], Tensor]]:
        """Return what conjugate gradients found, and v to M⁻¹ v."""
        part = self._part(here.batch)
        multiply = part.product(self.curvature)
        if self.preconditioned:
            diagonal = scale.square() * here.as_vector(curvature_diagonal(part, "empirical-fisher")) + damping
            smallest = torch.finfo(diagonal.dtype).eps * diagonal.max()
            inverse = diagonal.clamp(min=smallest).pow(-0.75) if smallest > 0.0 else torch.ones_like(diagonal)
        else:
            inverse = torch.ones_like(gradient)
        last = [self.state[p].get("direction", torch.zeros_like(p)) for p in here.flat.parameters]
        before = torch.cat([d.reshape(-1) for d in last]) * self.decay
        start = torch.where(scale > 0.0, before / scale, 0.0)
        found = conjugate_gradient(
            lambda v: {"": scale * here.as_vector(multiply(here.as_named(scale * v[""])))},
            {"": -gradient},
            damping=damping,
            max_steps=self.max_steps,
            tolerance=self.tolerance,
            start={"": start} if bool(start.any()) else None,
            precondition=(lambda v: {"": inverse * v[""]}) if self.preconditioned else None,
            progress=self.progress,
            keep=1.3,
        )
        return found, lambda v: inverse * v

    def _part(self, batch: BatchLoss) -> BatchLoss:
        """Return the examples whose curvature is taken: the next in turn."""
        size = max(1, round(self.share * batch.size))
        turns = batch.size // size
        if turns == 1:
            return batch
        start = size * (self.state[self.param_groups[0]["params"][0]].get("steps", 0) % turns)
        return batch.rows(start, start + size)

    def _report(self, length: float, damping: float, loss: float, reason: str, **more: float) -> None:
        numbers = {"ratio": math.nan, "steps": 0, "chosen": 0, "rate": 0.0, "evaluations": 0} | more
        self.last = HessianFreeReport(length=length, damping=damping, loss=loss, reason=reason, **numbers)  # type: ignore[arg-type]


def _backtrack(solution: Solution, at: Callable[[Tensor], float]) -> tuple[Iterate, float, int]:
    """Return the iterate, from the last towards the first, after which the loss rises again.

    Returns:
        It, the loss there and how often the loss was asked.
    """
    best, value = solution.iterates[-1], at(solution.iterates[-1].vector[""])
    evaluations = 1
    for earlier in reversed(solution.iterates[:-1]):
        other = at(earlier.vector[""])
        evaluations += 1
        if other >= value and math.isfinite(value):
            break
        best, value = earlier, other
    return best, value, evaluations
