"""Growing mini-batches: small ones first, for quick progress, larger ones later, for gradients with less noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.stream import Augmentation, InMemory
from lamina.errors import ConfigError


def geometric_sizes(start: int, factor: float = 2.0, every: int = 10, most: int | None = None) -> Callable[[int], int]:
    """Return a batch size for each epoch: B = start · factor^⌊epoch / every⌋, at most ``most``.

    Args:
        start: Batch size of the first epochs, at least 1.
        factor: Growth, at least 1.
        every: Epochs between growths, at least 1.
        most: Largest size; None is no limit but the number of examples.

    Returns:
        A function of the epoch, from 0.

    Raises:
        ConfigError: If a number is out of its range.
    """
    if start < 1 or every < 1 or not factor >= 1.0 or (most is not None and most < start):
        raise ConfigError(
            f"start and every must be at least 1, factor at least 1 and most at least start, "
            f"got {start}, {every}, {factor} and {most}",
            where="geometric_sizes",
            mend="use start=32, factor=2.0, every=10",
        )

    def size(epoch: int) -> int:
        # Sizes beyond any data set end the growth, which would leave the floating-point numbers after long.
        grown = start * factor ** min(epoch // every, 400)
        return round(min(grown, 2.0**53 if most is None else most))

    return size


class GrowingBatches:
    """Shuffled mini-batches of tensors, with another batch size in each epoch: a ``Stream``.

    The standard error of a gradient over B examples is σ/√B: to halve the noise takes four times the examples, where
    halving the learning rate takes none and twice the updates. Growing B in place of a falling rate makes fewer, larger
    updates in the same number of epochs, which pays where a large batch costs no more time than a small one.

    Not where memory is short, nor as a cure for a rate too large. The order of each epoch is that of ``InMemory``, a
    pure function of (seed, epoch), whatever the batch sizes; a schedule of the learning rate counts updates, of which
    the later epochs have fewer.

    Args:
        data: Examples.
        sizes: Batch size for each epoch from 0 on, at least 1; see ``geometric_sizes``. Larger than the data is one
            batch. It must give the same for the same epoch whenever asked.
        rows: ``(n,)`` int64, which of the examples to draw; all if not given.
        seed: Decides the order together with the epoch.
        shuffle: False keeps the order of the data in every epoch.
        augment: As for ``InMemory``.
        device: Where batches are wanted.

    Raises:
        ConfigError: If the data are empty or the first size is below 1.

    Reference: Goodfellow et al., Deep Learning, 2016, section 8.3.1; Smith et al., "Don't Decay the Learning Rate,
    Increase the Batch Size", ICLR 2018.
    """

    def __init__(
        self,
        data: Batch,
        sizes: Callable[[int], int],
        *,
        rows: Tensor | None = None,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augmentation | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.data, self.sizes, self.rows, self.seed = data, sizes, rows, seed
        self.shuffle, self.augment, self.device = shuffle, augment, device
        self.n_examples = self._of(0).n_examples

    def _of(self, epoch: int) -> InMemory:
        return InMemory(
            self.data,
            self.sizes(epoch),
            rows=self.rows,
            seed=self.seed,
            shuffle=self.shuffle,
            augment=self.augment,
            device=self.device,
        )

    def __len__(self) -> int:
        """Return the steps of the first epoch."""
        return self.steps(0)

    def steps(self, epoch: int) -> int:
        """Return the steps of one epoch."""
        return len(self._of(epoch))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from the ``start``-th on.

        Yields:
            Batches of ``sizes(epoch)`` examples, the last one smaller or larger by one.
        """
        yield from self._of(epoch).batches(epoch, start)
