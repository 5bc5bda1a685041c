"""Delta-bar-delta: a learning rate of its own for every weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.optim._groups import NOT_NEGATIVE, POSITIVE, SHARE, check_groups, evaluate, gather, held


class DeltaBarDelta(Optimizer):
    """A rate r for every weight: kappa is added while the gradient keeps its sign, a share phi cut when it flips.

        r ← r + kappa      where t g > 0
        r ← (1 - phi) r    where t g < 0
        w ← w - r ⊙ g
        t ← theta t + (1 - theta) g

    t is the trace of past gradients, 0 at first, so that the first step is that of gradient descent. Rates grow by
    steps and fall by shares: they climb slowly, fall fast and stay above 0.

    For gradients of the whole data alone: between mini-batches signs flip by chance, and every flip cuts the rate. On
    mini-batches take ``torch.optim.RMSprop`` or ``Adam``; on whole batches ``torch.optim.Rprop`` is the later method
    of this kind, which looks at signs alone.

    Where ``group["lr"]`` is changed after the start, all rates of the group are multiplied by what it was changed by;
    kappa is in the units of the starting rate.

    Args:
        params: Parameters or groups.
        lr: r at the start, above 0.
        kappa: What is added to r, at least 0; some hundredths of ``lr`` to as much as ``lr``.
        phi: Share by which r is cut, in [0, 1).
        theta: Memory of the trace, in [0, 1).
        weight_decay: c; the gradient is that of the loss + ½ c ‖w‖².

    Raises:
        ConfigError: If a number is out of its range.

    Reference: Jacobs, "Increased Rates of Convergence Through Learning Rate Adaptation", Neural Networks 1(4), 1988.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        *,
        kappa: float = 0.01,
        phi: float = 0.1,
        theta: float = 0.7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "kappa": kappa, "phi": phi, "theta": theta, "weight_decay": weight_decay})
        bounds = {"lr": POSITIVE, "kappa": NOT_NEGATIVE, "phi": SHARE, "theta": SHARE, "weight_decay": NOT_NEGATIVE}
        check_groups(self, bounds)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its rate now is where the rates of its weights begin."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("first_lr", float(group["lr"]))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update.

        Returns:
            What the closure gave, or None.
        """
        loss = evaluate(closure)
        for group in self.param_groups:
            parameters, gradients, states = gather(self, group)
            if not parameters:
                continue
            rates = held(states, "rate", parameters, group["first_lr"])
            traces = held(states, "trace", parameters)
            for rate, trace, g in zip(rates, traces, gradients, strict=True):
                agreement = trace * g
                rate.add_((agreement > 0).to(rate), alpha=group["kappa"])
                rate.mul_(1.0 - group["phi"] * (agreement < 0).to(rate))
            change = torch._foreach_mul(rates, gradients)
            torch._foreach_add_(parameters, change, alpha=-float(group["lr"]) / group["first_lr"])
            torch._foreach_lerp_(traces, gradients, 1.0 - group["theta"])
        return loss
