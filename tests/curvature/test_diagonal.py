"""Diagonals against those of explicit matrices, and the estimate's mean and variance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from curvature import net
from curvature.test_batch_loss import NETS, batch, explicit, matrix
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.diagonal import curvature_diagonal, hutchinson_diagonal
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, FullGaussian, Gaussian


@pytest.mark.parametrize("name", list(NETS))
@pytest.mark.parametrize("kind", ["gauss-newton", "empirical-fisher"])
def test_O18_is_the_diagonal_of_the_explicit_matrix(name: str, kind: str) -> None:
    loss = batch(name, penalty=False)
    loss.model.eval()
    found, expected = net.flat(curvature_diagonal(loss, kind)), explicit(loss, kind).diagonal()
    assert (found - expected).abs().max() <= 1e-10 * expected.max()


def test_O18_noise_is_part_of_the_network_and_the_batchs_norm_is_refused() -> None:
    loss = batch("dropping", penalty=False)
    found, expected = net.flat(curvature_diagonal(loss)), explicit(loss, "gauss-newton").diagonal()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
    loss.model.eval()
    assert not torch.allclose(net.flat(curvature_diagonal(loss)), found, rtol=0.1)
    with pytest.raises(ConfigError, match="training mode"):
        curvature_diagonal(batch("normalised", penalty=False))


def test_O18_sequences_with_time_first_and_as_many_steps_as_examples() -> None:
    class ByTime(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inward, self.output = nn.Linear(2, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            states = torch.tanh(self.inward(x.transpose(0, 1)))
            found: Tensor = self.output(states.cumsum(0).tanh()[-1])
            return found

    torch.manual_seed(0)
    x = torch.randn(6, 6, 2, generator=net.seeded(0), dtype=torch.float64)
    loss = BatchLoss(ByTime().double(), Categorical(3), x, torch.arange(6) % 3)
    found, expected = net.flat(curvature_diagonal(loss)), explicit(loss, "gauss-newton").diagonal()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


class Awkward(nn.Module):
    """Shared weights, a weight used twice, in-place units, groups, strides, padding, sequences, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, padding_mode="reflect")
        self.second = nn.Conv2d(4, 2, 2, dilation=2, padding="same")
        self.places = nn.Linear(4, 3)
        self.square = nn.Linear(3, 3, bias=False)
        self.output = nn.Linear(24, 3)
        self.frozen = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.tensor(1.3))
        self.frozen.requires_grad_(False)
        self.places.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu_(self.first(x))
        h = torch.tanh(self.second(h)).reshape(len(x), -1, 4)
        h = torch.sigmoid_(self.places(h))
        h = torch.tanh(self.square(torch.tanh(self.square(h))))
        found: Tensor = self.frozen(self.output(h.reshape(len(x), -1)) * self.scale)
        return found


def test_O18_layers_that_are_not_used_plainly() -> None:
    torch.manual_seed(0)
    model = Awkward().double()
    x = torch.randn(5, 2, 7, 7, generator=net.seeded(0), dtype=torch.float64)
    loss = BatchLoss(model, Categorical(3), x, torch.arange(5) % 3)
    for kind in ("gauss-newton", "empirical-fisher"):
        found, expected = net.flat(curvature_diagonal(loss, kind)), explicit(loss, kind).diagonal()
        assert expected.min() > 0
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_O18_a_weight_that_is_used_beside_its_layer_too() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inward = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.inward(x)) @ self.inward.weight

    torch.manual_seed(0)
    x = torch.rand(6, 4, generator=net.seeded(0), dtype=torch.float64)
    loss = BatchLoss(Tied().double(), Bernoulli(4), x, x)
    found = net.flat(curvature_diagonal(loss))
    torch.testing.assert_close(found, matrix(loss.product(), loss.parameters).diagonal(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("likelihood", [Gaussian(2), FullGaussian(2), Bernoulli(5)], ids=repr)
def test_O18_outputs_of_every_kind(likelihood: Gaussian | FullGaussian | Bernoulli) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, likelihood.n_outputs)).double()
    x = torch.randn(6, 3, generator=net.seeded(0), dtype=torch.float64)
    loss = BatchLoss(model, likelihood, x, torch.zeros(6, likelihood.n_targets, dtype=torch.float64))
    found = net.flat(curvature_diagonal(loss))
    torch.testing.assert_close(found, matrix(loss.product(), loss.parameters).diagonal(), rtol=1e-10, atol=1e-14)


def test_O18_drawn_diagonal_is_that_of_the_drawn_matrix() -> None:
    loss = batch("mlp", penalty=False)
    found = curvature_diagonal(loss, "fisher", draws=3, generator=net.seeded(4))
    same = loss.product("fisher", draws=3, generator=net.seeded(4))
    torch.testing.assert_close(net.flat(found), matrix(same, loss.parameters).diagonal(), rtol=1e-10, atol=1e-14)


def test_O18_estimate_has_the_mean_and_the_variance_that_are_printed() -> None:
    loss = batch("mlp", penalty=False)
    product, g, n, per = loss.product(), net.seeded(0), 400, 2
    whole = matrix(product, loss.parameters)
    many = torch.stack(
        [net.flat(hutchinson_diagonal(product, loss.parameters, draws=per, generator=g)) for _ in range(n)]
    )
    variance = (whole.square().sum(1) - whole.diagonal().square()) / per
    assert ((many.mean(0) - whole.diagonal()).abs() <= 5 * (variance / n).sqrt() + 1e-12).all()
    ratio = many.var(0).sum() / variance.sum()
    assert 0.85 < ratio < 1.15
    diagonal = {k: p.abs() + 1 for k, p in loss.parameters.items()}
    exact = hutchinson_diagonal(
        lambda v: {k: diagonal[k] * t for k, t in v.items()}, diagonal, draws=1, generator=net.seeded(0)
    )
    torch.testing.assert_close(net.flat(exact), net.flat(diagonal))
    with pytest.raises(ConfigError, match="draws"):
        hutchinson_diagonal(product, loss.parameters, draws=0)
