"""Ends a run after a given time."""

from __future__ import annotations

import time

from lamina.training.callback import Callback
from lamina.training.run import Run


class TimeLimit(Callback):
    """Stops the run after the step in which ``minutes`` of wall time have passed since its start (monotonic clock)."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._end = float("inf")

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        self._end = time.monotonic() + 60.0 * self.minutes

    def on_step(self, run: Run) -> None:
        """Look at the clock."""
        if time.monotonic() >= self._end:
            run.stopping = f"the time limit of {self.minutes:g} minutes"
            run.interrupted = True
