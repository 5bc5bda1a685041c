"""Mini-batches in an order that is a pure function of (seed, epoch), so that a run resumes from two integers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.errors import ConfigError

Augmentation = Callable[[Tensor, Tensor, int], Tensor]
"""``augment(inputs, indices, epoch) -> inputs``: the draws may depend on nothing else."""


@runtime_checkable
class Stream(Protocol):
    """A source of mini-batches, the same for the same epoch whenever it is asked."""

    n_examples: int

    def __len__(self) -> int:
        """Steps an epoch."""
        ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from the ``start``-th on."""
        ...


@runtime_checkable
class VaryingStream(Stream, Protocol):
    """A stream whose epochs have different numbers of steps; its length is that of the first."""

    def steps(self, epoch: int) -> int:
        """Return the steps of one epoch."""
        ...


def steps_in(data: Stream, epoch: int) -> int:
    """Return the number of steps that an epoch of a stream has."""
    return data.steps(epoch) if isinstance(data, VaryingStream) else len(data)


def epoch_order(n_examples: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation of ``0 … n - 1`` that depends on nothing but its arguments.

    Returns:
        ``(n,)`` int64 on the CPU.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randperm(n_examples, generator=generator)


class InMemory:
    """Shuffled mini-batches of tensors, gathered by index a block of batches at a time.

    Indexing one batch costs a fixed few microseconds whatever its size; gathering ``block_bytes`` at once and handing
    out slices pays that once for many small batches, and memory stays at one block.

    Args:
        data: Examples; a memory-mapped array may stand behind ``inputs``, of which only what a block needs is read.
        rows: ``(n,)`` int64, which of the examples to draw, in this order where not shuffled; all if not given.
        batch_size: Examples a step. A last batch of one example joins the batch before it (batch normalisation has
            no variance over one example).
        seed: Decides the order together with the epoch.
        shuffle: False keeps the order of the data in every epoch.
        augment: Applied to each gathered block on ``device``.
        device: Where batches are wanted; data already there are gathered there.
        block_bytes: Upper bound for one gathered block; None is 1 MiB on the CPU, where a block that stays in the cache
            costs a third of one that does not, and 32 MiB elsewhere.

    Raises:
        ConfigError: If ``batch_size`` is below 1 or the data are empty.
    """

    def __init__(
        self,
        data: Batch,
        batch_size: int,
        *,
        rows: Tensor | None = None,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augmentation | None = None,
        device: torch.device | str = "cpu",
        block_bytes: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}", where="InMemory")
        self.n_examples = data.size if rows is None else len(rows)
        if self.n_examples == 0:
            raise ConfigError("there are no examples to draw batches from", where="InMemory")
        self.data, self.batch_size, self.seed, self.shuffle = data, min(batch_size, self.n_examples), seed, shuffle
        self.rows = rows
        self.augment, self.device = augment, torch.device(device)
        whole, rest = divmod(self.n_examples, self.batch_size)
        self._steps = whole + (rest > 1 or (rest == 1 and whole == 0))
        example_bytes = max(1, data.inputs[:1].numel() * data.inputs.element_size())
        if block_bytes is None:
            block_bytes = 1 << 20 if data.inputs.device.type == "cpu" and self.device.type == "cpu" else 32 << 20
        self._block = max(1, block_bytes // (example_bytes * self.batch_size))

    def __len__(self) -> int:
        return self._steps

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from the ``start``-th on.

        Yields:
            Batches of ``batch_size`` examples, the last one smaller or larger by one.
        """
        order = epoch_order(self.n_examples, self.seed, epoch) if self.shuffle else torch.arange(self.n_examples)
        if self.rows is not None:
            order = self.rows[order]
        order = order.to(self.data.inputs.device)
        size, steps = self.batch_size, self._steps
        # Blocks lie at fixed places of the epoch: the last bit of a product may depend on where a batch lies in memory.
        for first in range(start - start % self._block, steps, self._block):
            last = min(first + self._block, steps)
            stop = self.n_examples if last == steps else last * size
            indices = order[first * size : stop]
            block = gather(self.data, indices).to(self.device)
            if self.augment is not None:
                block = block._replace(inputs=self.augment(block.inputs, indices, epoch))
            sizes = [size] * (last - first - 1)
            sizes.append(len(indices) - sum(sizes))
            inputs = torch.split(block.inputs, sizes)
            targets = [None] * len(sizes) if block.targets is None else torch.split(block.targets, sizes)
            weights = [None] * len(sizes) if block.weights is None else torch.split(block.weights, sizes)
            yield from islice(map(Batch, inputs, targets, weights), max(0, start - first), None)


def gather(data: Batch, indices: Tensor) -> Batch:
    """Return the examples at ``indices``, in that order."""
    return Batch(*(None if part is None else part.index_select(0, indices) for part in data))  # type: ignore[arg-type]


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor over an array's memory, read-only arrays (memory maps) included; nobody may write to it.

    Returns:
        A tensor that shares the array's memory.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)
