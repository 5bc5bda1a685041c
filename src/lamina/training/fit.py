"""The training loop: one for everything, driven by callbacks that know nothing of one another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lamina.data.stream import Stream
from lamina.training.callback import Callback
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

    @property
    def total_steps(self) -> int:
        """Updates that the run will make if nothing stops it."""
        whole = self.max_epochs * len(self.data)
        return whole if self.max_steps is None else min(whole, self.max_steps)

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
        if torch.cuda.is_initialized():
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


def fit(
    step: Step,
    data: Stream,
    *,
    max_epochs: int,
    max_steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    state: Mapping[str, Any] | None = None,
) -> History:
    """Train: draw batches, make steps, tell the callbacks.

    Callbacks are told in the order given, so one that records a figure stands before one that reads it; the end is told
    in the reverse order, as nested contexts close.

    Args:
        step: Makes one update from a batch.
        data: Batches, the same for the same epoch whenever asked.
        max_epochs: Epochs to make in all, those of ``state`` included.
        max_steps: Stop after this many updates in all, in the middle of an epoch too.
        callbacks: Early stopping, checkpoints, progress ...
        state: ``{"run": ..., "callbacks": [...]}`` of an earlier run, to go on from; see ``full_state``.

    Returns:
        One record an epoch.
    """
    run = Run(step, data, max_epochs, max_steps)
    if state is not None:
        run.load_state_dict(state["run"])
        for callback, saved in zip(callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
    began = time.monotonic()
    on_epoch_start, on_step, on_block, on_epoch, on_end = (
        overridden(callbacks, name) for name in ("on_epoch_start", "on_step", "on_block", "on_epoch", "on_end")
    )
    step.model.train()
    for hook in overridden(callbacks, "on_start"):
        hook(run)
    add = run.history.add
    limit = max_steps if max_steps is not None else float("inf")
    try:
        while run.epoch < max_epochs and run.steps < limit and not run.stopping:
            if run.position == 0:
                for hook in on_epoch_start:
                    hook(run)
            for batch in data.batches(run.epoch, run.position):
                full = add(step(batch), batch.inputs.shape[0])
                run.position += 1
                run.steps += 1
                for hook in on_step:
                    hook(run)
                if full:
                    _tell(on_block, run)
                if run.stopping or run.rewound or run.steps >= limit:
                    break
            if run.rewound:
                run.rewound = False
                continue
            if run.position == len(data):
                run.epoch, run.position = run.epoch + 1, 0
                run.seconds = time.monotonic() - began
                record = run.history.close_epoch(run.epoch)
                record["learning_rate"] = float(step.optimizer.param_groups[0]["lr"])
                record["steps"] = run.steps
                _tell(on_epoch, run)
                run.rewound = False
    except BaseException as error:
        run.error = error
        raise
    finally:
        run.seconds = time.monotonic() - began
        for hook in reversed(on_end):
            hook(run)
        step.model.eval()
    return run.history


def _tell(hooks: Sequence[Callable[[Run], None]], run: Run) -> None:
    """Call the hooks until one of them rewinds the run: what the others would see is no longer so."""
    for hook in hooks:
        hook(run)
        if run.rewound:
            break


def full_state(run: Run, callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Return all that ``fit(state=...)`` needs to go on with the same bits."""
    return {"run": run.state_dict(), "callbacks": [callback.state_dict() for callback in callbacks]}


def overridden(callbacks: Sequence[Callback], name: str) -> list[Callable[[Run], None]]:
    """Return the hooks of one name that somebody wrote, so that an empty hook costs nothing a step."""
    return [
        getattr(callback, name)
        for callback in callbacks
        if getattr(type(callback), name) is not getattr(Callback, name)
    ]
