"""Mini-batches whose class labels are noisy, drawn anew in every epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from torch import Generator

from lamina.data.batch import Batch
from lamina.data.stream import Stream, steps_in
from lamina.errors import ConfigError
from lamina.nn import label_noise


class NoisyLabels:
    """The batches of a stream, each label replaced with probability ε by another class: see ``lamina.nn.label_noise``.

    The draws are a pure function of (seed, epoch, position in the epoch), so that a run that is resumed meets the same
    ones; inputs, weights and order stay as they are.

    Args:
        data: A stream whose targets are class codes.
        rate: ε, from 0 to 1.
        n_classes: K, at least 2.
        seed: Decides the draws.

    Raises:
        ConfigError: If there are fewer than two classes or the rate is outside [0, 1]; in passing, if a batch has no
            targets.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 7.5.1.
    """

    def __init__(self, data: Stream, rate: float, n_classes: int, *, seed: int = 0) -> None:
        if n_classes < 2 or not 0.0 <= rate <= 1.0:
            raise ConfigError(
                f"there must be two classes or more and a rate from 0 to 1, got {n_classes} and {rate!r}",
                where="NoisyLabels",
                mend="use rate=0.1",
            )
        self.data, self.rate, self.n_classes, self.seed = data, rate, n_classes, seed
        self.n_examples = data.n_examples

    def __len__(self) -> int:
        return len(self.data)

    def steps(self, epoch: int) -> int:
        """Return the steps of one epoch."""
        return steps_in(self.data, epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from the ``start``-th on.

        Yields:
            The stream's batches with other labels.

        Raises:
            ConfigError: If they carry no targets.
        """
        for position, batch in enumerate(self.data.batches(epoch, start), start):
            if batch.targets is None:
                raise ConfigError("the batches have no labels", where="NoisyLabels", mend="give examples with targets")
            digest = hashlib.blake2b(f"{self.seed}/{epoch}/{position}/labels".encode(), digest_size=8).digest()
            generator = Generator(batch.targets.device).manual_seed(int.from_bytes(digest, "little") >> 1)
            yield batch._replace(targets=label_noise(batch.targets, self.rate, self.n_classes, generator))
