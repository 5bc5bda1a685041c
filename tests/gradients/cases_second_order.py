"""The products of a batch's curvature as derivatives of its gradient, and what of the room has no derivative."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradients.case import GradientCase
from lamina.curvature.batch_loss import BatchLoss
from lamina.likelihoods import Categorical

_DETACHED = "gives detached tensors: checked against explicit matrices in tests/curvature"
NOT_DIFFERENTIABLE: dict[str, str] = {
    f"lamina.curvature.{name}": _DETACHED
    for name in (
        "curvature_blocks",
        "curvature_diagonal",
        "curvature_rows",
        "empirical_fisher_vector",
        "fisher_vector",
        "gauss_newton_vector",
        "hutchinson_diagonal",
        "low_rank_from_eigenpairs",
        "low_rank_from_gradients",
    )
} | {f"lamina.curvature.{name}": "a matrix or a record" for name in ("BlockDiagonal", "DiagonalLowRank", "Iterate")}


def loss_of_parameters() -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    batch = BatchLoss(
        model,
        Categorical(3),
        x,
        torch.arange(5) % 3,
        weights=torch.linspace(0.5, 1.5, 5, dtype=torch.float64),
        penalty=lambda outputs: sum(0.1 * p.pow(4).sum() for p in model.parameters()) + 0.1 * outputs.pow(4).mean(),
    )
    names = list(batch.named)
    return (
        lambda *values: batch.at(dict(zip(names, values, strict=True))),
        tuple(p.clone().requires_grad_() for p in batch.parameters.values()),
    )


CASES = [GradientCase("batch-loss", ("lamina.curvature.BatchLoss",), loss_of_parameters, second=True)]
