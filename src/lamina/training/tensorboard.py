"""Writes the records of a run for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.errors import MissingExtra
from lamina.training.callback import Callback
from lamina.training.run import Run


class TensorBoard(Callback):
    """Adds every figure of each epoch's record to event files in ``folder``, through ``torch.utils.tensorboard``.

    Raises:
        MissingExtra: If tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra(
                "tensorboard is not installed", where="--set tensorboard=true", mend='pip install "lamina[tensorboard]"'
            ) from None
        self._make = SummaryWriter
        self.folder = folder
        self._writer: Any = None

    def on_start(self, run: Run) -> None:
        """Open the event file."""
        self._writer = self._make(str(self.folder), purge_step=run.epoch + 1)

    def on_epoch(self, run: Run) -> None:
        """Write the epoch's figures."""
        for name, value in run.history.current.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, run.epoch)

    def on_end(self, run: Run) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
