"""Non-linear conjugate gradients: Fletcher & Reeves, Polak & Ribière, Hestenes & Stiefel, with Powell's restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.optim._flat import Closure, Flat, evaluated, whole_state
from lamina.optim.line_search import Trial, check_constants, strong_wolfe

Beta = Literal["fletcher-reeves", "polak-ribiere", "hestenes-stiefel"]
BETAS: tuple[Beta, ...] = ("fletcher-reeves", "polak-ribiere", "hestenes-stiefel")


@dataclass(frozen=True, slots=True)
class ConjugateGradientReport:
    """The last step.

    Attributes:
        evaluations: Of loss and gradient.
        length: α; 0 where the parameters have not moved.
        loss: At the end.
        beta: The β that the next direction takes; 0 is a restart.
        restarted: Whether the conjugate direction was given up for steepest descent in this step.
        reason: Of the line search (see ``LineSearchResult``), or ``zero-gradient``.
    """

    evaluations: int
    length: float
    loss: float
    beta: float
    restarted: bool
    reason: str


class NonlinearConjugateGradient(Optimizer):
    """Descent along directions that spare what the ones before have won.

        d = -D g + β d,   θ ← θ + α d,   α by the strong Wolfe conditions,   D = diag(lr) / max lr

        fletcher-reeves    β = g'·D g' / g·D g
        polak-ribiere      β = max(0, g'·D (g' - g) / g·D g)
        hestenes-stiefel   β = max(0, g'·D (g' - g) / d·(g' - g))            g' the new gradient, g the old one

    On a quadratic of n dimensions with exact searches (``c1=1e-7, c2=1e-6``) all three are the linear method, which
    ends after n steps. β is 0, a restart, where gradients are far from orthogonal: |g'·D g| ≥ restart · g'·D g'
    (Powell); and a direction that does not descend, or along which the search finds nothing, gives way to steepest
    descent at once.

    One step costs an evaluation of loss and gradient and those of its search, about two; the memory is one direction
    and a few vectors: the least of all methods here that know curvature. β is taken at the end of a step from two
    gradients of one batch.

    When not to use it: on small batches, where directions of different batches are not conjugate (Adam, or
    ``KFAC``); where the memory of ``LBFGS`` is there, which needs fewer evaluations and no search as sharp.

    Args:
        params: Parameters or groups.
        lr: The largest of the groups' scales the first step tried (min(1, 1/‖g‖₁) of it at the beginning, later the
            step that promises as much descent as the last one). A group's share of the largest is its entry in D; 0
            keeps a group where it is.
        beta: Which β.
        restart: ν, above 0; infinity never restarts by it.
        c1: Sufficient decrease; see ``strong_wolfe``.
        c2: Curvature; below ½, or Fletcher & Reeves' directions may not descend.
        max_evaluations: Of one line search.

    Raises:
        ConfigError: If an argument does not fit.

    References: Fletcher & Reeves, Computer Journal 7, 1964; Polak & Ribière, 1969; Hestenes & Stiefel, 1952; Powell,
    "Restart procedures for the conjugate gradient method", Math. Programming 12, 1977; Nocedal & Wright, Numerical
    Optimization, 2006, section 5.2.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        *,
        beta: Beta = "polak-ribiere",
        restart: float = 0.2,
        c1: float = 1e-4,
        c2: float = 0.1,
        max_evaluations: int = 25,
    ) -> None:
        check_constants("NonlinearConjugateGradient", c1, c2, max_evaluations)
        if beta not in BETAS:
            raise ConfigError(
                f"beta must be one of {', '.join(BETAS)}, got {beta!r}",
                where="NonlinearConjugateGradient",
                mend='use "polak-ribiere"',
            )
        if not lr >= 0.0 or not restart > 0.0:
            raise ConfigError(
                f"lr must be at least 0 and restart above 0, got {lr!r} and {restart!r}",
                where="NonlinearConjugateGradient",
                mend="use lr=1.0 and restart=0.2",
            )
        super().__init__(params, {"lr": lr})
        self.beta, self.restart = beta, restart
        self.c1, self.c2, self.max_evaluations = c1, c2, max_evaluations
        self.last: ConjugateGradientReport | None = None

    __getstate__ = whole_state

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Go along one direction.

        Args:
            closure: Clears the gradients, computes the loss, calls backward, returns the loss: of the same function
                whenever it is called in this step.

        Returns:
            The loss at the beginning.
        """
        closure = evaluated("NonlinearConjugateGradient", closure)
        loss = torch.as_tensor(closure()).detach()
        flat = Flat(self.param_groups)
        gradient = flat.gradient()
        size, value = float(gradient.abs().sum()), float(loss)
        if not (math.isfinite(size) and math.isfinite(value)) or size == 0.0:
            reason = "zero-gradient" if size == 0.0 else "non-finite"
            self.last = ConjugateGradientReport(1, 0.0, value, 0.0, False, reason)
            return loss
        largest, shares = flat.rates()
        steepest = -gradient if shares is None else -shares * gradient
        state = self.state[self.param_groups[0]["params"][0]]
        conjugate = state.get("layout") == flat.layout and state["beta"] != 0.0
        direction = torch.add(steepest, state["direction"], alpha=state["beta"]) if conjugate else steepest
        origin, evaluations, restarted = flat.values(), 1, False
        while True:
            slope = float(gradient @ direction)
            # The last step won about `descent`: a step that wins as much along this direction is a good first one.
            promised = state["descent"] / slope if state.get("descent") and slope < 0.0 else min(1.0, 1.0 / size)
            found = strong_wolfe(
                flat.along(closure, origin, direction),
                Trial(0.0, value, slope, gradient),
                largest * promised,
                c1=self.c1,
                c2=self.c2,
                max_evaluations=self.max_evaluations,
                rounding=flat.rounding,
            )
            evaluations += found.evaluations
            if found.moved or direction is steepest:
                break
            direction, restarted = steepest, True
        end = found.trial
        if found.moved:
            assert end.gradient is not None
            flat.place(torch.add(origin, direction, alpha=end.step))
            beta = self._beta(gradient, end.gradient, direction, shares)
            state.update(layout=flat.layout, direction=direction, beta=beta, descent=end.step * slope)
        else:
            flat.place(origin)
            state.clear()
        self.last = ConjugateGradientReport(
            evaluations, end.step, end.value, state.get("beta", 0.0), restarted, found.reason
        )
        return loss

    def _beta(self, old: Tensor, new: Tensor, direction: Tensor, shares: Tensor | None) -> float:
        """Return β, 0 where Powell's test asks for a restart."""
        scaled = new if shares is None else shares * new
        change = new - old
        below = (
            direction @ change if self.beta == "hestenes-stiefel" else old @ (old if shares is None else shares * old)
        )
        numbers = torch.stack([scaled @ new, scaled @ old, scaled @ change, below]).tolist()
        squared, overlap, along, divisor = numbers
        if abs(overlap) >= self.restart * squared or divisor <= 0.0:
            return 0.0
        beta = squared / divisor if self.beta == "fletcher-reeves" else max(0.0, along / divisor)
        return beta if math.isfinite(beta) else 0.0
