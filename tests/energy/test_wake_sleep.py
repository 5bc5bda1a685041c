"""Wake-sleep against its enumerated gradients, and learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy.machines import bars_and_stripes
from energy.nets import shaken
from energy.oracle import binary
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM
from lamina.energy.sigmoid_belief import SigmoidBeliefNetwork
from lamina.energy.wake_sleep import WakeSleep
from lamina.errors import ConfigError
from lamina.training import GradientStep, fit

G = torch.Generator
X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def exact(net: SigmoidBeliefNetwork) -> torch.Tensor:
    """The objective with every draw replaced by its expectation, the probabilities of the draws held fixed."""
    h = torch.from_numpy(binary(net.layers.n_hidden))
    rows = [X[:, None], *(part[None] for part in net.layers.split(h))]
    q = net.layers.log_q(rows).exp().detach()
    wake = -(q * net.log_joint(rows)).sum(1).mean()
    every = torch.from_numpy(binary(sum(net.layers.sizes)))
    units = list(torch.split(every, net.layers.sizes, dim=1))
    sleep = -(net.log_joint(units).exp().detach() * net.layers.log_q(units)).sum()
    return wake + sleep


def test_U16_the_gradients_are_those_of_the_two_expectations() -> None:
    net, copies = SigmoidBeliefNetwork((3, 2, 2)), 20_000
    shaken(net)
    exact(net).backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    WakeSleep(G().manual_seed(0))(net, Batch(X.repeat(copies, 1))).total.backward()
    for p, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=0.0, atol=5 * 0.5 / np.sqrt(2 * copies))
        assert float(gradient.abs().max()) > 0.03


def test_U16_the_bound_rises() -> None:
    pictures = bars_and_stripes(2).repeat(10, 1)
    net = SigmoidBeliefNetwork((4, 6, 2), std=0.1, generator=G().manual_seed(0))
    before = net.exact_bound(pictures[:6]).bound.detach().mean()
    step = GradientStep(net, WakeSleep(G().manual_seed(1)), torch.optim.Adam(net.parameters(), 0.03))
    fit(step, InMemory(Batch(pictures), 60), max_epochs=600)
    found = net.exact_bound(pictures[:6])
    assert float(found.bound.detach().mean()) > float(before) + 0.25
    assert float(found.log_likelihood.detach().mean()) > -2.55  # -2.77 without weights, -1.79 at best


def test_weights_count_examples_and_others_are_refused() -> None:
    net = SigmoidBeliefNetwork((3, 2))
    shaken(net)
    weights = torch.tensor([2.0, 0.0]).double()
    loss = WakeSleep(G().manual_seed(0))(net, Batch(X, weights=weights))
    units = net.layers.infer(X, G().manual_seed(0))
    torch.testing.assert_close(loss.parts["wake"], -net.log_joint(units)[0].detach())
    with pytest.raises(ConfigError, match="WakeSleep: trains a SigmoidBeliefNetwork, got a RBM"):
        WakeSleep()(RBM(3, 2), Batch(X))
