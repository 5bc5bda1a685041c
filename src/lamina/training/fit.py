"""The training loop: one for everything, driven by callbacks that know nothing of one another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lamina.data.stream import Stream
from lamina.training.callback import Callback
from lamina.training.history import History
from lamina.training.run import Run
from lamina.training.step import Step


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
    hooks = {name: overridden(callbacks, name) for name in HOOKS}
    step.model.train()
    try:
        for hook in hooks["on_start"]:
            hook(run)
        while not run.over:
            _epoch(run, hooks)
            run.seconds = time.monotonic() - began
    except BaseException as error:
        run.error = error
        raise
    finally:
        run.seconds = time.monotonic() - began
        for hook in reversed(hooks["on_end"]):
            hook(run)
        step.model.eval()
    return run.history


HOOKS = ("on_start", "on_epoch_start", "on_step", "on_block", "on_epoch", "on_end")


def _epoch(run: Run, hooks: Mapping[str, Sequence[Callable[[Run], None]]]) -> None:
    """Make the rest of an epoch, unless a callback stops the run or rewinds it."""
    step, add, on_step, limit = run.step, run.history.add, hooks["on_step"], run.total_steps
    if run.position == 0:
        _tell(hooks["on_epoch_start"], run)
    for batch in run.data.batches(run.epoch, run.position):
        full = add(step(batch), batch.inputs.shape[0])
        run.position += 1
        run.steps += 1
        for hook in on_step:
            hook(run)
        if full:
            _tell(hooks["on_block"], run)
        if run.stopping or run.rewound or run.steps >= limit:
            break
    if not run.rewound and run.position == run.epoch_steps:
        run.epoch, run.position = run.epoch + 1, 0
        record = run.history.close_epoch(run.epoch)
        record["learning_rate"] = float(step.optimizer.param_groups[0]["lr"])
        record["steps"] = run.steps
        _tell(hooks["on_epoch"], run)
    run.rewound = False


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
