"""Pairs of rows without a target, and learning from them: neighbours are alike, others are not."""

from __future__ import annotations

import math

from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.nearest_pairs import nearest_pairs
from lamina.data.pairs import LabelledAndPairs
from lamina.likelihoods import Likelihood
from lamina.methodology.reference import design
from lamina.penalties import Penalty
from lamina.runs.lines import PairsChoice
from lamina.runs.models import Spec
from lamina.training.objective import Objective
from lamina.training.pairwise import PairwiseSemiSupervised


def neighbour_pairs(inputs: Tensor, spec: Spec, neighbours: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pair each row with its nearest rows, which are taken to be alike, and as many rows that are not neighbours.

    Near is by Euclidean distance of what a linear model reads: scaled numbers, categories as 0/1 columns. A pair
    stands once, also where each of the two is among the nearest of the other.

    Args:
        inputs: ``(U, ...)`` as the network reads them, on the CPU.
        spec: What they look like.
        neighbours: Nearest rows of each row.
        seed: Decides which rows make the pairs that are not alike.

    Returns:
        ``(P, 2)`` int64 row numbers, and ``(P,)`` bool: whether the two are alike.

    Raises:
        ConfigError: If so many neighbours leave no two rows that are none.
    """  # noqa: DOC502
    return nearest_pairs(design(inputs, spec), neighbours, seed=seed)


def stream_of_pairs(
    labelled: Batch, unlabelled: Tensor, spec: Spec, choice: PairsChoice, *, batch_size: int, seed: int
) -> tuple[LabelledAndPairs, tuple[int, int, int]]:
    """Return batches of three kinds: rows with a target, pairs that are alike, pairs that are not.

    An epoch goes once round the rows with a target, and round the pairs too unless these are more than ``batch_size``
    an update: then it goes on until all pairs were seen.

    Args:
        labelled: Training rows.
        unlabelled: Rows without a target, on the same device.
        spec: What the inputs look like.
        choice: Which pairs.
        batch_size: Rows with a target an update.
        seed: Decides pairs and orders.

    Returns:
        The stream, and how many of each kind an update draws.
    """
    pairs, similar = neighbour_pairs(unlabelled.cpu(), spec, choice.neighbours, seed)
    steps = math.ceil(labelled.size / batch_size)
    n_similar, n_dissimilar = (min(batch_size, math.ceil(int(kind.sum()) / steps)) for kind in (similar, ~similar))
    counts, device = (min(batch_size, labelled.size), n_similar, n_dissimilar), unlabelled.device
    stream = LabelledAndPairs(
        labelled,
        unlabelled,
        pairs.to(device),
        similar.to(device),
        n_labelled=counts[0],
        n_similar=counts[1],
        n_dissimilar=counts[2],
        seed=seed,
        device=device,
    )
    return stream, counts


def pairwise_objective(
    likelihood: Likelihood, penalty: Penalty | None, choice: PairsChoice, counts: tuple[int, int, int]
) -> Objective:
    """Return the objective that reads the batches of ``stream_of_pairs``.

    Args:
        likelihood: Reads the outputs of rows with a target.
        penalty: Added as it is.
        choice: Weight, margin and form.
        counts: Of each kind in a batch.

    Returns:
        Mean negative log-likelihood plus the similarity loss.
    """
    return PairwiseSemiSupervised(
        likelihood,
        *counts,
        weight=choice.weight,
        margin=choice.margin,
        form=choice.form,
        penalty=penalty,
    )
