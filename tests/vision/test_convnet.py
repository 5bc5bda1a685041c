"""The plain convolutional network: every number by loops, sizes by hand, and its behaviour as a module."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from torch import nn

from lamina.errors import ConfigError
from lamina.training.hidden_layers import hidden_layers
from lamina.vision import ConvNet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_V18_outputs_written_out() -> None:
    """Correlation by SciPy, pooling by loops; every number of a network of two stages and a dense layer."""
    net = ConvNet(2, 17, 16, 3, filters=2, hidden=(5,), activation="tanh", generator=seeded()).double()
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("bias"):
                p.normal_(generator=seeded(1))
    x = np.random.default_rng(0).normal(size=(2, 17, 16))
    h = x
    for conv in (net.conv1, net.conv2):
        w, b = conv.weight.detach().numpy(), conv.bias.detach().numpy()
        maps = [sum(correlate2d(c, k, "same") for c, k in zip(h, kernels, strict=True)) for kernels in w]
        g = np.tanh(np.stack(maps) + b[:, None, None])
        rows, columns = g.shape[1] // 2, g.shape[2] // 2
        h = np.array(
            [[[m[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max() for j in range(columns)] for i in range(rows)] for m in g]
        )
    last = net.linear3.weight.detach().numpy() @ h.reshape(-1) + net.linear3.bias.detach().numpy()
    expected = net.output.weight.detach().numpy() @ np.tanh(last) + net.output.bias.detach().numpy()
    with torch.no_grad():
        found = net(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("side", "names", "places"),
    [
        (7, ["conv1", "linear2", "output"], 3),
        (8, ["conv1", "linear2", "output"], 4),
        (28, ["conv1", "conv2", "linear3", "output"], 7),
        (64, ["conv1", "conv2", "conv3", "conv4", "linear5", "output"], 4),
    ],
)
def test_V18_stages_by_hand(side: int, names: list[str], places: int) -> None:
    net = ConvNet(1, side, side, 10)
    assert [name for name, layer in net.named_children() if next(layer.parameters(), None) is not None] == names
    maps = 16 * 2 ** (len(names) - 3)
    assert net.get_submodule(names[-2]).in_features == maps * places**2


def test_V18_five_layers_have_the_parameters_of_the_formula() -> None:
    """Convolution, pooling, convolution, pooling, dense: (F F K₁ + 1) K₂ each, and 7 * 7 * 32 inputs of the last."""
    net = ConvNet(1, 28, 28, 10, hidden=())
    assert [type(one) for one in net] == [
        nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear
    ]  # fmt: skip
    expected = (25 * 1 + 1) * 16 + (25 * 16 + 1) * 32 + (7 * 7 * 32 + 1) * 10
    assert sum(p.numel() for p in net.parameters()) == expected == 28_938


@given(
    n=st.integers(0, 3),
    channels=st.integers(1, 3),
    height=st.integers(2, 33),
    width=st.integers(2, 33),
    k=st.integers(1, 4),
)
@settings(max_examples=30, deadline=None)
def test_any_size_of_picture(n: int, channels: int, height: int, width: int, k: int) -> None:
    net = ConvNet(channels, height, width, k, filters=2, hidden=(3,), dropout=0.5, generator=seeded()).eval()
    x = torch.randn(n, channels, height, width, generator=seeded(1))
    assert net(x).shape == (n, k)
    for i in range(n):
        torch.testing.assert_close(net(x[i : i + 1])[0], net(x)[i])


def test_weights_are_a_function_of_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, other = (ConvNet(1, 12, 12, 2, generator=seeded(3)) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.conv1.weight, ConvNet(1, 12, 12, 2, generator=seeded(4)).conv1.weight)


@pytest.mark.parametrize(("activation", "variance"), [("relu", 2 / 400), ("tanh", 2 / (400 + 800))])
def test_starting_variance_suits_the_unit(activation: str, variance: float) -> None:
    """He: 2 / fan in; Glorot: 2 / (fan in + fan out), the fans of 5 x 5 kernels of 16 maps to 32."""
    net = ConvNet(1, 28, 28, 10, activation=activation, generator=seeded())
    assert float(net.conv2.weight.detach().var()) == pytest.approx(variance, rel=0.05)
    assert all(not p.any() for name, p in net.named_parameters() if name.endswith("bias"))


def test_layers_can_be_taught_one_by_one() -> None:
    layers, output = hidden_layers(ConvNet(1, 28, 28, 10), "test")
    assert [layer.name for layer in layers] == ["conv1", "conv2", "linear3"] and output == "output"
    assert list(layers[1].modules) == ["conv2", "relu2", "pool2", "flatten"]


def test_slices_and_copies() -> None:
    net = ConvNet(1, 8, 8, 2, generator=seeded())
    assert type(net[:3]) is nn.Sequential and net[:3].conv1 is net.conv1
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(copy.deepcopy(net)(x), net(x))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 1}, "no 2 x 2 places"),
        ({"activation": "maxout"}, "maxout"),
        ({"filters": 0}, "filters"),
        ({"hidden": (0,)}, "hidden"),
        ({"dropout": 1.0}, "dropout"),
        ({"n_outputs": 0}, "n_outputs"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, object], words: str) -> None:
    sizes: dict[str, object] = {"channels": 1, "height": 8, "width": 8, "n_outputs": 2}
    with pytest.raises(ConfigError, match=words):
        ConvNet(**{**sizes, **changes})  # type: ignore[arg-type]
