"""The bold driver in the training loop: epochs are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamina.errors import ConfigError
from lamina.optim.bold_driver import BoldDriver
from lamina.training.callback import Callback
from lamina.training.run import Run


class BoldDriverByEpoch(Callback):
    """After each epoch multiplies the rates by 1.1 if the error fell, by 0.5 if it rose: ``lamina.optim.BoldDriver``.

    Stands after what records the error. Not together with ``LearningRate``, which sets the rates at every update.

    Args:
        monitor: A recorded figure that is to be small. ``loss`` is the mean over the epoch, of the weights as they
            were from update to update, with noise of its own where mini-batches are small.
        up: Factor on a fall.
        down: Factor on a rise.
        take_back: Undo the epoch that made the error rise. For a figure of the weights as they are at the end of the
            epoch, such as that of ``Validation``; ``loss`` is none.

    Raises:
        ConfigError: If a factor is out of its range (at the start), or an epoch is to be taken back for its ``loss``.
    """

    def __init__(self, monitor: str = "loss", up: float = 1.1, down: float = 0.5, *, take_back: bool = False) -> None:
        if take_back and monitor == "loss":
            raise ConfigError(
                "take_back needs the error of the weights that an epoch ends with, and loss is its mean over the epoch",
                where="BoldDriverByEpoch",
                mend='put Validation(data, likelihood) before it and use monitor="valid_loss"',
            )
        self.monitor, self.up, self.down, self.take_back = monitor, up, down, take_back
        self.driver: BoldDriver | None = None
        self._saved: Mapping[str, Any] | None = None

    def on_start(self, run: Run) -> None:
        """Take hold of the run's optimizer."""
        self.driver = BoldDriver(run.step.optimizer, self.up, self.down, take_back=self.take_back)
        if self._saved is not None:
            self.driver.load_state_dict(self._saved)

    def on_epoch(self, run: Run) -> None:
        """Tell the driver the figure."""
        assert self.driver is not None
        self.driver.step(run.history.latest(self.monitor))

    def state_dict(self) -> dict[str, Any]:
        """Return the driver's state."""
        return {"driver": None if self.driver is None else self.driver.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep the state until the run starts."""
        self._saved = state["driver"]
