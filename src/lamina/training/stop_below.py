"""Ends a run when a figure has fallen to a value."""

from __future__ import annotations

from lamina.training.callback import Callback
from lamina.training.run import Run


class StopBelow(Callback):
    """Stops after the epoch in which ``monitor`` is at or below ``value``.

    With the validation loss, and for ``value`` the training loss at which early stopping found its best, this is the
    second pass that goes on with all data.  Reference: Goodfellow et al., Deep Learning, 2016, algorithm 7.3.

    Args:
        monitor: A recorded figure.
        value: What it must reach.
    """

    def __init__(self, monitor: str, value: float) -> None:
        self.monitor, self.value = monitor, value

    def on_epoch(self, run: Run) -> None:
        """Compare."""
        if run.history.latest(self.monitor) <= self.value:
            run.stopping = f"{self.monitor} reached {self.value:.4g}"
