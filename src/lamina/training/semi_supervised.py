"""The shared criterion: one network that explains the targets and the inputs at once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.penalties.base import Penalty
from lamina.training.objective import Loss, Objective, Supervised


@dataclass(frozen=True)
class SemiSupervised:
    """-log P(y | x) of the labelled examples plus λ times a generative criterion whose parameters the two share.

        L = -(1/N) Σ_n w_n log P(y_n | x_n) + λ G,     G = -(1/N) Σ_n log P(x_n)  or  -(1/N) Σ_n w_n log P(x_n, y_n)

    What the inputs alone say about the network's weights acts as a prior on the conditional model. With λ = 0 the
    criterion is not evaluated, and the run is that of ``Supervised`` to the bit.

    Batches hold labelled examples and unlabelled ones of weight 0: ``lamina.data.semi_supervised``.

    Attributes:
        likelihood: What the outputs mean.
        criterion: G, an objective that is given the same model and the same batch: -log P(x) looks at ``batch.inputs``
            only, -log P(x, y) at targets and weights too.
        weight: λ, at least 0.
        penalty: Added as it is.

    Raises:
        ConfigError: If λ is negative.

    Reference: Lasserre, Bishop & Minka, "Principled Hybrids of Generative and Discriminative Models", CVPR 2006;
    Larochelle & Bengio, "Classification using Discriminative Restricted Boltzmann Machines", ICML 2008, section 3;
    Goodfellow et al., Deep Learning, 2016, section 7.6.
    """

    likelihood: Likelihood
    criterion: Objective
    weight: float = 1.0
    penalty: Penalty | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0.0:
            raise ConfigError(f"weight must be at least 0, got {self.weight!r}", where="SemiSupervised", mend="use 0.1")

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the model on the batch.

        Returns:
            The total, and with λ above 0 its parts ``supervised`` and ``generative``, the latter without λ.
        """
        loss = Supervised(self.likelihood, self.penalty)(model, batch)
        if self.weight == 0.0:
            return loss
        generative = self.criterion(model, batch).total
        parts = {**loss.parts, "supervised": loss.total.detach(), "generative": generative.detach()}
        return Loss(loss.total + self.weight * generative, parts)
