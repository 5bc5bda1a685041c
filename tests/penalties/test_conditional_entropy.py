"""Entropy minimisation, against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical

from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian
from lamina.penalties.base import Context
from lamina.penalties.conditional_entropy import ConditionalEntropy
from penalties.derivative_problems import codes, context_of, rows, smooth_network


def test_R26_entropy_is_that_of_torch() -> None:
    model, x = smooth_network(), rows()
    z = model(x)
    of_classes = ConditionalEntropy()(context_of(model, x, likelihood=Categorical(3)))
    assert math.isclose(of_classes.item(), TorchCategorical(logits=z).entropy().mean().item(), rel_tol=1e-12)
    of_bits = ConditionalEntropy()(context_of(model, x, likelihood=Bernoulli(3)))
    assert math.isclose(of_bits.item(), TorchBernoulli(logits=z).entropy().sum(1).mean().item(), rel_tol=1e-12)


def test_unlabelled_rows_count() -> None:
    model, x = smooth_network(), rows()
    weights = torch.tensor([5.0, 0, 0, 0, 0], dtype=torch.float64)
    values = [ConditionalEntropy()(context_of(model, x, codes(), weights=w)).item() for w in (weights, None)]
    assert values[0] == values[1]


@pytest.mark.parametrize("likelihood", [Categorical(3), Bernoulli(3)])
def test_finite_for_large_logits(likelihood: Categorical | Bernoulli) -> None:
    z = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]).requires_grad_()
    value = ConditionalEntropy()(Context(torch.nn.Identity(), z, z, None, likelihood))
    (gradient,) = torch.autograd.grad(value, z)
    assert torch.isfinite(value) and torch.isfinite(gradient).all()


def test_needs_classes() -> None:
    model, x = smooth_network(), rows()
    with pytest.raises(ConfigError, match="Gaussian"):
        ConditionalEntropy()(context_of(model, x, likelihood=Gaussian(3, scale=1.0)))
