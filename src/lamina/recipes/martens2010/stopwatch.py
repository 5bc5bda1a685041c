"""A training of so many processor seconds, looked at on its way; looking does not count."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from torch import nn

from lamina.training.callback import Callback
from lamina.training.run import Run


class Stopwatch(Callback):
    """Stops the run once training has used its processor time, and notes figures at moments evenly spread over it.

    The time is that of all threads of this process, from the start of the run, less what the looking itself used. The
    step in which the time runs out is finished and counted, so a run of long steps uses somewhat more.

    A run whose first figure is no longer finite ends there.

    Args:
        seconds: Processor seconds of training.
        looks: How many times it is looked at, at the start and at the end included, at least 2.
        look: ``look(model)`` gives the figures.
        clock: Gives processor seconds.
    """

    def __init__(
        self,
        seconds: float,
        looks: int,
        look: Callable[[nn.Module], tuple[float, ...]],
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.seconds, self.looks, self.look, self.clock = seconds, looks, look, clock
        self.curve: list[tuple[float, ...]] = []
        self._start = 0.0

    @property
    def used(self) -> float:
        """Processor seconds of training so far."""
        return self.clock() - self._start

    def on_start(self, run: Run) -> None:
        """Look for the first time, and start the clock."""
        self._start = self.clock()
        self._note(run)

    def on_step(self, run: Run) -> None:
        """Look if it is time, and stop if the time is used."""
        used = self.used
        if used >= self.seconds * len(self.curve) / (self.looks - 1) or used >= self.seconds:
            self._note(run)
            if not math.isfinite(self.curve[-1][2]):
                run.stopping = "the loss is not finite"
        if used >= self.seconds:
            run.stopping = f"{self.seconds:g} processor seconds"

    def _note(self, run: Run) -> None:
        began = self.clock()
        self.curve.append((began - self._start, float(run.steps), *self.look(run.step.model)))
        self._start += self.clock() - began
