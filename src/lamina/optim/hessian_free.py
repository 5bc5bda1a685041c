"""Hessian-free optimisation: truncated Newton steps with the Gauss-Newton matrix, which is met in products only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.curvature._vectors import Tensors
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.conjugate_gradient import Iterate, Solution, conjugate_gradient
from lamina.errors import ConfigError
from lamina.optim._flat import Closure, FlatBatch, whole_state
from lamina.optim._hessian_free_preconditioner import Preconditioner, check_preconditioner, preconditioner
from lamina.optim.newton import Curvature, check_curvature

Judge = Literal["batch", "part"]

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
        M          the preconditioner: (diag(mean of g_n²) + λ)^0.75, g_n the gradient of one example of that part, or
                   K-FAC's A ⊗ G of each layer
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

    When not to use it: on mini-batches of a few hundred (take two thousand and a least λ, many thousands, or all);
    where Adam is at the goal within minutes; with batch normalisation or dropout in training mode beside the layers
    that ``curvature_diagonal`` takes whole, unless ``preconditioner="none"``; with a Gaussian mixture, whose
    Gauss-Newton matrix has no closed form.

    Args:
        params: Parameters or groups.
        lr: The square of the scale that a group's steps are measured in: the damping of its weights is λ/lr. 1 for all
            is the plain method; 0 keeps a group where it is.
        damping: λ at first, at least 0; 0 stays 0.
        bounds: Least and largest λ, above 0. On mini-batches that change the rule lowers λ as long as the model
            foretells the batch at hand, until steps fit its noise and the loss of the rest rises; a least λ holds that
            off.
        share: Of the batch's examples that the curvature is taken of, in (0, 1].
        curvature: "gauss-newton", or "hessian".
        preconditioner: "diagonal"; "kronecker", with running means of the factors, for networks of layers that
            ``lamina.curvature.KroneckerFactors`` covers; or "none".
        precondition_every: Steps between measurements of M. A diagonal takes two gradients of the part, the factors
            one and an inversion.
        judge: What the iterates, ρ and the search are judged by: "batch", or "part", the examples of the curvature,
            L_part(θ + p) - L_part(θ) + (∇L - ∇L_part)·p, which costs ``share`` of it and a gradient of the part.
        max_steps: Of conjugate gradients.
        progress: ε of the stopping rule; 0 goes on to ``tolerance``.
        tolerance: On the residual of conjugate gradients, relative to the gradient.
        decay: In [0, 1].
        generator: Source of the targets that Kronecker factors are measured with; None is PyTorch's default generator.

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
        bounds: tuple[float, float] = (1e-30, 1e30),
        share: float = 1.0,
        curvature: Curvature = "gauss-newton",
        preconditioner: Preconditioner = "diagonal",
        precondition_every: int = 1,
        judge: Judge = "batch",
        max_steps: int = 250,
        progress: float = 5e-4,
        tolerance: float = 1e-6,
        decay: float = 0.95,
        generator: Generator | None = None,
    ) -> None:
        if not lr >= 0.0 or not 0.0 <= damping < math.inf or not 0.0 < share <= 1.0 or not 0.0 <= decay <= 1.0:
            raise ConfigError(
                "lr and damping must be at least 0, share in (0, 1] and decay in [0, 1], got "
                f"{lr!r}, {damping!r}, {share!r} and {decay!r}",
                where="HessianFree",
                mend="correct the one that is not",
            )
        if max_steps < 1 or precondition_every < 1 or not progress >= 0.0 or not tolerance >= 0.0:
            raise ConfigError(
                "max_steps and precondition_every must be at least 1, progress and tolerance at least 0, got "
                f"{max_steps!r}, {precondition_every!r}, {progress!r} and {tolerance!r}",
                where="HessianFree",
                mend="correct the one that is not",
            )
        if not 0.0 < bounds[0] <= bounds[1] < math.inf:
            raise ConfigError(
                f"bounds must be two numbers above 0, the least first, got {bounds!r}",
                where="HessianFree",
                mend="use bounds=(1e-3, 1e8)",
            )
        if judge not in get_args(Judge):
            raise ConfigError(
                f'judge must be "batch" or "part", got {judge!r}', where="HessianFree", mend='use judge="batch"'
            )
        check_curvature("HessianFree", curvature)
        check_preconditioner("HessianFree", preconditioner)
        super().__init__(params, {"lr": lr})
        self.damping, self.bounds, self.share, self.curvature, self.judge = damping, bounds, share, curvature, judge
        self.preconditioner, self.precondition_every = preconditioner, precondition_every
        self.max_steps, self.progress, self.tolerance, self.decay = max_steps, progress, tolerance, decay
        self.generator = generator
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
        part = self._part(here.batch)
        solution, precondition = self._solve(here, part, scale, gradient, damping)
        judged = here if self.judge == "batch" or part is here.batch else _seen_by(here, part)
        state["steps"] = state.get("steps", 0) + 1
        origin = here.flat.values()

        def at(vector: Tensor) -> float:
            value = float(judged.value_at(torch.addcmul(origin, scale, vector)))
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
        ratio = judged.ratio(after, predicted, scale * step) if predicted < 0.0 else -math.inf
        # Where rounding hides what the loss fell by, the ratio has looked at the gradient there.
        moved, rate = ratio > SUFFICIENT and abs(after - loss) <= here.flat.rounding * abs(loss), 1.0
        while not moved and not after <= loss + SUFFICIENT * rate * slope and rate > LEAST:
            rate *= SHORTER
            after, evaluations = at(rate * step), evaluations + 1
        moved = moved or after <= loss + SUFFICIENT * rate * slope
        step = scale * step
        here.flat.place(torch.add(origin, step, alpha=rate) if moved else origin)
        if ratio < 0.25 or not moved:
            state["damping"] = min(1.5 * damping, self.bounds[1])
        elif ratio > 0.75:
            state["damping"] = max(damping / 1.5, self.bounds[0]) if damping else 0.0
        for p, move in zip(here.flat.parameters, here.flat.split(step), strict=True):
            self.state[p]["direction"] = move.clone() if moved else torch.zeros_like(move)
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

    def state_dict(self) -> dict[str, Any]:
        """Return PyTorch's state, and the generator's under ``generator``."""
        drawn = None if self.generator is None else self.generator.get_state()
        return super().state_dict() | {"generator": drawn}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "generator"})
        drawn = state_dict.get("generator")
        if drawn is not None and self.generator is not None:
            self.generator.set_state(drawn.cpu())

    def _solve(
        self, here: FlatBatch, part: BatchLoss, scale: Tensor, gradient: Tensor, damping: float
    ) -> tuple[Solution, Callable[[Tensor], Tensor]]:
        """Return what conjugate gradients found, and v to M⁻¹ v."""
        multiply = part.product(self.curvature)
        precondition = preconditioner(
            self.preconditioner,
            here,
            part,
            scale,
            damping,
            every=self.precondition_every,
            state=self.state[self.param_groups[0]["params"][0]].setdefault("preconditioner", {}),
            generator=self.generator,
        )
        last = [self.state[p].get("direction", torch.zeros_like(p)) for p in here.flat.parameters]
        before = torch.cat([d.reshape(-1) for d in last]) * self.decay
        start = torch.where(scale > 0.0, before / scale, 0.0)
        plain, whole = not bool((scale != 1.0).any()), len(here.names) == len(here.batch.named)

        def product(vector: Mapping[str, Tensor]) -> Tensors:
            v = vector[""] if plain else scale * vector[""]
            named = dict(zip(here.names, here.flat.split(v), strict=True)) if whole else here.as_named(v)
            found = here.as_vector(multiply(named))
            return {"": found if plain else scale * found}

        found = conjugate_gradient(
            product,
            {"": -gradient},
            damping=damping,
            max_steps=self.max_steps,
            tolerance=self.tolerance,
            start={"": start} if bool(start.any()) else None,
            precondition=None if self.preconditioner == "none" else lambda v: {"": precondition(v[""])},
            progress=self.progress,
            keep=1.3,
        )
        return found, precondition

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


def _seen_by(here: FlatBatch, part: BatchLoss) -> FlatBatch:
    """Return L̂(θ + p) = L_part(θ + p) + L - L_part + (∇L - ∇L_part)·p: the whole's value and slopes, the part's bends.

    Args:
        here: L at θ, where the parameters stand.
        part: Some of the examples. It becomes L̂.

    Returns:
        L̂ in the same coordinates.
    """
    offset = here.loss - part()
    tilt, origin, own = here.gradient - here.flat.gradient(), here.flat.values(), part.penalty

    def penalty(outputs: Tensor) -> Tensor:
        away = torch.cat([p.reshape(-1) for p in here.flat.parameters]) - origin
        added = offset + tilt @ away
        return added if own is None else added + own(outputs)

    part.penalty = penalty
    seen = copy(here)
    seen.batch = part
    return seen


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
