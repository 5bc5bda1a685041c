"""Bold driver: the learning rate grows while the error falls, and is halved when it rises."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lamina.errors import ConfigError


class BoldDriver:
    """Follows the error from update to update and drives the rates of all groups.

        η ← 1.1 η    if E[τ] < E[τ-1]
        η ← 0.5 η    if E[τ] > E[τ-1]
        η            stays if they are equal; the first error is only remembered

    Call ``step(error)`` once after each update, as PyTorch's schedulers are called. An error that is no number counts
    as a rise, and the next one is compared with the last that was a number.

    With ``take_back`` a rise also undoes the update: weights and the optimiser's state go back to where they were at
    the last call that was no rise, and it is that error which the next is compared with. ``error`` must then be that of
    the present weights, on data that stay the same; the copies cost the memory of the weights and the state.

    For gradient descent on the whole data. Not on mini-batches, whose errors rise by chance at every other step: there
    compare epochs (``lamina.training.bold_driver``), or take a schedule.

    Args:
        optimizer: Whose groups' ``lr`` is driven.
        up: Factor on a fall, at least 1.
        down: Factor on a rise, above 0 and at most 1.
        take_back: Undo an update that made the error rise.

    Raises:
        ConfigError: If a factor is out of its range.

    Reference: Vogl et al., "Accelerating the convergence of the back-propagation method", Biological Cybernetics 59,
    1988; Battiti, Complex Systems 3, 1989, with the name.
    """

    def __init__(self, optimizer: Optimizer, up: float = 1.1, down: float = 0.5, *, take_back: bool = False) -> None:
        if not (up >= 1.0 and 0.0 < down <= 1.0):
            raise ConfigError(
                f"up must be at least 1 and down above 0 and at most 1, got {up!r} and {down!r}",
                where="BoldDriver",
                mend="use up=1.1, down=0.5",
            )
        self.optimizer, self.up, self.down, self.take_back = optimizer, up, down, take_back
        self.error: float | None = None
        self._weights: list[Tensor] = []
        self._state: dict[str, Any] | None = None

    def step(self, error: float | Tensor) -> bool:
        """Compare an error with the one before, and drive the rates.

        Args:
            error: E of the present weights.

        Returns:
            Whether the error rose; with ``take_back`` the weights are then those before the update.
        """
        value = float(error)
        rose = math.isnan(value) or (self.error is not None and value > self.error)
        fell = self.error is not None and value < self.error
        if rose and self._state is not None:
            self._go_back(self._state)
        for group in self.optimizer.param_groups:
            if rose or fell:
                group["lr"] *= self.down if rose else self.up
        if not math.isnan(value) and not (rose and self.take_back):
            self.error = value
            if self.take_back:
                self._keep()
        return rose

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _keep(self) -> None:
        self._weights = [p.detach().clone() for p in self._parameters()]
        self._state = copy.deepcopy(self.optimizer.state_dict())

    @torch.no_grad()
    def _go_back(self, state: Mapping[str, Any]) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        torch._foreach_copy_(self._parameters(), self._weights)
        self.optimizer.load_state_dict(copy.deepcopy(dict(state)))
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Return the last error and what would be gone back to."""
        return {"error": self.error, "weights": self._weights, "optimizer": self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.error = None if state["error"] is None else float(state["error"])
        self._weights = [w.to(p) for w, p in zip(state["weights"], self._parameters(), strict=False)]
        self._state = copy.deepcopy(state["optimizer"])
