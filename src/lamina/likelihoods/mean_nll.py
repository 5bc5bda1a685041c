"""The mean negative log-likelihood of a batch: what training makes small, and what curvature is the curvature of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.categorical import Categorical


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return Σ w_n v_n / N, the plain mean where there are no weights.

    Dividing by N and not by Σ w keeps each example's share the same in every batch.

    Returns:
        A scalar.
    """
    return values.mean() if weights is None else (weights * values).mean()


def mean_nll(likelihood: Likelihood, outputs: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """Return -(1/N) Σ_n w_n log p(t_n | outputs_n).

    For class codes it is PyTorch's one call, which spares a tenth of the time of a small step.

    Returns:
        A scalar.
    """
    if (
        isinstance(likelihood, Categorical)
        and likelihood.smoothing == 0.0
        and weights is None
        and (target.dtype is torch.int64 and target.ndim == 1 and outputs.shape[1:] == (likelihood.n_classes,))
    ):
        return cross_entropy(outputs, target)
    return -weighted_mean(likelihood.log_prob(outputs, target), weights)
