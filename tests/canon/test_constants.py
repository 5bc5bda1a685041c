"""W37: the constants that the courses give are defaults here, or there is an argument that takes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from canon.sketches import problem
from lamina.data.batch import Batch
from lamina.data.preprocessing import SIGMOID_RANGE, TANH_RANGE
from lamina.initialisers import initialise
from lamina.likelihoods import Gaussian
from lamina.methodology.baseline import TABLE_PACE, complete
from lamina.nn import GaussianNoise, ScaledTanh, linear_regression
from lamina.optim import AdaGrad
from lamina.penalties import L2
from lamina.runs.settings import Settings
from lamina.training import Supervised


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


def test_W37_the_number_beside_the_root() -> None:
    """A first gradient of the size of δ = 1e-7 makes half the step of a large one: g / (δ + |g|)."""
    steps = []
    for size in (1e-7, 1e7):
        w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        w.grad = torch.full_like(w, size)
        AdaGrad([w], lr=0.5, epsilon="outside").step()
        steps.append(-w.item())
    assert steps == pytest.approx([0.25, 0.5], rel=1e-9)


@pytest.mark.parametrize("optimizer", ["newton", "trust-region", "hessian-free", "lbfgs", "conjugate-gradient"])
def test_W37_second_order_batches(optimizer: str) -> None:
    assert complete(Settings(optimizer=optimizer), problem(60_000))[0].batch_size == 10_000
    assert complete(Settings(optimizer=optimizer), problem(700))[0].batch_size == 700
    assert complete(Settings(), problem(60_000))[0].batch_size == 256


def test_W37_ten_examples_a_weight() -> None:
    """What ``linear_regression`` says of it: the weights add P / (N - P - 1) to the noise's variance, 0.11 at N = 10 P.

    For normal inputs and ‖w - w*‖² measured, no test examples are needed; at N = 2 P it would be 1.05.
    """
    generator, weights = torch.Generator().manual_seed(0), 20
    for times, bound in ((10, 0.12), (2, 1.2)):
        n, excess = times * weights, []
        for _ in range(300):
            x = torch.randn(n, weights, generator=generator, dtype=torch.float64)
            found = linear_regression(x, torch.randn(n, generator=generator, dtype=torch.float64), bias=False)
            excess.append(found.weight.detach().square().sum())
        mean = torch.stack(excess).mean().item()
        assert mean == pytest.approx(weights / (n - weights - 1), rel=0.06)
        assert bound / 1.5 < mean < bound


def test_W37_weight_decay_in_units_of_the_noise() -> None:
    """0.001 σ² to 0.1 σ² beside ½ (y - ŷ)² is 0.001 to 0.1 beside a Gaussian likelihood; the default lies there."""
    generator, sigma = torch.Generator().manual_seed(0), 3.0
    net = nn.Linear(4, 1).double()
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(9, generator=generator, dtype=torch.float64)
    for c in (0.001, 0.1):
        likelihood = Supervised(Gaussian(scale=sigma), c * L2())(net, Batch(x, y)).total
        squares = 0.5 * (net(x)[:, 0] - y).square().mean() + c * sigma**2 * 0.5 * net.weight.square().sum()
        ours, theirs = (torch.autograd.grad(total, net.weight)[0] for total in (likelihood, squares))
        assert torch.allclose(ours, theirs / sigma**2, rtol=1e-12)
    for some in (problem(500), problem(60_000), problem(60_000, pictures=True)):
        decay = complete(Settings(), some)[0].weight_decay
        assert decay is not None and 0.001 <= decay <= 0.1
