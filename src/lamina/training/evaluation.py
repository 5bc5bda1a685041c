"""Outputs of a network over many examples, and the figures of a held-out part after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training.callback import Callback
from lamina.training.run import Run

Metric = Callable[[Tensor, Tensor], Tensor]
"""``metric(outputs, targets) -> scalar``, on the device."""


def outputs_of(
    model: nn.Module,
    inputs: Tensor,
    *,
    rows: Tensor | None = None,
    batch_size: int = 4096,
    device: torch.device | None = None,
) -> Tensor:
    """Return the network's outputs in evaluation mode, batch by batch.

    Args:
        model: Its mode is put back afterwards.
        inputs: ``(N, ...)``; moved to the device piece by piece.
        rows: ``(n,)`` int64, which of the inputs to take; all if not given.
        batch_size: Examples at a time.
        device: Where the model is; read from its parameters if not given.

    Returns:
        ``(n, outputs)`` on the device.
    """
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            pieces = [
                model(_piece(inputs, rows, start, start + batch_size).to(device, non_blocking=True))
                for start in range(0, max(1, inputs.shape[0] if rows is None else len(rows)), batch_size)
            ]
    finally:
        model.train(was_training)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _piece(inputs: Tensor, rows: Tensor | None, start: int, stop: int) -> Tensor:
    return inputs[start:stop] if rows is None else inputs.index_select(0, rows[start:stop])


class Validation(Callback):
    """Records the loss and other figures of a held-out part after each epoch.

    Args:
        data: Examples.
        likelihood: Gives the loss: mean negative log-likelihood in nats, without penalties.
        rows: ``(n,)`` int64, which of the examples are held out; all if not given.
        metrics: More figures, each a function of all outputs and targets.
        name: Figures are recorded as ``<name>_loss``, ``<name>_<metric>``.
        batch_size: Examples at a time.
    """

    def __init__(
        self,
        data: Batch,
        likelihood: Likelihood,
        metrics: Mapping[str, Metric] | None = None,
        *,
        rows: Tensor | None = None,
        name: str = "valid",
        batch_size: int = 4096,
    ) -> None:
        self.rows = None if rows is None else rows.to(data.inputs.device)
        self.data, self.likelihood, self.metrics = data, likelihood, dict(metrics or {})
        self.name, self.batch_size = name, batch_size

    def on_epoch(self, run: Run) -> None:
        """Record the figures; waits for the device once."""
        for name, value in self.figures(run.step.model).items():
            run.history.current[f"{self.name}_{name}"] = value

    def figures(self, model: nn.Module) -> dict[str, float]:
        """Return loss and metrics of the model on the data.

        Returns:
            Named values; NaN where the model gives NaN.
        """
        outputs = outputs_of(model, self.data.inputs, rows=self.rows, batch_size=self.batch_size)
        targets, weights = (
            None if part is None else (part if self.rows is None else part[self.rows]).to(outputs.device)
            for part in (self.data.targets, self.data.weights)
        )
        assert targets is not None
        with torch.no_grad():
            values = {"loss": -weighted_mean(self.likelihood.log_prob(outputs, targets), weights)}
            values |= {name: metric(outputs, targets) for name, metric in self.metrics.items()}
        return {name: float(value) for name, value in values.items()}
