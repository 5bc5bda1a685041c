"""Supervised selection of features: ranked by mutual information with the class, cut where neighbours vote best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lamina.data.batch import Batch
from lamina.errors import ConfigError

_AT_ONCE = 1 << 22  # numbers of a block


@torch.no_grad()
def mutual_information(
    features: Float[Tensor, "N F"], codes: Int[Tensor, " N"], *, bins: int = 10
) -> Float[Tensor, " F"]:
    """Return an estimate of each feature's mutual information with the class, in nats.

        I = Σ_b Σ_c p(b, c) log(p(b, c) / (p(b) p(c)))

    b is the feature's bin; the bins hold about N / ``bins`` examples each (equal values never part), so that the
    feature's scale and outliers do not matter. The estimate is too high by some (bins - 1)(classes - 1) / (2 N), about
    the same for all features of one set: a ranking does not mind.

    Args:
        features: A feature in each column.
        codes: Class codes from 0 on.
        bins: B, at least 2.

    Returns:
        From 0 to log(min(bins, classes)), float64.

    Raises:
        ConfigError: If there are no examples, or the codes or bins are out of range.
    """
    n, width = features.shape
    if n == 0 or bins < 2 or bool((codes < 0).any()):
        raise ConfigError(
            f"needs examples, codes from 0 on and two bins or more, got {n} examples and {bins} bins",
            where="mutual_information",
            mend="use bins=10",
        )
    classes = int(codes.max()) + 1
    values = torch.empty(width, dtype=torch.float64, device=features.device)
    for columns in torch.split(torch.arange(width, device=features.device), max(1, _AT_ONCE // n)):
        rows = features[:, columns].mT.contiguous()
        # The k-th edge is the first value of the k-th n / bins-th: what equals it goes with it.
        places = torch.arange(1, bins, device=rows.device) * n // bins
        edges = rows.sort(1).values[:, places].contiguous()
        cells = torch.searchsorted(edges, rows, right=True) * classes + codes
        counts = torch.zeros(len(rows), bins * classes, dtype=torch.float64, device=rows.device)
        joint = counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=torch.float64)).view(-1, bins, classes) / n
        alone = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
        values[columns] = torch.xlogy(joint, joint / alone.masked_fill(joint == 0, 1.0)).sum((1, 2))
    return values


@torch.no_grad()
def select_features(
    train: Batch, valid: Batch, *, counts: Sequence[int] | None = None, neighbours: int = 5, bins: int = 10
) -> Int[Tensor, " W"]:
    """Return which features to keep: the first w by mutual information, w as a vote of nearest neighbours likes it.

        order = argsort(-I(feature; class)),   w = argmin_w  errors on ``valid`` of kNN over the features order[:w]

    The distances of all w grow out of one another, so trying every one costs little more than the largest. Of several
    w with the same errors the smallest is taken.

    Args:
        train: Features (N, F) and class codes.
        valid: As many features, and codes; no row of ``train``.
        counts: The w to try; None is 1, 2, 4, … and all.
        neighbours: Voters; of classes with as many votes the one of the nearer voter wins.
        bins: See ``mutual_information``.

    Returns:
        Columns, the most informative first.

    Raises:
        ConfigError: If targets are missing, the two sets differ, or a number is out of range.

    Reference: Cho & Saul, "Kernel Methods for Deep Learning", NeurIPS 2009, section 3.1; the bins are ours.
    """
    if train.targets is None or valid.targets is None or train.inputs.shape[1:] != valid.inputs.shape[1:]:
        raise ConfigError("needs two sets of the same features with class codes", where="select_features")
    width = train.inputs.shape[1]
    tried = sorted({min(2**k, width) for k in range(width.bit_length() + 1)} if counts is None else set(counts))
    if not tried or tried[0] < 1 or tried[-1] > width or not 1 <= neighbours <= train.size or valid.size == 0:
        raise ConfigError(
            f"counts must lie in 1 … {width} and neighbours in 1 … {train.size}, got {counts!r} and {neighbours!r}",
            where="select_features",
            mend="leave counts out",
        )
    order = mutual_information(train.inputs, train.targets, bins=bins).argsort(descending=True, stable=True)
    ranked, codes = train.inputs[:, order[: tried[-1]]], train.targets
    errors = torch.zeros(len(tried), dtype=torch.long, device=codes.device)
    classes = int(torch.maximum(codes.max(), valid.targets.max())) + 1
    for rows in torch.split(torch.arange(valid.size, device=codes.device), max(1, _AT_ONCE // train.size)):
        mine = valid.inputs[rows][:, order[: tried[-1]]]
        distances = mine.new_zeros(len(rows), train.size)
        begun = 0
        for place, stop in enumerate(tried):
            a, b = mine[:, begun:stop], ranked[:, begun:stop]
            distances += a.square().sum(1)[:, None] + b.square().sum(1) - 2.0 * (a @ b.mT)
            voters = codes[distances.topk(neighbours, largest=False, sorted=True).indices]
            errors[place] += (_voted(voters, classes) != valid.targets[rows]).sum()
            begun = stop
    return order[: tried[int(errors.argmin())]]


def _voted(voters: Tensor, classes: int) -> Tensor:
    # The k-th voter's vote counts 1 + 2^-k: only ties look at the second term, and the nearest of their voters decides.
    places = torch.arange(1, voters.shape[1] + 1, device=voters.device, dtype=torch.float64)
    ballots = 1.0 + torch.exp2(-places)
    tally = torch.zeros(len(voters), classes, dtype=torch.float64, device=voters.device)
    return tally.scatter_add_(1, voters, ballots.expand(len(voters), -1)).argmax(1)
