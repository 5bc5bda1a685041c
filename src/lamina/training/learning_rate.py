"""The learning rate's course: a pure function of how far training is, so that a resumed run needs no state for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch.optim.lr_scheduler import ReduceLROnPlateau

from lamina.optim.schedules import Schedule
from lamina.training.callback import Callback
from lamina.training.run import Run
from lamina.training.step import set_learning_rate


class LearningRate(Callback):
    """Before each update k of K sets every group's rate to its initial one times ``schedule(k / K)``.

    Args:
        schedule: A function of progress in [0, 1]; see ``lamina.optim.schedules``.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def on_start(self, run: Run) -> None:
        """Note the initial rates and set the first one."""
        for group in run.step.optimizer.param_groups:
            group.setdefault("initial_lr", float(group["lr"]))
        self.on_step(run)

    def on_step(self, run: Run) -> None:
        """Set the rate of the next update."""
        factor = self.schedule(min(1.0, run.steps / max(1, run.total_steps)))
        for group in run.step.optimizer.param_groups:
            set_learning_rate(group, group["initial_lr"] * factor)


class ReduceOnPlateau(Callback):
    """Cuts the rate when a recorded figure stops improving: PyTorch's ``ReduceLROnPlateau``, resumable here.

    Args:
        monitor: A recorded figure.
        factor: What the rate is multiplied by.
        patience: Epochs without improvement before a cut.
        floor: Smallest rate, as a share of the first one.
        mode: Whether the figure is to be small, ``min``, or large.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        factor: float = 0.3,
        patience: int = 5,
        floor: float = 1e-3,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.monitor, self.factor, self.patience, self.floor, self.mode = monitor, factor, patience, floor, mode
        self.scheduler: ReduceLROnPlateau | None = None
        self._saved: Mapping[str, Any] | None = None

    def on_start(self, run: Run) -> None:
        """Attach PyTorch's scheduler to the run's optimizer."""
        floors = [self.floor * float(g.get("initial_lr", g["lr"])) for g in run.step.optimizer.param_groups]
        self.scheduler = ReduceLROnPlateau(
            run.step.optimizer, self.mode, factor=self.factor, patience=self.patience, min_lr=floors, threshold=0.0
        )
        if self._saved is not None:
            self.scheduler.load_state_dict(dict(self._saved))

    def on_epoch(self, run: Run) -> None:
        """Tell the scheduler the figure; NaN counts as no improvement."""
        assert self.scheduler is not None
        self.scheduler.step(run.history.latest(self.monitor))

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state."""
        return {} if self.scheduler is None else {"scheduler": dict(self.scheduler.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep the state until the run starts."""
        self._saved = state.get("scheduler")
