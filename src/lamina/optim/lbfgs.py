"""L-BFGS with parameter groups, damped pairs and a line search that survives float32; memory 1 is memoryless BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.optim._flat import Closure, Flat, evaluated, whole_state
from lamina.optim.limited_memory import DiagonalPlusLowRank, Pair, compact, damped, two_loops
from lamina.optim.line_search import Trial, check_constants, strong_wolfe

SMALLEST = 1e-10  # a pair with s·y below so much of ‖s‖ ‖y‖ says nothing


@dataclass(frozen=True, slots=True)
class LBFGSReport:
    """The last iteration of a step.

    Attributes:
        evaluations: Of loss and gradient, in all of the step.
        length: α; 0 where the parameters have not moved.
        loss: At the end.
        pairs: Pairs kept.
        restarted: Whether the pairs were given up for steepest descent.
        reason: Of the line search (see ``LineSearchResult``), ``fixed`` without one, ``zero-gradient``.
    """

    evaluations: int
    length: float
    loss: float
    pairs: int
    restarted: bool
    reason: str


class LBFGS(Optimizer):
    """Quasi-Newton descent by the last m pairs s = Δθ, y = Δ∇L.

        d = -H ∇L,   θ ← θ + α d,   α by the strong Wolfe conditions
        H ← (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ,   ρ = 1 / (s·y)      pair by pair, from H₀ = γD
        γ = s·y / (y·D y) of the newest pair,   D = diag(lr) / max lr

    H is never formed: two loops over the pairs give d. It satisfies the secant equation H y = s of the newest pair and
    is a diagonal plus a matrix of rank 2m (``inverse_curvature``). With ``memory=1`` this is the memoryless
    quasi-Newton method (memoryless BFGS): where searches are exact its directions are those of
    ``NonlinearConjugateGradient``.

    One ``step`` is ``iterations`` iterations on one batch, one if not told otherwise. It costs one evaluation of loss
    and gradient, and those of its line searches (one or two each where all goes well), 4 m P operations an iteration
    and (2m + 6) P numbers. Both gradients of a pair belong to the same batch, so that it says curvature, not noise.

    Differs from ``torch.optim.LBFGS``: parameter groups; one iteration a step, not 20; pairs are tested against their
    lengths, or damped; the search goes on where differences of the loss vanish in rounding, and gives the best point
    back when it can't. The first step tried is lr min(1, 1/‖g‖₁) as there. For one group and a whole batch in float64
    PyTorch's does the same.

    When not to use it: on batches of a few dozen examples, whose curvature is mostly noise (Adam is better); on losses
    with kinks, such as an L1 penalty (``proximal_step_``); with dropout, unless the closure is a ``BatchLoss``, which
    holds it still: a function must give the same twice.

    Args:
        params: Parameters or groups.
        lr: The largest of the groups' is the first step tried, and without a search the step. A group's share of the
            largest is its entry in D; 0 keeps a group where it is.
        memory: m, at least 1.
        iterations: Of one ``step``, at least 1.
        damping: At 0, pairs with s·y ≤ 1e-10 ‖s‖ ‖y‖ are left out. Between 0 and 1, y is drawn towards H⁻¹s until
            s·y ≥ damping · s·H⁻¹s (Powell's is 0.2): for batches that change and steps of fixed length, where negative
            s·y are common and leaving pairs out would leave none.
        line_search: ``strong-wolfe``, or None for steps of length ``lr`` at one evaluation each.
        c1: Sufficient decrease; see ``strong_wolfe``.
        c2: Curvature; see ``strong_wolfe``.
        max_evaluations: Of one line search.

    Raises:
        ConfigError: If an argument does not fit.

    References: Nocedal, "Updating Quasi-Newton Matrices with Limited Storage", Math. Comp. 35, 1980; Nocedal & Wright,
    Numerical Optimization, 2006, section 7.2; Shanno, "Conjugate Gradient Methods with Inexact Searches", Math. OR
    3(3), 1978 (memoryless).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        memory: int = 10,
        iterations: int = 1,
        damping: float = 0.0,
        line_search: Literal["strong-wolfe"] | None = "strong-wolfe",
        c1: float = 1e-4,
        c2: float = 0.9,
        max_evaluations: int = 25,
    ) -> None:
        check_constants("LBFGS", c1, c2, max_evaluations)
        if not lr >= 0.0 or memory < 1 or iterations < 1 or not 0.0 <= damping < 1.0:
            raise ConfigError(
                "lr must be at least 0, memory and iterations at least 1 and damping in [0, 1), got "
                f"{lr!r}, {memory!r}, {iterations!r} and {damping!r}",
                where="LBFGS",
                mend="correct the one that is not",
            )
        if line_search not in {"strong-wolfe", None}:
            raise ConfigError(
                f'line_search must be "strong-wolfe" or None, got {line_search!r}', where="LBFGS", mend="leave it out"
            )
        super().__init__(params, {"lr": lr})
        self.memory, self.iterations, self.damping, self.line_search = memory, iterations, damping, line_search
        self.c1, self.c2, self.max_evaluations = c1, c2, max_evaluations
        self.last: LBFGSReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Make the iterations on one batch.

        Args:
            closure: Clears the gradients, computes the loss, calls backward, returns the loss: of the same function
                whenever it is called in this step.

        Returns:
            The loss at the beginning.
        """
        closure = evaluated("LBFGS", closure)
        loss = torch.as_tensor(closure()).detach()
        flat = Flat(self.param_groups)
        at = Trial(0.0, float(loss), 0.0, flat.gradient())
        pairs, evaluations = self._pairs(flat), 1
        for _ in range(self.iterations):
            at, report = self._iterate(flat, closure, at, pairs)
            evaluations += report.evaluations
            self.last = replace(report, evaluations=evaluations)
            if report.length == 0.0:
                break
        return loss

    def inverse_curvature(self) -> DiagonalPlusLowRank | None:
        """Return H as a diagonal plus a matrix of rank 2m, or None before the first pair.

        Returns:
            The matrix whose product with ∇L is -d, over the parameters that had a gradient, in the groups' order.
        """
        flat = Flat(self.param_groups)
        pairs = self._pairs(flat)
        return compact(pairs, flat.rates()[1]) if pairs else None

    def _iterate(self, flat: Flat, closure: Closure, at: Trial, pairs: list[Pair]) -> tuple[Trial, LBFGSReport]:
        """Make one iteration from where the parameters stand.

        Returns:
            Where they stand then, and the report.
        """
        gradient = at.gradient
        assert gradient is not None
        size = float(gradient.abs().sum())
        if not (math.isfinite(size) and math.isfinite(at.value)) or size == 0.0:
            reason = "zero-gradient" if size == 0.0 else "non-finite"
            return at, LBFGSReport(0, 0.0, at.value, len(pairs), False, reason)
        largest, shares = flat.rates()
        origin, evaluations, restarted = flat.values(), 0, False
        while True:
            direction = -two_loops(gradient, pairs, shares)
            first = largest if pairs else largest * min(1.0, 1.0 / size)
            start = at._replace(step=0.0, slope=float(gradient @ direction))
            end, tried, reason = self._search(flat.along(closure, origin, direction), start, first, flat.rounding)
            evaluations += tried
            if end.step != 0.0 or not pairs:
                break
            pairs.clear()
            restarted = True
        if end.step == 0.0:
            flat.place(origin)
        else:
            assert end.gradient is not None
            flat.place(torch.add(origin, direction, alpha=end.step))
            self._remember(pairs, Pair.of(end.step * direction, end.gradient - gradient), -end.step * gradient)
        state = self.state[self.param_groups[0]["params"][0]]
        state.update(layout=flat.layout, **{name: [getattr(pair, name) for pair in pairs] for name in Pair._fields})
        return end, LBFGSReport(evaluations, end.step, end.value, len(pairs), restarted, reason)

    def _search(
        self, phi: Callable[[float], Trial], start: Trial, first: float, rounding: float
    ) -> tuple[Trial, int, str]:
        """Return where to go, at what number of evaluations, and why."""
        if self.line_search is not None:
            limits = {"c1": self.c1, "c2": self.c2, "rounding": rounding}
            found = strong_wolfe(phi, start, first, max_evaluations=self.max_evaluations, **limits)
            return found.trial, found.evaluations, found.reason
        if not start.slope < 0.0 or first == 0.0:
            return start, 0, "not-descent" if first else "zero-step"
        end = phi(first)
        fine = math.isfinite(end.value) and math.isfinite(end.slope)
        return (end, 1, "fixed") if fine else (start, 1, "non-finite")

    def _remember(self, pairs: list[Pair], pair: Pair, turned: Tensor) -> None:
        """Add a pair, if it says that the curvature along the step is above 0, and drop the oldest."""
        if self.damping > 0.0:
            pair = damped(pair, turned, self.damping)
        if pair.along > SMALLEST * pair.s.norm() * pair.y.norm():
            pairs.append(pair)
            del pairs[: -self.memory]

    def _pairs(self, flat: Flat) -> list[Pair]:
        """Return the pairs kept, none if they were of other parameters."""
        state = self.state.get(self.param_groups[0]["params"][0], {})
        if state.get("layout") != flat.layout:
            return []
        return [Pair(*kept) for kept in zip(*(state[name] for name in Pair._fields), strict=True)]
