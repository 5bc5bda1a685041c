"""The momentum's course: a pure function of the number of updates, so that a resumed run needs no state for it."""

from __future__ import annotations

from collections.abc import Callable

from lamina.errors import ConfigError
from lamina.optim.nesterov import NesterovMomentum
from lamina.optim.schedules import sutskever_momentum
from lamina.training.callback import Callback
from lamina.training.run import Run


class MomentumSchedule(Callback):
    """Before each update k, counted from 0, sets every group's momentum to ``schedule(k)``.

    Parameters that ``NesterovMomentum`` keeps at the look-ahead point move to the new one. Momentum rises while
    training goes on; a high one from the start would carry the first wild gradients along. Not for Adam, whose averages
    are corrected for their start.

    Args:
        schedule: A function of the updates made so far; Sutskever's if not given.

    At the start a ConfigError says so if the optimizer has no momentum.

    Reference: Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning",
    ICML 2013, section 3.
    """

    def __init__(self, schedule: Callable[[int], float] = sutskever_momentum) -> None:
        self.schedule = schedule

    def on_start(self, run: Run) -> None:
        """Set the momentum of the first update.

        Raises:
            ConfigError: If a group has no momentum.
        """
        if any("momentum" not in group for group in run.step.optimizer.param_groups):
            raise ConfigError(
                f"{type(run.step.optimizer).__name__} has no momentum",
                where="MomentumSchedule",
                mend="use lamina.optim.NesterovMomentum or torch.optim.SGD",
            )
        self.on_step(run)

    def on_step(self, run: Run) -> None:
        """Set the momentum of the next update."""
        optimizer, momentum = run.step.optimizer, self.schedule(run.steps)
        if isinstance(optimizer, NesterovMomentum):
            optimizer.set_momentum(momentum)
        else:
            for group in optimizer.param_groups:
                group["momentum"] = momentum
