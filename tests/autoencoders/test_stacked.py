"""Unrolled stacks compute the layers' reconstructions one within another, and share or copy their weights."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.reconstruction import Reconstruction
from lamina.autoencoders.stacked import unroll
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli
from lamina.nn import MLP
from lamina.training import GradientStep, fit
from lamina.training.greedy import GreedyLayer, pretrain_greedy

G = torch.Generator
X = torch.rand(24, 8, generator=G().manual_seed(0), dtype=torch.float64)


def trained(net: nn.Sequential, tied: bool = True, x: torch.Tensor = X) -> list[GreedyLayer]:
    learner = AutoencoderLayer(0.05, tied=tied)
    return pretrain_greedy(net, InMemory(Batch(x), 8), learner, epochs=2, generator=G().manual_seed(1))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("tied_layers", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_U07_reconstructions_one_within_another(activation: str, tied_layers: bool, tied: bool) -> None:
    net = MLP(8, 2, (6, 5, 4), activation, generator=G().manual_seed(0)).double()
    layers = trained(net, tied_layers)
    model = unroll(layers, tied=tied)
    a, b, c = (layer.model for layer in layers)
    assert isinstance(a, Autoencoder) and isinstance(b, Autoencoder) and isinstance(c, Autoencoder)
    code = c.encode(b.encode(a.encode(X)))
    mean = torch.sigmoid if activation == "sigmoid" else torch.Tensor.clone
    torch.testing.assert_close(model.encode(X), code)
    torch.testing.assert_close(model(X), a.decode(mean(b.decode(mean(c.decode(code))))))
    assert model.likelihood == Bernoulli(8)
    for k in (1, 2, 3):
        assert model.encoder.get_parameter(f"linear{k}.weight") is net.get_parameter(f"linear{k}.weight")
    n_weights = 8 * 6 + 6 * 5 + 5 * 4
    shared = tied and tied_layers
    assert sum(p.numel() for p in model.parameters() if p.ndim > 1) == n_weights * (1 if shared else 2)


def test_fine_tuning_lowers_the_error_and_moves_the_networks_own_layers() -> None:
    net = MLP(8, 2, (6, 3), "sigmoid", generator=G().manual_seed(0)).double()
    model = unroll(trained(net), tied=False)
    before = net.get_parameter("linear1.weight").detach().clone()
    objective = Reconstruction(Bernoulli(8))
    first = float(objective(model, Batch(X)).total.detach())
    step = GradientStep(model, objective, torch.optim.Adam(model.parameters(), lr=0.01))
    fit(step, InMemory(Batch(X), 8), max_epochs=20)
    assert float(objective(model, Batch(X)).total.detach()) < first - 0.05
    assert not torch.equal(net.get_parameter("linear1.weight"), before)


@pytest.mark.parametrize("tied", [True, False])
def test_convolutions(tied: bool) -> None:
    net = nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 3, 3, padding=1), sigmoid1=nn.Sigmoid(), pool1=nn.MaxPool2d(2), flatten=nn.Flatten(),
            linear2=nn.Linear(12, 5), sigmoid2=nn.Sigmoid(), output=nn.Linear(5, 2),
        )
    ).double()  # fmt: skip
    x = torch.rand(12, 1, 4, 4, generator=G().manual_seed(0), dtype=torch.float64)
    layers = trained(net, x=x)
    model = unroll(layers, tied=tied)
    a, b = (layer.model for layer in layers)
    assert isinstance(a, Autoencoder) and isinstance(b, Autoencoder)
    torch.testing.assert_close(model(x), a.decode(torch.sigmoid(b.decode(b.encode(a.encode(x))))))
    assert any(p is net.get_parameter("conv1.weight") for p in model.decoder.parameters()) is tied


def test_refuses() -> None:
    with pytest.raises(ConfigError, match="no layers"):
        unroll([])
    layer = trained(MLP(8, 2, (6,), "sigmoid").double())[0]
    with pytest.raises(ConfigError, match="no decoder"):
        unroll([GreedyLayer(layer.layer, nn.Linear(8, 6), layer.history)])
