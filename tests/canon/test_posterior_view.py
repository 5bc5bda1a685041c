"""Penalties as prior beliefs: each differs from the negative log density of its prior by a number without weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, distributions, nn

from lamina.likelihoods import Gaussian
from lamina.penalties import L2, Penalty
from lamina.penalties.base import Context
from lamina.penalties.l1 import L1


def network(seed: int) -> nn.Sequential:
    """A network with 8 + 8 weights, drawn wide, and biases that no penalty should see."""
    g = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(5 * torch.randn(p.shape, generator=g, dtype=torch.float64))
    return net


def penalised(penalty: Penalty, net: nn.Module) -> Tensor:
    return penalty(Context(net, torch.zeros(1, 2).double(), torch.zeros(1, 2).double()))


ZERO = torch.zeros((), dtype=torch.float64)
PRIORS = {
    "gaussian": (L2, lambda c: distributions.Normal(ZERO, ZERO + c**-0.5), lambda c: 0.5 * math.log(2 * math.pi / c)),
    "laplace": (L1, lambda c: distributions.Laplace(ZERO, ZERO + 1 / c), lambda c: math.log(2 / c)),
}


@settings(max_examples=30, deadline=None)
@given(prior=st.sampled_from(list(PRIORS)), strength=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_R33_penalty_is_the_log_prior_up_to_a_constant(prior: str, strength: float, seed: int) -> None:
    penalty, density, constant = PRIORS[prior]
    net = network(seed)
    weights = [p for p in net.parameters() if p.ndim == 2]
    log_prior = sum(density(strength).log_prob(w).sum() for w in weights)
    difference = penalised(strength * penalty(), net) + log_prior
    assert difference.item() == pytest.approx(-16 * constant(strength), rel=1e-9, abs=1e-7)  # 8 + 8 weights
    ours = torch.autograd.grad(penalised(strength * penalty(), net), weights)
    theirs = torch.autograd.grad(-sum(density(strength).log_prob(w).sum() for w in weights), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("prior", list(PRIORS))
def test_R33_the_penalised_minimum_is_the_most_probable_weight(prior: str) -> None:
    """One weight w, N observations of it: the minimum of loss and penalty is the posterior's mode, on a grid."""
    penalty, density, _ = PRIORS[prior]
    seen = torch.tensor([0.4, 1.1, 0.9, 1.6], dtype=torch.float64)
    grid = torch.linspace(-1, 2, 30_001, dtype=torch.float64)
    posterior = density(1.5).log_prob(grid) + distributions.Normal(grid.unsqueeze(1), 1.0).log_prob(seen).sum(1)
    mode = grid[posterior.argmax()].item()
    # Closed forms: the mean shrunk by 4 / (4 + 1.5), or moved by 1.5 / 4 towards zero.
    assert mode == pytest.approx(1.0 * 4 / 5.5 if prior == "gaussian" else 1.0 - 1.5 / 4, abs=1e-4)
    model = nn.Linear(1, 1, bias=False).double()

    def objective(w: float) -> tuple[float, float]:
        with torch.no_grad():
            model.weight.fill_(w)
        outputs = model(torch.ones(4, 1, dtype=torch.float64))
        loss = -Gaussian(scale=1.0).log_prob(outputs, seen).sum()
        value = loss + penalised(1.5 * penalty(), model)
        (slope,) = torch.autograd.grad(value, model.weight)
        return value.item(), slope.item()

    at_mode, slope = objective(mode)
    assert abs(slope) < 1e-3
    assert objective(mode + 0.01)[0] > at_mode < objective(mode - 0.01)[0]
