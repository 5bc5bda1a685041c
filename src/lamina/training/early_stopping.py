"""Early stopping: end when a held-out figure has not improved for some epochs, and go back to the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from lamina.errors import ConfigError
from lamina.training.callback import Callback
from lamina.training.run import Run


class EarlyStopping(Callback):
    """Stops when ``monitor`` is not better than its best by more than ``min_delta`` for ``patience`` epochs.

    NaN is never better. The best weights are kept beside and put back at the end of the run, bit for bit.

    Args:
        monitor: A recorded figure; an unknown name raises and lists those there are.
        patience: Epochs to wait.
        min_delta: Smallest absolute improvement that counts.
        mode: Whether the figure is to be small (``min``) or large (``max``).
        restore: Put the best weights back at the end.

    Raises:
        ConfigError: If ``patience`` is below 1 or ``min_delta`` negative.

    Reference: Goodfellow et al., Deep Learning, 2016, algorithm 7.1.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        patience: int = 10,
        *,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
        restore: bool = True,
    ) -> None:
        if patience < 1 or min_delta < 0:
            raise ConfigError(
                f"patience must be at least 1 and min_delta at least 0, got {patience} and {min_delta}",
                where="EarlyStopping",
            )
        self.monitor, self.patience, self.min_delta, self.restore = monitor, patience, min_delta, restore
        self.sign = 1.0 if mode == "min" else -1.0
        self.best = math.inf
        self.best_epoch = 0
        self.best_steps = 0
        self.best_train_loss = math.nan
        self.weights: dict[str, Tensor] | None = None

    @property
    def best_value(self) -> float:
        """Best value of the figure so far, in its own sign."""
        return self.sign * self.best

    def on_epoch(self, run: Run) -> None:
        """Compare; keep a copy of the weights when they are the best so far."""
        value = self.sign * run.history.latest(self.monitor)
        if value < self.best - self.min_delta:
            self.best, self.best_epoch, self.best_steps = value, run.epoch, run.steps
            self.best_train_loss = run.history.latest("loss")
            self._keep(run)
        elif run.epoch - self.best_epoch >= self.patience:
            run.stopping = f"no better {self.monitor} in {self.patience} epochs"

    def _keep(self, run: Run) -> None:
        current = run.step.model.state_dict()
        if self.weights is None:
            self.weights = {name: value.detach().clone() for name, value in current.items()}
        else:
            for name, value in current.items():
                self.weights[name].copy_(value)

    def on_end(self, run: Run) -> None:
        """Put the best weights back."""
        if self.restore and self.weights is not None and run.error is None:
            run.step.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best figure, when it was, and the weights then."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_steps": self.best_steps,
            "best_train_loss": self.best_train_loss,
            "weights": self.weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.best, self.best_train_loss = float(state["best"]), float(state["best_train_loss"])
        self.best_epoch, self.best_steps = int(state["best_epoch"]), int(state["best_steps"])
        self.weights = None if state["weights"] is None else {n: w.clone() for n, w in state["weights"].items()}
