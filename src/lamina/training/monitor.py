"""Follows the size of gradients and updates, which tell ill-conditioning and a wrong learning rate from the curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lamina.training.callback import Callback
from lamina.training.run import Run


class Monitor(Callback):
    """Records ``grad_norm`` = ‖g‖ and ``update_ratio`` = median over weight matrices of ‖Δw‖ / ‖w‖, once an epoch.

    Both are taken at the middle update of the epoch. A ratio near 1 % is usual, 50 % or 0.001 % are signs of a wrong
    learning rate (Goodfellow et al., Deep Learning, 2016, section 11.5.6). Layers whose gradient is exactly zero there
    are counted in ``dead_layers``.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] | None = None
        self._found: dict[str, float] = {}
        self._at = 0

    def on_start(self, run: Run) -> None:
        """Choose the update to look at: the middle one of the epoch, from 1 on."""
        self._at = max(1, run.epoch_steps // 2)

    def on_epoch_start(self, run: Run) -> None:
        """Choose it anew, as epochs may differ in length; copy the weights where it is the first."""
        self.on_start(run)
        if self._at == 1:
            self._before = self._copy(run.step.model)

    def on_step(self, run: Run) -> None:
        """Copy the weights before the update to look at, compare after it."""
        if run.position == self._at:
            self._compare(run)
        elif run.position == self._at - 1:
            self._before = self._copy(run.step.model)

    def _copy(self, model: nn.Module) -> list[Tensor]:
        return [p.detach().clone() for p in model.parameters() if p.ndim >= 2]

    def _compare(self, run: Run) -> None:
        parameters = list(run.step.model.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            norms = torch.stack(torch._foreach_norm(gradients))
            self._found["grad_norm"] = float(torch.linalg.vector_norm(norms))
            self._found["dead_layers"] = float((norms == 0).sum())
        if self._before is not None:
            weights = [p.detach() for p in parameters if p.ndim >= 2]
            ratios = [
                torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(before).clamp_min(1e-12)
                for after, before in zip(weights, self._before, strict=True)
            ]
            if ratios:
                self._found["update_ratio"] = float(torch.stack(ratios).median())
        self._before = None

    def on_epoch(self, run: Run) -> None:
        """Add the figures to the record."""
        run.history.current.update(self._found)
        self._found = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what was found in the present epoch."""
        return {"found": dict(self._found), "before": self._before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self._found, self._before = dict(state["found"]), state["before"]
