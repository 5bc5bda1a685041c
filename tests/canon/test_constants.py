"""W37: the constants that the courses give are defaults here, or there is an argument that takes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.data.preprocessing import SIGMOID_RANGE, TANH_RANGE
from lamina.initialisers import initialise
from lamina.methodology.baseline import TABLE_PACE
from lamina.nn import GaussianNoise, ScaledTanh
from lamina.runs.settings import Settings


def test_W37_units() -> None:
    below = torch.tensor([-2.0])
    assert nn.LeakyReLU()(below).item() == pytest.approx(-0.02)
    assert nn.LeakyReLU(0.1)(below).item() == pytest.approx(-0.2)
    assert nn.ELU()(torch.tensor([-100.0])).item() == pytest.approx(-1.0)
    assert ScaledTanh()(torch.tensor([1e3])).item() == pytest.approx(1.716)


def test_W37_a_bias_of_a_tenth_for_rectified_units() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    initialise(net, "he", bias=0.1)
    assert (net[0].bias == 0.1).all()


def test_W37_ranges() -> None:
    assert SIGMOID_RANGE == (0.15, 0.85)
    assert TANH_RANGE == (-1.716, 1.716)


def test_W37_split_and_batches() -> None:
    assert Settings().split == (0.65, 0.10, 0.25)
    assert all(32 <= batch <= 256 for limit, batch, _ in TABLE_PACE if limit <= 200_000)


def test_W37_noise_of_variance_a_tenth() -> None:
    noise = GaussianNoise(0.1**0.5, torch.Generator().manual_seed(0)).train()
    assert noise(torch.zeros(200_000)).var().item() == pytest.approx(0.1, rel=0.02)
