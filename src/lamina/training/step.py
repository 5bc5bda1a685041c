"""Step: what one update does, ``step(batch) -> named scalars``, which stay on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from lamina.data.batch import Batch


@runtime_checkable
class Step(Protocol):
    """One update of a model from one batch.

    A step owns all that an update changes: ``state_dict`` holds what a bit-exact resume needs. ``learning_rate_scale``
    multiplies the learning rate that a schedule asks for; only the recovery from divergence lowers it.
    """

    @property
    def model(self) -> nn.Module:
        """The network that is trained."""
        ...

    @property
    def optimizer(self) -> Optimizer:
        """What holds the learning rate, in which schedules set it."""
        ...

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Make one update; return named scalars, among them ``loss``, without waiting for the device."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next update depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        ...


def scale_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Multiply the present and the initial learning rate of every group by ``factor``."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group.get("initial_lr", float(group["lr"])) * factor
        set_learning_rate(group, float(group["lr"]) * factor)


def set_learning_rate(group: dict[str, Any], value: float) -> None:
    """Set a group's learning rate in place, so that a captured CUDA graph sees the change."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value
