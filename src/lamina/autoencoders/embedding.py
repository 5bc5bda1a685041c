"""Semi-supervised embedding: layers that hold neighbours together and others apart, beside few labels or before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from lamina.data.batch import Batch
from lamina.data.stream import Stream
from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.mean_nll import mean_nll
from lamina.likelihoods.pairwise import pairwise_similarity
from lamina.penalties.base import Context, Penalty
from lamina.training.gradient_step import GradientStep
from lamina.training.hidden_layers import HiddenLayer, hidden_layers
from lamina.training.objective import Loss

Form = Literal["hinge", "hadsell"]
Place = int | Literal["output"]


class EmbeddingNetwork(nn.Module):
    """A chain together with the places at which it embeds pairs.

        place "output":  z = the chain's outputs
        place k ≥ 1:     z = what hidden layer k gives               (1 is the layer next to the inputs)
        auxiliary A:     z = A(h_k), from a layer of its own that the predictions do not use

    The chain computes as it does alone; once training is over ``network`` is what is kept.

    Args:
        network: A chain with hidden layers.
        at: Places; several give several embeddings (the reference's "all").
        auxiliary: A module for some of the places, such as ``{1: nn.Linear(50, 10)}``; it reads what the layer gives,
            flattened.

    Raises:
        ConfigError: If the chain has no such layer.

    Reference: Weston, Ratle & Collobert, "Deep Learning via Semi-Supervised Embedding", ICML 2008, section 3.
    """

    def __init__(
        self,
        network: nn.Sequential,
        at: Sequence[Place] = ("output",),
        auxiliary: Mapping[Place, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        layers, _ = hidden_layers(network, "EmbeddingNetwork")
        ends: dict[Place, str] = {layer.number: next(reversed(layer.modules)) for layer in layers}
        ends["output"] = list(network._modules)[-1]
        heads = auxiliary or {}
        if not at or any(isinstance(place, bool) or place not in ends for place in at) or not set(heads) <= set(at):
            raise ConfigError(
                f'places must be among 1 … {len(layers)} and "output", got {tuple(at)!r}, and auxiliary ones among '
                f"those, got {tuple(heads)!r}",
                where="EmbeddingNetwork",
                mend='use at=("output",)',
            )
        self.network = network
        self.auxiliary = nn.ModuleDict({str(place): module for place, module in heads.items()})
        self._places = {ends[place]: str(place) for place in at}

    def forward(self, x: Tensor) -> Tensor:
        """Return the chain's outputs."""
        outputs: Tensor = self.network(x)
        return outputs

    def embed(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the outputs, and z of each place, (N, D), from one pass; the place next to the inputs first."""
        found = []
        for name, module in self.network.named_children():
            x = module(x)
            if name in self._places:
                place, z = self._places[name], x.flatten(1)
                found.append(self.auxiliary[place](z) if place in self.auxiliary else z)
        return x, found


@dataclass(frozen=True)
class SemiSupervisedEmbedding:
    """Mean negative log-likelihood of labelled examples plus the similarity loss of pairs, at places of the network.

        J = -(1/n_l) Σ_n log p(t_n | f(x_n)) + (λ/2) Σ_places mean over pairs (n, m) of
              ‖z_n - z_m‖² where they are similar,  max(0, M - ‖z_n - z_m‖²) where not

    With the outputs as the only place it is ``lamina.training.PairwiseSemiSupervised``. At a hidden layer the pairs say
    nothing of the classes themselves, only what the layers above are to take for alike. Batches are those of
    ``lamina.data.pairs.LabelledAndPairs`` with the same three counts; pairs come from ``nearest_pairs`` or from what is
    known (two frames of one film).

    Attributes:
        likelihood: What the outputs of labelled examples mean.
        n_labelled: Labelled rows of a batch.
        n_similar: Similar pairs of a batch.
        n_dissimilar: Dissimilar pairs of a batch.
        weight: λ, at least 0.
        margin: M, above 0, in the unit of z squared; a layer of d sigmoids has squared distances up to d.
        form: See ``lamina.likelihoods.pairwise_similarity``.
        penalty: Added as it is.

    Raises:
        ConfigError: If λ is negative or a count is.

    Reference: Weston, Ratle & Collobert, "Deep Learning via Semi-Supervised Embedding", ICML 2008, section 3 and
    algorithm 1 (which takes an example, a similar and a dissimilar pair in turn; here all are in each update, with the
    same expected gradients).
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
        _check("SemiSupervisedEmbedding", self.n_labelled, self.n_similar, self.n_dissimilar)
        if not self.weight >= 0.0:
            raise ConfigError(
                f"weight must be at least 0, got {self.weight!r}", where="SemiSupervisedEmbedding", mend="use 1.0"
            )

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the network on the batch.

        Args:
            model: An ``EmbeddingNetwork``.
            batch: Laid out in the three counts.

        Returns:
            The total and its parts: ``nll``, ``pairs`` (the sum over places, without λ/2), and ``penalty`` where there
            is one.

        Raises:
            ConfigError: If the model or the batch is another.
        """
        if not isinstance(model, EmbeddingNetwork) or batch.targets is None:
            raise ConfigError(
                f"needs an EmbeddingNetwork and targets, got {type(model).__name__}",
                where="SemiSupervisedEmbedding",
                mend="wrap the chain: EmbeddingNetwork(network, at=(1,))",
            )
        counts = (self.n_labelled, self.n_similar, self.n_dissimilar)
        outputs, embeddings = model.embed(batch.inputs)
        nll = mean_nll(self.likelihood, outputs, batch.targets, batch.weights)
        pairs = torch.stack([_pairs(z, counts, self.margin, self.form) for z in embeddings]).sum()
        total, parts = nll + 0.5 * self.weight * pairs, {"nll": nll.detach(), "pairs": pairs.detach()}
        if self.penalty is not None:
            added = self.penalty(Context(model, batch.inputs, outputs, batch.targets, self.likelihood, batch.weights))
            total, parts["penalty"] = total + added, added.detach()
        return Loss(total, parts)


@dataclass(frozen=True)
class EmbeddingLayer:
    """Greedy embedding: each hidden layer learns from pairs alone before any label is seen.

        J_k = mean over pairs (n, m) of  ‖h_k(x_n) - h_k(x_m)‖² where they are similar,
                                         max(0, M - ‖h_k(x_n) - h_k(x_m)‖²) where not

    A ``lamina.training.LayerLearner``: hand it to ``pretrain_greedy`` with a ``LabelledAndPairs`` of the same three
    counts, whose labelled rows it leaves aside; the same batches serve ``SemiSupervisedEmbedding`` afterwards. The
    layer's own modules learn in place. Pairs are those of the inputs, for all layers.

    Attributes:
        n_labelled: Labelled rows of a batch.
        n_similar: Similar pairs of a batch.
        n_dissimilar: Dissimilar pairs of a batch; without any all layers would shrink to a point.
        rate: Adam's learning rate.
        margin: M, above 0.
        form: See ``lamina.likelihoods.pairwise_similarity``.

    Raises:
        ConfigError: If a count is out of range.

    Reference: Weston, Ratle & Collobert, "Deep Learning via Semi-Supervised Embedding", ICML 2008, as a criterion for
    the greedy procedure of Bengio et al., NeurIPS 2006; the reference itself trains all layers together.
    """

    n_labelled: int
    n_similar: int
    n_dissimilar: int
    rate: float = 0.003
    margin: float = 1.0
    form: Form = "hinge"

    def __post_init__(self) -> None:
        _check("EmbeddingLayer", self.n_labelled, self.n_similar, self.n_dissimilar)
        if self.n_dissimilar < 1:
            raise ConfigError(
                "needs dissimilar pairs, or its layers shrink to a point", where="EmbeddingLayer", mend="draw some"
            )

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> GradientStep:
        """Return the step that trains the layer on batches of pairs."""
        model = layer.encoder
        return GradientStep(model, self, torch.optim.Adam(model.parameters(), lr=self.rate))

    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        """Do nothing: the model is made of the layer's own modules."""

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the pairs of a batch, as the layer gives them."""
        counts = (self.n_labelled, self.n_similar, self.n_dissimilar)
        return Loss(_pairs(model(batch.inputs).flatten(1), counts, self.margin, self.form))


def _pairs(z: Tensor, counts: tuple[int, int, int], margin: float, form: Form) -> Tensor:
    labelled, similar, dissimilar = counts
    if len(z) != labelled + 2 * (similar + dissimilar):
        raise ConfigError(
            f"needs {labelled + 2 * (similar + dissimilar)} rows a batch, got {len(z)}",
            where="embedding",
            mend="draw batches from LabelledAndPairs with the same counts, whole (accumulate=1)",
        )
    _, alike, alike_too, unlike, unlike_too = torch.split(z, [labelled, similar, similar, dissimilar, dissimilar])
    marks = torch.arange(similar + dissimilar, device=z.device) < similar
    first, second = torch.cat((alike, unlike)), torch.cat((alike_too, unlike_too))
    return pairwise_similarity(first, second, marks, margin, form).mean()


def _check(where: str, *counts: int) -> None:
    if min(counts) < 0 or sum(counts[1:]) < 1:
        raise ConfigError(
            f"counts must be at least 0, with one pair or more, got {counts}",
            where=where,
            mend="use the counts of LabelledAndPairs",
        )
