"""A mini-batch: what one step sees."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Some examples, batch axis first.

    Attributes:
        inputs: ``(N, ...)``; a table is one float matrix, pictures are ``(N, C, H, W)``.
        targets: What the likelihood expects, ``(N,)`` or ``(N, T)``; None where there is nothing to predict.
        weights: ``(N,)`` example weights, averaging 1 over the data; None means 1 each.
    """

    inputs: Tensor
    targets: Tensor | None = None
    weights: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.inputs.shape[0]

    def rows(self, start: int, stop: int) -> Batch:
        """Return the examples from ``start`` up to ``stop``, as views."""
        return Batch(*(None if part is None else part[start:stop] for part in self))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; pinned memory is copied without waiting."""
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in self))  # type: ignore[arg-type]
