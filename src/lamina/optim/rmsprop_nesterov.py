"""RMSProp with Nesterov momentum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.optim._groups import NOT_NEGATIVE, SHARE, check_groups, held
from lamina.optim._root import Epsilon, check_epsilon, over_root
from lamina.optim.nesterov import NesterovMomentum


class RMSPropNesterov(NesterovMomentum):
    """Nesterov momentum of a gradient divided by the root of its running mean square.

        g = ∇L(θ + α v)
        r ← ρ r + (1 - ρ) g ⊙ g
        v ← α v - ε g / √(δ + r)        or, with ``epsilon="outside"``, - ε g / (δ + √r)
        θ ← θ + v

    The gradient's place, ``look_ahead``, ``rest`` and ``at_rest`` are those of ``NesterovMomentum``. r begins at zero
    without a correction, so that the first steps are longer than the later ones by up to 1/√(1 - ρ).
    ``torch.optim.RMSprop(momentum=α)`` takes its gradient at θ. With α = 0 this is plain RMSProp, δ in the root or not.

    Not where the scale of the gradient carries what matters (whole batches near a minimum: the step does not shrink
    with the gradient). ``Adam`` corrects the start and is the more usual choice.

    Args:
        params: Parameters or groups.
        lr: ε, at least 0.
        momentum: α, in [0, 1).
        rho: ρ, in [0, 1).
        eps: δ, at least 0.
        epsilon: Where δ stands: in the root or beside it.
        weight_decay: c; the gradient is that of the loss + ½ c ‖w‖².

    Raises:
        ConfigError: If a number is out of its range.

    Reference: Goodfellow, Bengio & Courville, Deep Learning, 2016, algorithm 8.6; Tieleman & Hinton, 2012.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.001,
        momentum: float = 0.9,
        *,
        rho: float = 0.9,
        eps: float = 1e-6,
        epsilon: Epsilon = "inside",
        weight_decay: float = 0.0,
    ) -> None:
        numbers = {"lr": lr, "momentum": momentum, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        Optimizer.__init__(self, params, {**numbers, "epsilon": epsilon})
        not_negative = dict.fromkeys(("lr", "eps", "weight_decay"), NOT_NEGATIVE)
        check_groups(self, {**not_negative, "momentum": SHARE, "rho": SHARE})
        check_epsilon(self)

    def _direction(self, gradients: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> list[Tensor]:
        squares = held(states, "square", gradients)
        torch._foreach_mul_(squares, group["rho"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - group["rho"])
        return over_root(gradients, squares, group["eps"], group["epsilon"])
