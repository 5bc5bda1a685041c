"""The closure step: for optimisers that look at the loss of a batch more than once, or at its curvature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.curvature.batch_loss import BatchLoss
from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.penalties.base import Context
from lamina.training.objective import Objective, Supervised


class ClosureStep:
    """θ ← optimizer(θ, closure), where the closure gives the loss and its gradient at any θ, on this batch.

    For the supervised objective the closure is a ``lamina.curvature.BatchLoss``, which second-order optimisers ask for
    products with the curvature; for any other it is the plain closure of ``torch.optim``, which line searches are
    content with.

    Args:
        model: The network, already on its device.
        objective: What to make small.
        optimizer: Any ``torch.optim.Optimizer`` over the model's parameters whose ``step`` takes a closure.
    """

    def __init__(self, model: nn.Module, objective: Objective, optimizer: Optimizer) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one update.

        Returns:
            ``loss``, as it was before the update, and with a penalty its parts ``nll`` and ``penalty``.

        Raises:
            ConfigError: If the objective is supervised and the batch has no targets.
        """
        if not isinstance(self.objective, Supervised):
            return {"loss": self._update(_Closure(self.model, self.objective, batch))}
        if batch.targets is None:
            raise ConfigError("needs targets, and the batch has none", where="ClosureStep")
        penalty, likelihood = self.objective.penalty, self.objective.likelihood
        parts: dict[str, Tensor] = {}

        def term(outputs: Tensor) -> Tensor:
            assert penalty is not None
            value = penalty(Context(self.model, batch.inputs, outputs, batch.targets, likelihood, batch.weights))
            parts.setdefault("penalty", value.detach())
            return value

        closure = BatchLoss(
            self.model,
            likelihood,
            batch.inputs,
            batch.targets,
            weights=batch.weights,
            penalty=None if penalty is None else term,
        )
        loss = self._update(closure)
        return {"loss": loss} | ({"nll": loss - parts["penalty"], **parts} if parts else {})

    def _update(self, closure: Callable[[], Tensor]) -> Tensor:
        return torch.as_tensor(self.optimizer.step(closure)).detach()  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Return model and optimizer state."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned; parameters keep their place in memory."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


class _Closure:
    """The loss and, left in ``p.grad``, its gradient, for an objective of any kind."""

    def __init__(self, model: nn.Module, objective: Objective, batch: Batch) -> None:
        self.model, self.objective, self.batch = model, objective, batch

    def __call__(self) -> Tensor:
        for p in self.model.parameters():
            p.grad = None
        with torch.enable_grad():
            loss = self.objective(self.model, self.batch).total
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
