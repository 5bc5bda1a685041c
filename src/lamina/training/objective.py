"""Objective: ``objective(model, batch) -> Loss``, what training makes small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.mean_nll import mean_nll
from lamina.penalties.base import Context, Penalty


class Loss(NamedTuple):
    """A scalar to differentiate, and its parts for the record.

    Attributes:
        total: Mean over the examples, in nats, penalties included.
        parts: Named scalars to follow beside the total.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = {}


@runtime_checkable
class Objective(Protocol):
    """Anything that turns a model and a batch into a loss."""

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the model on the batch."""
        ...


@dataclass(frozen=True)
class Supervised:
    """Mean negative log-likelihood of the targets, plus penalties.

        L = -(1/N) Σ_n w_n log p(t_n | f(x_n)) + penalty

    Attributes:
        likelihood: What the outputs mean.
        penalty: Added as it is; scale it with ``*``.
    """

    likelihood: Likelihood
    penalty: Penalty | None = field(default=None)

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the model on the batch.

        Returns:
            The total, and with a penalty its two parts ``nll`` and ``penalty``.

        Raises:
            ConfigError: If the batch carries no targets.
        """
        if batch.targets is None:
            raise ConfigError("needs targets, and the batch has none", where="Supervised")
        outputs = model(batch.inputs)
        nll = mean_nll(self.likelihood, outputs, batch.targets, batch.weights)
        if self.penalty is None:
            return Loss(nll)
        penalty = self.penalty(Context(model, batch.inputs, outputs, batch.targets, self.likelihood, batch.weights))
        return Loss(nll + penalty, {"nll": nll.detach(), "penalty": penalty.detach()})
