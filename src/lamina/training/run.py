"""Run: where a training stands, and all that it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lamina.data.stream import Stream, VaryingStream, steps_in
from lamina.training.history import History
from lamina.training.step import Step


class Run:
    """Where a training stands; what callbacks see.

    Attributes:
        step: What is being trained.
        data: Where batches come from.
        max_epochs: Epochs to make in all.
        max_steps: Updates to make in all, or None.
        epoch: Epochs finished.
        position: Batches done in the present epoch.
        steps: Updates made in all.
        history: Records of the finished epochs.
        stopping: Why the run should stop, or None. Only ever set by callbacks: the loop ends after the step or epoch.
        interrupted: Whether ``stopping`` came from outside (a signal, the clock): a resumed run then goes on.
        error: What a step or callback raised, for ``on_end`` to know that the state may be half changed.
        seconds: Wall time of this call of ``fit`` so far, as of the last epoch.
    """

    def __init__(self, step: Step, data: Stream, max_epochs: int, max_steps: int | None) -> None:
        self.step, self.data, self.max_epochs, self.max_steps = step, data, max_epochs, max_steps
        self.epoch = self.position = self.steps = 0
        self.history = History()
        self.stopping: str | None = None
        self.interrupted = False
        self.error: BaseException | None = None
        self.rewound = False
        self.seconds = 0.0
        self._planned = _planned_steps(data, max_epochs, max_steps)  # once: callbacks ask for it at every update

    @property
    def total_steps(self) -> int:
        """Updates that the run will make if nothing stops it."""
        whole = self.max_epochs * len(self.data) if self._planned is None else self._planned
        return whole if self.max_steps is None else min(whole, self.max_steps)

    @property
    def epoch_steps(self) -> int:
        """Updates that the present epoch has in all."""
        return steps_in(self.data, self.epoch)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do; an epoch whose last update was made must still be closed."""
        unclosed = self.position == self.epoch_steps
        return bool(self.stopping) or self.epoch >= self.max_epochs or (self.steps >= self.total_steps and not unclosed)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, the step's state, the history and the global random state."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "position": self.position,
            "steps": self.steps,
            "stopping": None if self.interrupted else self.stopping,
            "step": self.step.state_dict(),
            "history": self.history.state_dict(),
            "random": {"cpu": torch.get_rng_state()},
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            state["random"] |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned, mid-epoch too."""
        self.epoch, self.position, self.steps = int(state["epoch"]), int(state["position"]), int(state["steps"])
        self.stopping = state["stopping"]
        self.step.load_state_dict(state["step"])
        self.history.load_state_dict(state["history"])
        torch.set_rng_state(state["random"]["cpu"])
        cuda = [s for name, s in state["random"].items() if name != "cpu"]
        if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(cuda)

    def rewind(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier state in the middle of an epoch; the loop draws its batches anew from there."""
        self.load_state_dict(state)
        self.rewound = True


def _planned_steps(data: Stream, max_epochs: int, max_steps: int | None) -> int | None:
    """Return the updates of all epochs where these have different numbers of them.

    Returns:
        The sum, as far as ``max_steps`` needs it; None where all epochs are alike.
    """
    if not isinstance(data, VaryingStream):
        return None
    total = 0
    for epoch in range(max_epochs):
        total += data.steps(epoch)
        if max_steps is not None and total >= max_steps:
            break
    return total
