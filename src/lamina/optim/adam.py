"""Adam, with the small number in the root or beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.errors import ConfigError
from lamina.optim._groups import NOT_NEGATIVE, check_groups, evaluate, gather, held
from lamina.optim._root import Epsilon, check_epsilon, over_root


class Adam(Optimizer):
    """Momentum of the gradient over the root of its running mean square, both corrected for their start at zero.

        s ← β₁ s + (1 - β₁) g,      ŝ = s / (1 - β₁ᵗ)
        r ← β₂ r + (1 - β₂) g ⊙ g,  r̂ = r / (1 - β₂ᵗ)
        w ← w - lr ŝ / √(δ + r̂)         or, with ``epsilon="outside"``, - lr ŝ / (δ + √r̂)

    Outside, it is ``torch.optim.Adam(params, lr, betas, eps=δ)``, which is what to take there, for it has fused
    kernels. Inside, δ is compared with a square: 1e-8 in the root acts like 1e-4 beside it, and weights whose gradients
    are below √δ = 1e-4 move by less than lr.

    A good first choice for deep networks. Not where its solution is known to generalise worse than momentum's at equal
    budgets (image classifiers trained long), nor on whole batches near a minimum: the step does not shrink with the
    gradient, so lr must fall.

    Args:
        params: Parameters or groups.
        lr: Rate, at least 0; the length of the first step of every weight, δ apart.
        betas: β₁ and β₂, in [0, 1).
        eps: δ, at least 0.
        epsilon: Where δ stands: in the root or beside it.
        weight_decay: c; the gradient is that of the loss + ½ c ‖w‖². For decay that is not scaled by r, take
            ``torch.optim.AdamW``.

    Raises:
        ConfigError: If a number is out of its range.

    Reference: Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1, with δ outside.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        epsilon: Epsilon = "inside",
        weight_decay: float = 0.0,
    ) -> None:
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**numbers, "epsilon": epsilon})
        check_groups(self, dict.fromkeys(("lr", "eps", "weight_decay"), NOT_NEGATIVE))
        check_epsilon(self)
        for group in self.param_groups:
            if not all(0.0 <= beta < 1.0 for beta in group["betas"]):
                raise ConfigError(
                    f"betas must be at least 0 and below 1, got {group['betas']!r}",
                    where="Adam",
                    mend="the default is (0.9, 0.999)",
                )

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
            beta1, beta2 = group["betas"]
            means, squares = held(states, "mean", parameters), held(states, "square", parameters)
            torch._foreach_lerp_(means, gradients, 1.0 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - beta2)
            for state in states:
                state["updates"] = state.get("updates", 0) + 1
            ages = [state["updates"] for state in states]
            change = over_root(
                torch._foreach_div(means, [1.0 - beta1**t for t in ages]),
                torch._foreach_div(squares, [1.0 - beta2**t for t in ages]),
                group["eps"],
                group["epsilon"],
            )
            torch._foreach_add_(parameters, change, alpha=-float(group["lr"]))
        return loss
