"""Checkpoints: all that a bit-exact resume needs, written as generations of which a good one always exists."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lamina.errors import CheckpointError
from lamina.io import Generation, Generations, dump_json, tensor_pieces, unpack_tensors
from lamina.io.atomic import Content
from lamina.io.strict_json import parse_json
from lamina.training.callback import Callback
from lamina.training.fit import full_state
from lamina.training.run import Run
from lamina.training.state import all_finite, flatten_state, unflatten_state

STATE, TENSORS = "state.json", "state.safetensors"


class Checkpoint(Callback):
    """Saves the whole state at most every ``seconds``, between updates, and once at the end.

    Stands last among the callbacks, so that the others have done their part of an update before the state is taken; at
    the end it is therefore told first, before the best weights are put back. A state with a number that is not finite
    is never saved.

    Args:
        generations: Where states go.
        callbacks: All callbacks of the run; this one among them or not.
        meta: Plain facts to keep beside: what was trained on what.
        seconds: Shortest time between two saves; 0 saves after every update.
    """

    def __init__(
        self, generations: Generations, callbacks: Sequence[Callback], meta: Mapping[str, Any], *, seconds: float = 20.0
    ) -> None:
        self.generations, self.callbacks, self.meta, self.seconds = generations, callbacks, meta, seconds
        self._next = 0.0

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        self._next = time.monotonic() + self.seconds

    def on_step(self, run: Run) -> None:
        """Save if it is time."""
        if time.monotonic() >= self._next:
            self.save(run)

    def on_epoch(self, run: Run) -> None:
        """Save if it is time."""
        if time.monotonic() >= self._next:
            self.save(run)

    def on_end(self, run: Run) -> None:
        """Save the last state, unless something raised in the middle of an update."""
        if run.error is None:
            self.save(run)

    def save(self, run: Run) -> None:
        """Write a generation now, if the state is finite."""
        tree, tensors = flatten_state(full_state(run, [c for c in self.callbacks if c is not self]))
        if all_finite(list(tensors.values())):
            files: dict[str, Content] = {STATE: dump_json(tree).encode(), TENSORS: tensor_pieces(tensors)}
            meta = {**self.meta, "epoch": run.epoch, "position": run.position, "steps": run.steps}
            self.generations.write(files, meta)
        self._next = time.monotonic() + self.seconds


def read_checkpoint(generation: Generation, callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Return the state of a generation in the form that ``fit(state=...)`` takes.

    Args:
        generation: As ``Generations.latest`` returned it.
        callbacks: The callbacks of the run to come, for which the state must hold an entry each, checkpoints apart.

    Returns:
        The state.

    Raises:
        CheckpointError: If it belongs to another set of callbacks.
    """
    where = str(generation.folder)
    tensors = unpack_tensors(generation.files[TENSORS], name=f"{where}/{TENSORS}")
    state = unflatten_state(parse_json(generation.files[STATE], f"{where}/{STATE}"), tensors, where=where)
    saved = iter(state["callbacks"])
    others = sum(not isinstance(callback, Checkpoint) for callback in callbacks)
    if others != len(state["callbacks"]):
        raise CheckpointError(
            f"holds the state of {len(state['callbacks'])} callbacks, and the run has {others}",
            where=where,
            mend="resume with the settings that the run was started with",
        )
    state["callbacks"] = [{} if isinstance(callback, Checkpoint) else next(saved) for callback in callbacks]
    return dict(state)
