"""Callback: something that watches a run; every hook is empty until overridden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.training.run import Run


class Callback:
    """Hooks of the training loop, each given the run. Override what you need; ask to stop by ``run.stopping``.

    ``on_block`` comes every 256 steps, when the losses of those steps are at hand in ``run.history.last_block``.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step, after a resumed state is in place."""

    def on_epoch_start(self, run: Run) -> None:
        """Before the first step of an epoch."""

    def on_step(self, run: Run) -> None:
        """After each update."""

    def on_block(self, run: Run) -> None:
        """After each block of steps whose scalars were just summed."""

    def on_epoch(self, run: Run) -> None:
        """After an epoch; ``run.history.current`` is its record, to read or to add to."""

    def on_end(self, run: Run) -> None:
        """Once, however the run ends."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
