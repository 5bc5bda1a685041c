"""Greedy learning by autoencoders: the layers learn in place, one after the other, whatever their kind."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Masking
from lamina.data.batch import Batch
from lamina.data.stream import InMemory, Stream
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Gaussian
from lamina.nn import MLP
from lamina.penalties import Contractive
from lamina.training.greedy import LayerLearner, pretrain_greedy

G = torch.Generator


def data(*shape: int, scale: float = 1.0) -> InMemory:
    x = torch.rand(shape, generator=G().manual_seed(1), dtype=torch.float64) * scale
    return InMemory(Batch(x), 4, shuffle=False)


class Elsewhere:
    """A stream that is not known to lie in memory."""

    def __init__(self, data: Stream) -> None:
        self.data, self.n_examples = data, data.n_examples

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        yield from self.data.batches(epoch, start)


def sigmoid_net(seed: int = 0) -> nn.Sequential:
    return MLP(6, 2, (5, 4), "sigmoid", generator=G().manual_seed(seed)).double()


def test_U07_one_step_is_gradient_descent_on_the_tied_cross_entropy() -> None:
    net = sigmoid_net()
    w, c = (net.get_parameter(f"linear1.{name}").detach().clone().requires_grad_() for name in ("weight", "bias"))
    b = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    x = data(4, 6).data.inputs
    seen = Masking(0.5)(x, G().manual_seed(3))
    p = torch.sigmoid(torch.sigmoid(seen @ w.T + c) @ w + b)
    (-(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()).backward()
    learner = AutoencoderLayer(0.2, corruption=Masking(0.5))
    assert isinstance(learner, LayerLearner)
    (layer,) = pretrain_greedy(net, data(4, 6), learner, epochs=1, layers=1, generator=G().manual_seed(3))
    for name, before in (("weight", w), ("bias", c)):
        assert before.grad is not None
        torch.testing.assert_close(net.get_parameter(f"linear1.{name}").data, before.data - 0.2 * before.grad)
    assert b.grad is not None
    torch.testing.assert_close(layer.model.get_parameter("decoder.bias").data, -0.2 * b.grad)
    assert layer.model.get_parameter("decoder.weight") is net.get_parameter("linear1.weight")


def test_lower_layers_and_the_output_stand_still() -> None:
    net = sigmoid_net()
    first = copy.deepcopy(net)
    pretrain_greedy(first, data(12, 6), AutoencoderLayer(0.5), epochs=2, layers=1, generator=G().manual_seed(0))
    pretrain_greedy(net, data(12, 6), AutoencoderLayer(0.5), epochs=2, generator=G().manual_seed(0))
    for name in ("linear1.weight", "linear1.bias", "output.weight", "output.bias"):
        assert torch.equal(net.get_parameter(name), first.get_parameter(name))
    assert not torch.equal(net.get_parameter("linear2.weight"), first.get_parameter("linear2.weight"))


@pytest.mark.parametrize(
    ("given", "scale", "expected"),
    [
        (None, 1.0, Bernoulli(6)),
        (None, 1.5, Gaussian(6, scale=1.0)),
        (None, -1.0, Gaussian(6, scale=1.0)),
        ("gaussian", 1.0, Gaussian(6, scale=1.0)),
        ("bernoulli", 1.0, Bernoulli(6)),
    ],
)
@pytest.mark.parametrize("in_memory", [True, False])
def test_the_likelihood_is_that_of_the_inputs(given: Any, scale: float, expected: object, in_memory: bool) -> None:
    x = torch.full((12, 6), 0.5, dtype=torch.float64)
    x[-1, -1] = scale  # a number in the last batch decides
    stream: Stream = InMemory(Batch(x), 4, shuffle=False)
    stream = stream if in_memory else Elsewhere(stream)
    layer = pretrain_greedy(sigmoid_net(), stream, AutoencoderLayer(likelihood=given), epochs=1, layers=1)[0]
    assert isinstance(layer.model, Autoencoder) and layer.model.likelihood == expected


def conv_net(channels: int = 2) -> nn.Sequential:
    modules = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(channels, 3, 3, stride=2, padding=1),
        norm1=nn.BatchNorm2d(3),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(3, 4, 2, padding="valid"),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
        linear3=nn.Linear(4 * 2 * 1, 5),
        dropout3=nn.Dropout(0.5),
        relu3=nn.ReLU(),
        output=nn.Linear(5, 2),
    )
    return nn.Sequential(modules).double()


@pytest.mark.parametrize("tied", [True, False])
def test_convolutions_with_pooling_and_normalisation(tied: bool) -> None:
    net = conv_net()
    stream = data(8, 2, 11, 7)  # conv1 makes 6 x 4, pool1 3 x 2, conv2 2 x 1
    learner = AutoencoderLayer(0.01, tied=tied, likelihood="gaussian", optimizer=torch.optim.Adam)
    done = pretrain_greedy(net, stream, learner, epochs=8, generator=G().manual_seed(0))
    x = stream.data.inputs
    for layer in done:
        model = layer.model
        assert isinstance(model, Autoencoder)
        assert model.reconstruct(x).shape == x.shape
        assert any(p is layer.layer.affine.weight for p in model.decoder.parameters()) is tied
        records = layer.history.records
        assert records[-1]["loss"] < records[0]["loss"]
        x = model.encode(x)


def test_pooled_values_are_repeated_before_the_transposed_convolution() -> None:
    net = nn.Sequential(
        OrderedDict[str, nn.Module](
            c=nn.Conv2d(1, 1, 1, bias=False), p=nn.AvgPool2d(2), f=nn.Flatten(), o=nn.Linear(4, 1)
        )
    ).double()
    (layer,) = pretrain_greedy(net, data(4, 1, 4, 4), AutoencoderLayer(1e-9), epochs=1)
    w, x = float(net.get_parameter("c.weight").detach()), data(4, 1, 4, 4).data.inputs
    pooled = x.reshape(4, 1, 2, 2, 2, 2).mean((3, 5)) * w
    repeated = torch.kron(pooled, torch.ones(2, 2, dtype=torch.float64))
    torch.testing.assert_close(layer.model(x), repeated * w, atol=1e-6, rtol=0.0)


def test_a_penalty_and_another_optimizer_are_used() -> None:
    losses = []
    for learner in (
        AutoencoderLayer(0.01, optimizer=torch.optim.Adam),
        AutoencoderLayer(0.01, optimizer=torch.optim.Adam, penalty=5.0 * Contractive()),
        AutoencoderLayer(0.01),
    ):
        net = sigmoid_net()
        pretrain_greedy(net, data(12, 6), learner, epochs=5, layers=1, generator=G().manual_seed(0))
        losses.append(float(net.get_parameter("linear1.weight").detach().square().sum()))
    assert losses[1] < losses[0] and losses[2] != losses[0]


def test_refuses() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        AutoencoderLayer(0.0)
    net = nn.Sequential(OrderedDict[str, nn.Module](l=nn.Linear(6, 8), m=nn.GLU(), o=nn.Linear(4, 1))).double()
    with pytest.raises(ConfigError, match="nothing to tie"):
        pretrain_greedy(net, data(8, 6), AutoencoderLayer(), epochs=1)
    pretrain_greedy(net, data(8, 6), AutoencoderLayer(tied=False), epochs=1)
    net = nn.Sequential(OrderedDict[str, nn.Module](e=nn.Bilinear(6, 6, 2), o=nn.Linear(2, 1))).double()
    with pytest.raises((ConfigError, TypeError)):
        pretrain_greedy(net, data(8, 6), AutoencoderLayer(), epochs=1)
    net = nn.Sequential(OrderedDict[str, nn.Module](l=nn.Linear(6, 3), f=nn.Flatten(), o=nn.Linear(6, 1))).double()
    with pytest.raises(ConfigError, match="cannot decode Linear over inputs"):
        pretrain_greedy(net, data(8, 2, 6), AutoencoderLayer(), epochs=1)
