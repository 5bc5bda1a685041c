"""Mini-batches of labelled and unlabelled examples together, for objectives that learn from both."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.stream import Augmentation, epoch_order
from lamina.errors import ConfigError


class LabelledAndUnlabelled:
    """Batches of labelled rows, then unlabelled ones; an epoch sees each unlabelled row once.

    With N = n_l + n_u rows in a batch, the labelled ones weigh N / n_l (times their own weights) and the others 0, so
    that the weighted mean over the batch,

        (1/N) Σ_n w_n ℓ_n = (1/n_l) Σ_{n labelled} ℓ_n,

    is the mean over the labelled rows, and ``Supervised(likelihood, penalty)`` works as it is: its penalty sees all
    rows. Unlabelled rows carry the first labelled target, which every likelihood accepts and weight 0 cancels.

    The labelled rows go round on their own, in a new order each round, from epoch to epoch without a break: after any
    number of steps two labelled rows differ by at most one in how often they were drawn. Both orders are pure functions
    of (seed, epoch). The last batch holds what is left of the unlabelled rows.

    Args:
        labelled: Examples with targets, ``(L, ...)``.
        unlabelled: ``(U, ...)`` inputs alike in shape and dtype, on the same device.
        n_labelled: Labelled rows a batch; at most L of them.
        n_unlabelled: Unlabelled rows a batch.
        seed: Decides both orders together with the epoch.
        augment: Applied to each batch on ``device``. A labelled row changes anew in each round; its number is its own,
            that of an unlabelled row stands behind those of all labelled ones.
        device: Where batches are wanted.

    Attributes:
        n_examples: Rows that an epoch yields, U + n_labelled × steps.

    Raises:
        ConfigError: If a count is below 1, there are no rows of a kind, targets are missing or the inputs differ.
    """

    def __init__(
        self,
        labelled: Batch,
        unlabelled: Tensor,
        *,
        n_labelled: int,
        n_unlabelled: int,
        seed: int = 0,
        augment: Augmentation | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        where = "LabelledAndUnlabelled"
        for name, count in {"n_labelled": n_labelled, "n_unlabelled": n_unlabelled}.items():
            if count < 1:
                raise ConfigError(f"{name} must be at least 1, got {count}", where=where, mend=f"correct {name}")
        if labelled.targets is None:
            raise ConfigError("the labelled examples have no targets", where=where, mend="give targets")
        for name, rows in {"labelled": labelled.size, "unlabelled": len(unlabelled)}.items():
            if rows == 0:
                raise ConfigError(f"there are no {name} examples", where=where, mend="use InMemory for one kind alone")
        mine, others = labelled.inputs, unlabelled
        if mine.shape[1:] != others.shape[1:] or mine.dtype is not others.dtype or mine.device != others.device:
            raise ConfigError(
                f"labelled inputs are {tuple(mine.shape[1:])} {mine.dtype} on {mine.device}, unlabelled ones "
                f"{tuple(others.shape[1:])} {others.dtype} on {others.device}",
                where=where,
                mend="prepare both in the same way",
            )
        self.labelled, self.unlabelled, self.targets = labelled, unlabelled, labelled.targets
        self.n_labelled, self.n_unlabelled = min(n_labelled, labelled.size), min(n_unlabelled, len(unlabelled))
        self.seed, self.augment, self.device = seed, augment, torch.device(device)
        self._steps = -(-len(unlabelled) // self.n_unlabelled)
        self.n_examples = len(unlabelled) + self._steps * self.n_labelled

    def __len__(self) -> int:
        return self._steps

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from the ``start``-th on.

        Yields:
            Batches of ``n_labelled`` labelled rows in front of up to ``n_unlabelled`` unlabelled ones.
        """
        home = self.unlabelled.device
        order = epoch_order(len(self.unlabelled), self.seed, epoch).to(home)
        begun, done = ((epoch * self._steps + step) * self.n_labelled for step in (start, self._steps))
        # ~seed: another order than the unlabelled rows', where there are as many of them.
        rounds = round_order(self.labelled.size, ~self.seed, begun, done).to(home)
        for position in range(start, self._steps):
            begin = (position - start) * self.n_labelled
            mine = rounds[begin : begin + self.n_labelled]
            others = order[position * self.n_unlabelled : (position + 1) * self.n_unlabelled]
            batch = self._batch(mine, others).to(self.device)
            if self.augment is not None:
                batch = batch._replace(inputs=self._changed(batch.inputs, mine, others, begun + begin, epoch))
            yield batch

    def _changed(self, inputs: Tensor, mine: Tensor, others: Tensor, drawn: int, epoch: int) -> Tensor:
        """Return the inputs of a batch with the labelled rows changed by their round, the others by the epoch.

        Args:
            inputs: Of the batch.
            mine: Its labelled rows.
            others: Its unlabelled rows.
            drawn: How many labelled rows were drawn before it.
            epoch: Number of the pass.
        """
        assert self.augment is not None
        size, n_l = self.labelled.size, len(mine)
        first = drawn // size
        cut = min(n_l, (first + 1) * size - drawn)  # at most as many rows as there are: two rounds at most
        pieces = [self.augment(inputs[:cut], mine[:cut], first)]
        if cut < n_l:
            pieces.append(self.augment(inputs[cut:n_l], mine[cut:], first + 1))
        return torch.cat([*pieces, self.augment(inputs[n_l:], others + size, epoch)])

    def _batch(self, mine: Tensor, others: Tensor) -> Batch:
        n, n_l = len(mine) + len(others), len(mine)
        inputs = self.unlabelled.new_empty((n, *self.unlabelled.shape[1:]))
        torch.index_select(self.labelled.inputs, 0, mine, out=inputs[:n_l])
        torch.index_select(self.unlabelled, 0, others, out=inputs[n_l:])
        targets = self.targets[:1].expand(n, *self.targets.shape[1:]).clone()
        targets[:n_l] = self.targets[mine]
        dtype = inputs.dtype if inputs.is_floating_point() else torch.float32
        weights = torch.zeros(n, dtype=dtype, device=inputs.device)
        weights[:n_l] = n / n_l
        if self.labelled.weights is not None:
            weights[:n_l] *= self.labelled.weights[mine]
        return Batch(inputs, targets, weights)


def round_order(size: int, seed: int, start: int, stop: int) -> Tensor:
    """Return the ``start``-th to ``stop``-th of draws that go round ``0 … size - 1``, in a new order each round.

    Returns:
        ``(stop - start,)`` int64 on the CPU, a function of nothing but the arguments.
    """
    first, last = start // size, max(start // size + 1, -(-stop // size))
    rounds = torch.cat([epoch_order(size, seed, number) for number in range(first, last)])
    return rounds[start - first * size : stop - first * size]
