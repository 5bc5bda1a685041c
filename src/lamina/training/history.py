"""History: what happened, epoch by epoch, gathered without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ConfigError, nearest


class History:
    """One record an epoch; within an epoch, means of the step's scalars over the examples.

    Scalars stay on the device in a buffer of ``BLOCK`` steps; then their sum is taken there in one go, in float64. So a
    step costs a list append, memory does not grow with the number of steps, and the blocks lie at fixed positions of
    the epoch, which makes the sums of a resumed run equal to the bit.
    """

    BLOCK = 256

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.current: dict[str, Any] = {}
        self.last_block: dict[str, Tensor] = {}
        self._pending: list[Mapping[str, Tensor]] = []
        self._sizes: list[int] = []
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, scalars: Mapping[str, Tensor], size: int) -> bool:
        """Note one step over ``size`` examples.

        Returns:
            True when this step filled a block (its values are then in ``last_block``).
        """
        self._pending.append(scalars)
        self._sizes.append(size)
        if len(self._sizes) < self.BLOCK:
            return False
        self._flush()
        return True

    def _flush(self) -> None:
        if not self._sizes:
            return
        self.last_block = {
            name: torch.stack([scalars[name] for scalars in self._pending]).double() for name in self._pending[0]
        }
        sizes = torch.tensor(self._sizes, dtype=torch.float64)
        for name, values in self.last_block.items():
            total = values @ sizes.to(values.device)
            self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._count += sum(self._sizes)
        self._pending, self._sizes = [], []

    def peek(self) -> dict[str, float]:
        """Return the means of the epoch so far over whole blocks; waits for the device.

        Returns:
            Named means, empty before the first block is full.
        """
        return {name: float(total) / self._count for name, total in self._sums.items()} if self._count else {}

    def close_epoch(self, epoch: int) -> dict[str, Any]:
        """End the epoch: its record begins with the means, and callbacks may add to it.

        Returns:
            The new record, which is also ``current`` and the last of ``records``.
        """
        self._flush()
        self.current = {"epoch": epoch, **{name: float(s) / self._count for name, s in self._sums.items()}}
        self.records.append(self.current)
        self._sums, self._count = {}, 0
        return self.current

    def latest(self, name: str) -> float:
        """Return a figure of the latest epoch.

        Returns:
            Its value, possibly NaN.

        Raises:
            ConfigError: If no such figure was recorded; lists those that were.
        """
        if name not in self.current:
            known = [key for key, value in self.current.items() if isinstance(value, float)]
            raise ConfigError(
                f'no figure "{name}" is recorded{nearest(name, known)}',
                where="History",
                mend="recorded figures: " + ", ".join(known),
            )
        return float(self.current[name])

    def series(self, name: str) -> list[float]:
        """Return a figure over all epochs, NaN where an epoch lacks it."""
        return [float(record.get(name, float("nan"))) for record in self.records]

    def state_dict(self) -> dict[str, Any]:
        """Return records, sums and the unfinished block."""
        pending = {name: torch.stack([s[name] for s in self._pending]) for name in (self._pending or [{}])[0]}
        return {
            "records": [dict(record) for record in self.records],
            "sums": dict(self._sums),
            "count": self._count,
            "pending": pending,
            "sizes": list(self._sizes),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.records = [dict(record) for record in state["records"]]
        self.current = self.records[-1] if self.records else {}
        self._sums, self._count, self._sizes = dict(state["sums"]), int(state["count"]), list(state["sizes"])
        pending: Mapping[str, Tensor] = state["pending"]
        self._pending = [{name: values[i] for name, values in pending.items()} for i in range(len(self._sizes))]
