"""Objectives over pairs: siamese networks, and semi-supervised learning from pairs that are or are not alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.mean_nll import mean_nll, weighted_mean
from lamina.likelihoods.pairwise import pairwise_similarity
from lamina.penalties.base import Context, Penalty
from lamina.training.objective import Loss

Form = Literal["hinge", "hadsell"]


@dataclass(frozen=True)
class Siamese:
    """The mean pairwise similarity loss over all pairs of a batch: examples with the same target are alike.

        L = mean over n < m of  ‖z_n - z_m‖² where t_n = t_m,  max(0, M - ‖z_n - z_m‖²) where not

    One network embeds both members of a pair, so N embeddings give N (N - 1) / 2 pairs; their cost grows as N², beside
    the network's. Balanced batches make most pairs unlike; M says how far apart those are to be.

    Attributes:
        margin: M, above 0.
        form: "hinge" as above; "hadsell" has max(0, m - ‖z_n - z_m‖)².
        penalty: Added as it is.

    Reference: Hadsell, Chopra & LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, eq. 4.
    """

    margin: float = 1.0
    form: Form = "hinge"
    penalty: Penalty | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the embeddings of the batch.

        Returns:
            The total, and with a penalty its parts ``pairs`` and ``penalty``.

        Raises:
            ConfigError: If there are no targets, one a row, or fewer than two examples.
        """
        targets, n = batch.targets, batch.size
        if targets is None or targets.numel() != n or n < 2:
            raise ConfigError(
                "needs two examples or more with one target each", where="Siamese", mend="use larger batches with codes"
            )
        outputs, codes = model(batch.inputs), targets.reshape(n)
        i, j = torch.triu_indices(n, n, 1, device=outputs.device)
        values = pairwise_similarity(outputs[i], outputs[j], codes[i] == codes[j], self.margin, self.form)
        pairs = weighted_mean(values, None if batch.weights is None else batch.weights[i] * batch.weights[j])
        return _with_penalty(
            pairs, {}, self.penalty, Context(model, batch.inputs, outputs, targets, None, batch.weights)
        )


@dataclass(frozen=True)
class PairwiseSemiSupervised:
    """Mean negative log-likelihood of labelled examples plus the similarity loss of unlabelled pairs.

        J = -(1/n_l) Σ_n log p(t_n | z_n) + (λ/2) mean over pairs (n, m) of
              ‖z_n - z_m‖² where they are similar,  max(0, M - ‖z_n - z_m‖²) where not

    With ``Gaussian(scale=1)`` the first term is half the squared error. Batches are those of
    ``lamina.data.pairs.LabelledAndPairs`` with the same three counts: every update samples labelled examples, similar
    pairs and dissimilar pairs at once, where the course takes them in turn; the expected gradients add up to the same.

    Attributes:
        likelihood: What the outputs of labelled examples mean.
        n_labelled: Labelled rows of a batch.
        n_similar: Similar pairs of a batch.
        n_dissimilar: Dissimilar pairs of a batch.
        weight: λ, at least 0.
        margin: M, above 0, in the unit of the outputs squared.
        form: See ``lamina.likelihoods.pairwise_similarity``.
        penalty: Added as it is.

    Raises:
        ConfigError: If λ is negative or a count is.

    Reference: Weston, Ratle & Collobert, "Deep Learning via Semi-Supervised Embedding", ICML 2008, algorithm 1.
    """

    likelihood: Likelihood
    n_labelled: int
    n_similar: int
    n_dissimilar: int
    weight: float = 1.0
    margin: float = 1.0
    form: Form = "hinge"
    penalty: Penalty | None = None

    def __post_init__(self) -> None:
        counts = (self.n_labelled, self.n_similar, self.n_dissimilar)
        if not self.weight >= 0.0 or min(counts) < 0 or self.n_similar + self.n_dissimilar < 1:
            raise ConfigError(
                f"weight and counts must be at least 0, with one pair or more, got {self.weight!r} and {counts}",
                where="PairwiseSemiSupervised",
                mend="use the counts of LabelledAndPairs",
            )

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the model on the batch.

        Returns:
            The total and its parts: ``nll``, ``pairs`` without λ/2, and ``penalty`` where there is one.

        Raises:
            ConfigError: If the batch is not laid out in the three counts.
        """
        counts = [self.n_labelled, self.n_similar, self.n_similar, self.n_dissimilar, self.n_dissimilar]
        if batch.targets is None or batch.size != sum(counts):
            raise ConfigError(
                f"needs {sum(counts)} rows with targets, got {batch.size}",
                where="PairwiseSemiSupervised",
                mend="draw batches from LabelledAndPairs with the same counts, whole (accumulate=1)",
            )
        outputs = model(batch.inputs)
        nll = mean_nll(self.likelihood, outputs, batch.targets, batch.weights)
        _, alike, alike_too, unlike, unlike_too = outputs.split(counts)
        similar = torch.zeros(self.n_similar + self.n_dissimilar, dtype=torch.bool, device=outputs.device)
        similar[: self.n_similar] = True
        first, second = torch.cat((alike, unlike)), torch.cat((alike_too, unlike_too))
        pairs = pairwise_similarity(first, second, similar, self.margin, self.form).mean()
        parts = {"nll": nll.detach(), "pairs": pairs.detach()}
        context = Context(model, batch.inputs, outputs, batch.targets, self.likelihood, batch.weights)
        return _with_penalty(nll + 0.5 * self.weight * pairs, parts, self.penalty, context)


def _with_penalty(total: Tensor, parts: dict[str, Tensor], penalty: Penalty | None, context: Context) -> Loss:
    if penalty is None:
        return Loss(total, parts)
    value = penalty(context)
    return Loss(total + value, {**(parts or {"pairs": total.detach()}), "penalty": value.detach()})
