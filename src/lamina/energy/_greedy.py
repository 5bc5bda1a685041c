"""What the greedy training of machines shares: a step that sees each batch changed, and how a machine starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from lamina.data.batch import Batch
from lamina.data.stream import Stream
from lamina.training.step import Step

_FOR_BIASES = 10_000


class PreparedStep:
    """step(prepare(batch)), the model and the state being those of the step.

    Args:
        step: Makes the update.
        prepare: What is done to a batch before.
    """

    def __init__(self, step: Step, prepare: Callable[[Batch], Batch]) -> None:
        self.step, self.prepare = step, prepare
        self.model, self.optimizer = step.model, step.optimizer

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the step's scalars after one update."""
        return self.step(self.prepare(batch))

    def state_dict(self) -> dict[str, Any]:
        """Return the step's state."""
        return self.step.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.step.load_state_dict(state)


def first_inputs(data: Stream, prepare: Callable[[Batch], Batch], most: int = _FOR_BIASES) -> Tensor:
    """Return the prepared inputs of an epoch's first batches, ``(n, D)``, about ``most`` at most."""
    taken: list[Tensor] = []
    n = 0
    for batch in data.batches(0):
        taken.append(prepare(batch).inputs.flatten(1))
        n += batch.size
        if n >= most:
            break
    return torch.cat(taken)


def flat(batch: Batch) -> Batch:
    """Return the batch with one axis of inputs."""
    return batch._replace(inputs=batch.inputs.flatten(1))


def generator_on(device: torch.device, generator: Generator) -> Generator:
    """Return the generator, or where it lies on another device one there, seeded by a draw from it."""
    if generator.device == device:
        return generator
    seed = torch.randint(1 << 62, (), generator=generator, device=generator.device)
    return Generator(device).manual_seed(int(seed))
