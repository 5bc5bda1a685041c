"""Recalibrates a learnt spread on examples that the network has not learnt from."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from lamina.likelihoods import Gaussian, Laplace, Likelihood, Power, StudentT
from lamina.likelihoods.mean_nll import weighted_mean

FEWEST = 20
"""Below this many held-out examples the estimate is noisier than the fault it mends."""


Located = Gaussian | Laplace | Power | StudentT
"""One number with a location and a scale: two outputs where the scale is learnt."""


def has_learnt_scale(likelihood: Likelihood) -> TypeGuard[Located]:
    """Return whether a likelihood is of one number whose scale the network gives."""
    return isinstance(likelihood, Located) and likelihood.scale is None and likelihood.n_targets == 1


def spread_shift(likelihood: Located, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
    """Find what must be added to the raw log-scale so that the held-out examples are most likely.

        δ* = argmax_δ Σ_n w_n log p(y_n | µ_n, r_n + δ),   δ in [-3, 3]

    A network that was stopped by its squared error, or knows its training rows by heart, is too sure. Where the raw
    output is the log of the spread, exp δ* is, of a Gaussian, the root mean square of the standardised residuals.

    Args:
        likelihood: One target with a learnt spread.
        outputs: ``(N, 2)``: location and raw log-scale.
        targets: ``(N,)``.
        weights: ``(N,)``, 1 each if not given.

    Returns:
        δ*, to 1e-6; 0 where there are fewer than ``FEWEST`` examples.
    """
    if len(targets) < FEWEST:
        return 0.0
    outputs, targets = outputs.double(), targets.double()

    def nll(delta: float) -> float:
        shifted = torch.stack([outputs[:, 0], outputs[:, 1] + delta], dim=1)
        return float(-weighted_mean(likelihood.log_prob(shifted, targets), weights))

    ratio = (5**0.5 - 1) / 2
    low, high = -3.0, 3.0
    while high - low > 1e-6:  # golden section: the function has one minimum
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if nll(left) < nll(right) else (left, high)
    return (low + high) / 2


def shift_spread(model: nn.Module, delta: float) -> None:
    """Add δ to the bias of the raw log-scale, the second output of the network's last affine layer.

    Args:
        model: Ends in an ``nn.Linear`` with two outputs and a bias.
        delta: See ``spread_shift``.
    """
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[1] += delta
