"""Nesterov momentum: the gradient is taken where the velocity alone would carry the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lamina.optim._groups import NOT_NEGATIVE, SHARE, check_groups, evaluate, gather, held


class NesterovMomentum(Optimizer):
    """Momentum whose gradient is evaluated after the velocity is applied.

        v ← α v - ε ∇L(θ + α v)
        θ ← θ + v

    With a closure, ``step(closure)``, the optimiser itself moves the parameters to θ + α v, asks for the gradient
    there, and leaves them at the new θ. In the training loop that is ``ClosureStep``: all who look at the network
    between updates (validation, checkpoints) see θ.

    Without a closure the gradient was already taken when ``step()`` is called, so the parameters stand at θ + α v
    between the steps; ``step()`` leaves them at the next look-ahead point. To evaluate or save the network:

        with optimizer.at_rest():   # parameters are θ in here
            ...
    or ``optimizer.rest()`` after the last step. To change α between steps call ``set_momentum``, which moves parameters
    that stand at the look-ahead point to the new one; with a closure ``group["momentum"]`` may as well be set.

    ``torch.optim.SGD(nesterov=True)`` is Sutskever's change of variables, with the parameters for ever at the
    look-ahead point, and its velocity divided by -ε: u ← α u + g, φ ← φ - ε (g + α u). While ε and α are constant its
    φ is our θ + α v, and nothing is wanting but θ. Where ε changes, the two differ: a velocity here keeps its length,
    there it is ε u and changes with ε.

    Its rate of convergence, O(1/k²) for smooth convex losses in place of O(1/k), belongs to gradients of the whole
    data. On mini-batches it is about as good as momentum (``torch.optim.SGD(momentum=...)``), which is simpler.

    Args:
        params: Parameters or groups.
        lr: ε, at least 0.
        momentum: α, in [0, 1).
        weight_decay: c; the gradient is that of the loss + ½ c ‖w‖², at the look-ahead point too.

    Raises:
        ConfigError: If a number is out of its range.

    Reference: Nesterov, Soviet Mathematics Doklady 27(2), 1983; Sutskever, Martens, Dahl & Hinton, "On the importance
    of initialization and momentum in deep learning", ICML 2013, eq. 3 and 4; Goodfellow et al., Deep Learning, 2016,
    algorithm 8.3.
    """

    def __init__(self, params: ParamsT, lr: float = 0.01, momentum: float = 0.9, *, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        check_groups(self, {"lr": NOT_NEGATIVE, "momentum": SHARE, "weight_decay": NOT_NEGATIVE})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update.

        Returns:
            What the closure gave, at the look-ahead point, or None.
        """
        loss = None
        if closure is not None:
            places = self._places()
            for group in self.param_groups:
                self._stand(group, float(group["momentum"]))
            try:
                loss = evaluate(closure)
            finally:
                self._put_back(places)
        for group in self.param_groups:
            group["stands"] = "ahead" if closure is None else "rest"
            parameters, gradients, states = gather(self, group)
            if not parameters:
                continue
            velocities = held(states, "velocity", parameters)
            self._move(parameters, velocities, [-state.get("ahead", 0.0) for state in states])
            torch._foreach_mul_(velocities, group["momentum"])
            direction = self._direction(gradients, states, group)
            torch._foreach_add_(velocities, direction, alpha=-float(group["lr"]))
            ahead = float(group["momentum"]) if closure is None else 0.0
            self._move(parameters, velocities, [1.0 + ahead] * len(states))
            for state in states:
                state["ahead"] = ahead
        return loss

    def _direction(self, gradients: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> list[Tensor]:
        """Return what takes the place of g in v ← α v - ε g."""
        return gradients

    def _places(self) -> list[tuple[Tensor, Tensor, float]]:
        moving = [p for group in self.param_groups for p in group["params"] if "velocity" in self.state.get(p, ())]
        return [(p, p.clone(), self.state[p]["ahead"]) for p in moving]

    def _put_back(self, places: list[tuple[Tensor, Tensor, float]]) -> None:
        for p, place, ahead in places:
            p.copy_(place)
            self.state[p]["ahead"] = ahead

    @staticmethod
    def _move(parameters: list[Tensor], velocities: list[Tensor], shares: list[float]) -> None:
        """Add a share of its velocity to each parameter."""
        if any(shares):
            torch._foreach_add_(parameters, torch._foreach_mul(velocities, shares))

    @torch.no_grad()
    def set_momentum(self, momentum: float) -> None:
        """Set α of every group; parameters that stand at the look-ahead point move to the new one."""
        for group in self.param_groups:
            group["momentum"] = momentum
            if group.get("stands") == "ahead":
                self._stand(group, momentum)

    @torch.no_grad()
    def look_ahead(self) -> None:
        """Move the parameters to θ + α v, where a step without a closure wants its gradient taken."""
        for group in self.param_groups:
            group["stands"] = "ahead"
            self._stand(group, float(group["momentum"]))

    @torch.no_grad()
    def rest(self) -> None:
        """Move the parameters to θ. A gradient taken there makes the next ``step()`` one of ordinary momentum."""
        for group in self.param_groups:
            group["stands"] = "rest"
            self._stand(group, 0.0)

    def _stand(self, group: dict[str, Any], share: float) -> None:
        parameters = [p for p in group["params"] if "velocity" in self.state.get(p, ())]
        states = [self.state[p] for p in parameters]
        if parameters:
            self._move(parameters, [s["velocity"] for s in states], [share - s["ahead"] for s in states])
        for state in states:
            state["ahead"] = share

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Put the parameters at θ for the time of a ``with`` block, and then back, to the bit."""
        with torch.no_grad():
            places = self._places()
            for group in self.param_groups:
                self._stand(group, 0.0)
        try:
            yield
        finally:
            with torch.no_grad():
                self._put_back(places)
