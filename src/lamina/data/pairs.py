"""Mini-batches of labelled examples and of pairs of which it is only known whether they are alike."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.semi_supervised import round_order
from lamina.errors import ConfigError


class LabelledAndPairs:
    """Batches drawn from three kinds: labelled rows, pairs that are similar, pairs that are dissimilar.

    A batch holds its rows in this order, which ``lamina.training.PairwiseSemiSupervised`` reads:

        n_labelled labelled | n_similar first of a pair | their n_similar seconds | n_dissimilar first | their seconds

    The labelled rows weigh N / n_labelled and all others 0, N the rows of the batch; the first labelled target stands
    in for theirs: see ``LabelledAndUnlabelled``. Each kind goes round on its own, in a new order each round; an epoch
    is as long as the kind that takes longest to go round once. The orders are pure functions of (seed, epoch).

    Args:
        labelled: Examples with targets.
        inputs: ``(U, ...)`` unlabelled inputs, like the labelled ones in shape and dtype.
        pairs: ``(P, 2)`` int64, rows of ``inputs``.
        similar: ``(P,)``, 1 or true for pairs that are alike, 0 or false for those that are not.
        n_labelled: Labelled rows a batch, at least 1.
        n_similar: Similar pairs a batch; 0 draws none.
        n_dissimilar: Dissimilar pairs a batch; 0 draws none.
        seed: Decides the orders together with the epoch.
        device: Where batches are wanted.

    Attributes:
        n_examples: Rows that an epoch yields.

    Raises:
        ConfigError: If a count is out of range, a kind that is asked for is missing, or the inputs differ.
    """

    def __init__(
        self,
        labelled: Batch,
        inputs: Tensor,
        pairs: Tensor,
        similar: Tensor,
        *,
        n_labelled: int,
        n_similar: int,
        n_dissimilar: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        where = "LabelledAndPairs"
        if labelled.targets is None or labelled.size == 0:
            raise ConfigError("there are no labelled examples with targets", where=where, mend="give some")
        if labelled.inputs.shape[1:] != inputs.shape[1:] or labelled.inputs.dtype is not inputs.dtype:
            raise ConfigError("labelled and unlabelled inputs differ", where=where, mend="prepare both in the same way")
        if pairs.ndim != 2 or pairs.shape[1] != 2 or similar.shape != pairs.shape[:1]:
            raise ConfigError(
                f"pairs must be (P, 2) and similar (P,), got {tuple(pairs.shape)} and {tuple(similar.shape)}",
                where=where,
                mend="give two row numbers and one mark for each pair",
            )
        if n_labelled < 1 or n_similar < 0 or n_dissimilar < 0 or n_similar + n_dissimilar < 1:
            raise ConfigError(
                f"cannot draw {n_labelled} labelled rows, {n_similar} similar and {n_dissimilar} dissimilar pairs",
                where=where,
                mend="draw at least one labelled row and one pair",
            )
        self.labelled, self.inputs, self.targets = labelled, inputs, labelled.targets
        self.n_labelled, self.seed, self.device = n_labelled, seed, torch.device(device)
        self._kinds: list[tuple[Tensor, int]] = []
        for name, count, kind in (("similar", n_similar, similar == 1), ("dissimilar", n_dissimilar, similar == 0)):
            if count and not bool(kind.any()):
                raise ConfigError(f"there are no {name} pairs", where=where, mend=f"set n_{name}=0")
            self._kinds.append((pairs[kind], count))
        sizes = [(labelled.size, n_labelled), *((len(kind), count) for kind, count in self._kinds if count)]
        self._steps = max(-(-size // count) for size, count in sizes)
        self._rows = n_labelled + 2 * (n_similar + n_dissimilar)
        self.n_examples = self._steps * self._rows

    def __len__(self) -> int:
        return self._steps

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from the ``start``-th on.

        Yields:
            Batches of one size, laid out as the class says.
        """
        first, last = epoch * self._steps + start, (epoch + 1) * self._steps
        counts = [(self.labelled.size, self.n_labelled), *((len(pairs), count) for pairs, count in self._kinds)]
        drawn = [
            round_order(size, 3 * self.seed + kind, first * count, last * count).to(self.inputs.device)
            if count
            else None
            for kind, (size, count) in enumerate(counts)
        ]
        for step in range(last - first):
            places = [
                None if rows is None else rows[step * count : (step + 1) * count]
                for rows, (_, count) in zip(drawn, counts, strict=True)
            ]
            yield self._batch(places).to(self.device)

    def _batch(self, places: list[Tensor | None]) -> Batch:
        mine, *others = places
        assert mine is not None
        parts = [self.labelled.inputs[mine]]
        for place, (pairs, _) in zip(others, self._kinds, strict=True):
            if place is not None:
                parts.append(self.inputs[pairs[place].T.flatten()])
        targets = self.targets[:1].expand(self._rows, *self.targets.shape[1:]).clone()
        targets[: len(mine)] = self.targets[mine]
        inputs = torch.cat(parts)
        weights = torch.zeros(
            self._rows, dtype=inputs.dtype if inputs.is_floating_point() else torch.float32, device=inputs.device
        )
        weights[: len(mine)] = self._rows / len(mine)
        if self.labelled.weights is not None:
            weights[: len(mine)] *= self.labelled.weights[mine]
        return Batch(inputs, targets, weights)
