"""AdaGrad, with the small number in the root or beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.optim._groups import NOT_NEGATIVE, check_groups, evaluate, gather, held
from lamina.optim._root import Epsilon, check_epsilon, over_root


class AdaGrad(Optimizer):
    """Every weight's gradient divided by the root of the sum of all its squares so far.

        r ← r + g ⊙ g
        w ← w - lr g / √(δ + r)        or, with ``epsilon="outside"``, - lr g / (δ + √r)

    Outside, it is ``torch.optim.Adagrad(params, lr, eps=δ)``, which is what to take there; inside, a weight whose first
    gradients are below √δ moves less. The step of a weight is lr at first (δ apart) and shrinks like 1/√t.

    For sparse features and convex losses. Not for long training of deep networks: the sum of squares only grows, and
    the rate may be gone before the network is near a minimum; ``RMSProp`` and ``Adam`` forget.

    Args:
        params: Parameters or groups.
        lr: Rate, at least 0.
        eps: δ, at least 0.
        epsilon: Where δ stands: in the root or beside it.
        weight_decay: c; the gradient is that of the loss + ½ c ‖w‖².

    Raises:
        ConfigError: If a number is out of its range.

    Reference: Duchi, Hazan & Singer, "Adaptive Subgradient Methods", JMLR 12, 2011; Goodfellow et al., Deep Learning,
    2016, algorithm 8.4, with δ outside.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        *,
        eps: float = 1e-7,
        epsilon: Epsilon = "inside",
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "epsilon": epsilon, "weight_decay": weight_decay})
        check_groups(self, dict.fromkeys(("lr", "eps", "weight_decay"), NOT_NEGATIVE))
        check_epsilon(self)

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
            squares = held(states, "square", parameters)
            torch._foreach_addcmul_(squares, gradients, gradients)
            change = over_root(gradients, squares, group["eps"], group["epsilon"])
            torch._foreach_add_(parameters, change, alpha=-float(group["lr"]))
        return loss
