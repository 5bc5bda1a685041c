"""Temperature scaling: makes class probabilities mean what they say, judged by held-out examples."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lamina.likelihoods import Bernoulli, Categorical
from lamina.likelihoods.mean_nll import weighted_mean

FEWEST = 50
"""Below this many held-out examples the estimate is noisier than the fault it mends."""

RANGE = (0.5, 4.0)
"""A few held-out examples that are all right or nearly so cannot ask for more certainty than twice the logits."""


def temperature(
    likelihood: Categorical | Bernoulli, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
) -> float:
    """Find the temperature at which the held-out examples are most likely.

        T* = argmax_T Σ_n w_n log p(y_n | outputs_n / T),   T in RANGE

    Dividing all logits by one number leaves every decision as it is.

    Args:
        likelihood: Reads logits.
        outputs: ``(N, n_outputs)``.
        targets: As the likelihood takes them.
        weights: ``(N,)``, 1 each if not given.

    Returns:
        T*, to one part in 10⁵; 1 where there are fewer than ``FEWEST`` examples.

    Reference: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    if len(targets) < FEWEST:
        return 1.0
    outputs = outputs.double()

    def nll(log_t: float) -> float:
        return float(-weighted_mean(likelihood.log_prob(outputs * math.exp(-log_t), targets), weights))

    ratio = (5**0.5 - 1) / 2
    low, high = math.log(RANGE[0]), math.log(RANGE[1])
    while high - low > 1e-5:  # golden section: the loss is convex in 1/T, so it has one minimum in T
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if nll(left) <= nll(right) else (left, high)
    return math.exp((low + high) / 2)


def cool(model: nn.Module, t: float) -> None:
    """Divide the logits by ``t``, in the weights of the network's last affine layer.

    Args:
        model: Ends in an ``nn.Linear``.
        t: See ``temperature``.
    """
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.div_(t)
