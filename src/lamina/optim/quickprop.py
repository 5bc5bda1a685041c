"""QuickProp: each weight jumps to the turning point of a parabola through its last two gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.optim._groups import NOT_NEGATIVE, POSITIVE, check_groups, evaluate, gather


class QuickProp(Optimizer):
    """The secant method for every weight by itself, as if the loss were a sum of parabolas, one a weight.

        Δ[τ] = g[τ] / (g[τ-1] - g[τ]) · Δ[τ-1],      w ← w + Δ[τ]

    Where there is no parabola, a step of gradient descent stands in, Δ[τ] = -lr g[τ]: at the first step, where the last
    change was zero, and where the two gradients are equal. On a quadratic of one weight the second step lands on the
    minimum.

    With Fahlman's growth limit mu a change is at most mu times the last one; it is mu times the last one, in its
    direction, also where the parabola opens downwards (the jump would go up the slope) or is a straight line. Without
    it, the formula as it stands: it goes to maxima too, and a nearly straight line throws the weight far.

    For gradients of the whole data alone: the difference of two mini-batch gradients is mostly noise. Not for losses
    where weights act strongly together (the Hessian is far from diagonal): take ``torch.optim.LBFGS``. ``lr`` is only
    the size of the stand-in steps.

    Args:
        params: Parameters or groups.
        lr: Rate of the stand-in steps, above 0.
        mu: Largest growth of a change from one step to the next, above 0, or None for no limit; Fahlman's is 1.75.
        weight_decay: c; the gradient is that of the loss + ½ c ‖w‖².

    Raises:
        ConfigError: If a number is out of its range.

    Reference: Fahlman, "Faster-Learning Variations on Back-Propagation: An Empirical Study", Connectionist Models
    Summer School, 1988. His program also adds -lr g to the jump while the sign of the gradient stays; this does not.
    """

    def __init__(self, params: ParamsT, lr: float = 0.1, *, mu: float | None = None, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "mu": mu, "weight_decay": weight_decay})
        check_groups(self, {"lr": POSITIVE, "weight_decay": NOT_NEGATIVE})
        for group in self.param_groups:
            if group["mu"] is not None and not group["mu"] > 0.0:
                raise ConfigError(f"mu must be above 0, got {group['mu']!r}", where="QuickProp", mend="use 1.75")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update.

        Returns:
            What the closure gave, or None.
        """
        loss = evaluate(closure)
        for group in self.param_groups:
            parameters, gradients, states = gather(self, group)
            for p, g, state in zip(parameters, gradients, states, strict=True):
                descent = -float(group["lr"]) * g
                change = _jump(g, state["gradient"], state["change"], descent, group["mu"]) if state else descent
                state["gradient"], state["change"] = g.clone(), change
                p.add_(change)
        return loss


def _jump(g: Tensor, before: Tensor, last: Tensor, descent: Tensor, mu: float | None) -> Tensor:
    bend = before - g
    factor = g / bend
    change = factor * last
    flat = bend == 0
    if mu is not None:
        # Where g is zero too there is nothing to climb: the parabola says to stay, and so does the gradient.
        runs_away = (change * g > 0) | (flat & (g != 0)) | (factor > mu)
        change = torch.where(runs_away, mu * last, torch.where(factor < -mu, -mu * last, change))
        flat = flat & (g == 0)
    return torch.where((last == 0) | flat, descent, change)
