"""Averaged stochastic gradient descent: the mean of the weights along the way, in place of the last ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ConfigError
from lamina.training.callback import Callback
from lamina.training.run import Run


class AveragedWeights(Callback):
    """Keeps the mean of the weights after every update of the last part of a run, and puts it in at the end.

        w̄_k = w̄_{k-1} + (w_k - w̄_{k-1}) / k,      k counted from the first update that is averaged

    With a constant rate the weights wander about the minimum; their mean lies much nearer to it (Polyak & Ruppert: on
    a quadratic, as near as the best second-order method would come). Not together with a rate that falls to nothing:
    then there is no wandering left to average, and old weights hold the mean back.

    The mean is that of ``torch.optim.swa_utils.AveragedModel``, made to stop and go on at any update; buffers (running
    statistics) stay those of the last weights, so a network with batch normalisation needs
    ``torch.optim.swa_utils.update_bn`` afterwards. Stands after what changes the weights and, like a checkpoint, sees
    an optimiser's look-ahead point, not θ, unless that steps with closures.

    Args:
        start: Share of the planned updates after which the mean begins, in [0, 1).

    Raises:
        ConfigError: If ``start`` is out of its range.

    Reference: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4),
    1992; Ruppert, 1988; Goodfellow et al., Deep Learning, 2016, section 8.7.3.
    """

    def __init__(self, start: float = 0.5) -> None:
        if not 0.0 <= start < 1.0:
            raise ConfigError(
                f"start must be at least 0 and below 1, got {start!r}", where="AveragedWeights", mend="use 0.5"
            )
        self.start = start
        self.count = 0
        self.mean: list[Tensor] = []

    @torch.no_grad()
    def on_step(self, run: Run) -> None:
        """Take the weights in."""
        if run.steps <= self.start * run.total_steps:
            return
        weights = [p.detach() for p in run.step.model.parameters()]
        self.count += 1
        if self.count == 1:
            self.mean = [w.clone() for w in weights]
        else:
            torch._foreach_lerp_(self.mean, weights, 1.0 / self.count)

    @torch.no_grad()
    def on_end(self, run: Run) -> None:
        """Put the mean in."""
        if self.count and run.error is None and not run.interrupted:
            torch._foreach_copy_(list(run.step.model.parameters()), self.mean)

    def state_dict(self) -> dict[str, Any]:
        """Return the mean so far."""
        return {"count": self.count, "mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.count, self.mean = int(state["count"]), [w.clone() for w in state["mean"]]
