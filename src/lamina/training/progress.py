"""Tells how far training is, on a timer."""

from __future__ import annotations

import time
from collections.abc import Callable

from lamina.training.callback import Callback
from lamina.training.run import Run


class Progress(Callback):
    """Calls ``show(run, fraction, seconds, seconds_left)`` at most every ``every`` seconds and after each epoch.

    Time left is the time per step so far times the steps left, an upper bound where early stopping may end the run.

    Args:
        show: Receives the run, the share of all steps done, the seconds since the start and those left (None before
            anything can be said).
        every: Seconds between calls within an epoch.
    """

    def __init__(self, show: Callable[[Run, float, float, float | None], None], every: float = 0.2) -> None:
        self.show, self.every = show, every
        self._began = self._next = 0.0
        self._first = 0

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        self._began = time.monotonic()
        self._next = self._began + self.every
        self._first = run.steps

    def on_step(self, run: Run) -> None:
        """Show if it is time."""
        if time.monotonic() >= self._next:
            self._tell(run)

    def on_epoch(self, run: Run) -> None:
        """Show the epoch's figures."""
        self._tell(run)

    def _tell(self, run: Run) -> None:
        now = time.monotonic()
        self._next = now + self.every
        done, total = run.steps - self._first, run.total_steps
        left = (now - self._began) / done * (total - run.steps) if done else None
        self.show(run, run.steps / max(1, total), now - self._began, left)
