"""What is shown of pre-trained layers, against sums and products written out in NumPy."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.data.spec import ImageSpec, VectorSpec
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Gaussian
from lamina.likelihoods import Bernoulli as BernoulliLikelihood
from lamina.likelihoods import Gaussian as GaussianLikelihood
from lamina.methodology.layer_views import FILTERS, PICTURES, TaughtLayer, views_of
from lamina.nn import PixelScaling
from lamina.nn.tied_linear import TiedLinear
from lamina.training.hidden_layers import hidden_layers

SPEC = ImageSpec(1, 3, 4)


def network(mean: float = 0.0, std: float = 1.0, activation: type[nn.Module] = nn.Sigmoid) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            pixels=PixelScaling([mean], [std]),
            flatten=nn.Flatten(),
            linear1=nn.Linear(12, 60),
            unit1=activation(),
            linear2=nn.Linear(60, 5),
            unit2=activation(),
            output=nn.Linear(5, 2),
        )
    ).eval()


def bytes_(n: int = 20) -> Tensor:
    return torch.randint(0, 256, (n, 1, 3, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def machines(net: nn.Sequential, first: Bernoulli | Gaussian) -> list[TaughtLayer]:
    taught = []
    for layer, visible in zip(hidden_layers(net, "test")[0], (first, Bernoulli()), strict=True):
        weight = layer.affine.weight
        assert isinstance(weight, Tensor)
        rbm = RBM(weight.shape[1], weight.shape[0], visible, generator=torch.Generator().manual_seed(layer.number))
        rbm.weight.data.copy_(weight)
        rbm.visible_bias.data.normal_(generator=torch.Generator().manual_seed(7))
        taught.append(TaughtLayer(layer, rbm))
    return taught


def seen(taught: list[TaughtLayer], inputs: Tensor, spec: object = SPEC, *, examples: bool = True, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return views_of(taught, inputs, spec, examples=examples, generator=generator)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def plain(tensor: object) -> np.ndarray:
    assert isinstance(tensor, Tensor)
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("first", [Bernoulli(), Gaussian(learn_variance=False)])
def test_machines_show_their_weights_multiplied_and_pictures_passed_up_and_down(first: Bernoulli | Gaussian) -> None:
    mean, std = (0.0, 1.0) if isinstance(first, Bernoulli) else (0.3, 0.25)
    net, x = network(mean, std), bytes_()
    taught = machines(net, first)
    one, two = seen(taught, x)
    w1, w2 = plain(net.linear1.weight), plain(net.linear2.weight)
    np.testing.assert_allclose(one["filters"], w1[:FILTERS].reshape(-1, 1, 3, 4), rtol=1e-6)
    np.testing.assert_allclose(two["filters"], (w2 @ w1).reshape(-1, 1, 3, 4), rtol=1e-4, atol=1e-6)
    v = (x.double().numpy().reshape(20, 12) / 255 - mean) / std
    h1 = sigmoid(v @ w1.T + plain(net.linear1.bias))
    h2 = sigmoid(h1 @ w2.T + plain(net.linear2.bias))
    b1, b2 = (plain(each.model.visible_bias) for each in taught)

    def down(h: np.ndarray) -> np.ndarray:
        field = h @ w1 + b1
        back = sigmoid(field) if isinstance(first, Bernoulli) else field
        return (std * back + mean).reshape(-1, 1, 3, 4)[:PICTURES]

    np.testing.assert_allclose(one["reconstructions"], down(h1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(two["reconstructions"], down(sigmoid(h2 @ w2 + b2)), rtol=1e-4, atol=1e-5)
    for arrays in (one, two):
        np.testing.assert_allclose(arrays["originals"], x[:PICTURES].numpy() / 255, rtol=1e-6)
        assert arrays["samples"].shape == (PICTURES, 1, 3, 4)
    assert len(one["filters"]) == FILTERS == 48
    for arrays, h, w in ((one, h1, w1), (two, h2, w2)):
        counts, edges = np.histogram(w, 40)
        assert arrays["weights"].sum() == w.size and np.abs(arrays["weights"] - counts).sum() <= 4
        np.testing.assert_allclose(arrays["weight_edges"], edges, rtol=1e-4, atol=1e-6)
        assert arrays["activities"].sum() == h.size
        np.testing.assert_allclose(arrays["activity_edges"][[0, -1]], [h.min(), h.max()], rtol=1e-4)


def test_samples_have_the_machines_distribution_and_come_from_the_generator() -> None:
    net = network()
    taught = machines(net, Bernoulli())
    for each in taught:  # without couplings a sample's mean is that of the biases, whatever the chain did
        each.layer.affine.weight.data.zero_()
        each.model.weight.data.zero_()
    one, two = seen(taught, bytes_())
    expected = sigmoid(plain(taught[0].model.visible_bias)).reshape(1, 1, 3, 4)
    np.testing.assert_allclose(one["samples"], np.broadcast_to(expected, (PICTURES, 1, 3, 4)), rtol=1e-5)
    np.testing.assert_allclose(two["samples"], one["samples"], rtol=1e-5)
    taught = machines(network(), Bernoulli())
    same, again, other = (seen(taught, bytes_(), seed=seed)[0]["samples"] for seed in (0, 0, 1))
    assert np.array_equal(same, again) and not np.array_equal(same, other)


def test_autoencoders_show_reconstructions_and_no_samples() -> None:
    net, x = network(0.3, 0.25, nn.ReLU), bytes_()
    taught = []
    for layer, likelihood in zip(
        hidden_layers(net, "test")[0], (GaussianLikelihood(12, scale=1.0), BernoulliLikelihood(60)), strict=True
    ):
        assert isinstance(layer.affine, nn.Linear)
        taught.append(TaughtLayer(layer, Autoencoder(layer.encoder, TiedLinear(layer.affine), likelihood)))
    one, two = seen(taught, x)
    assert "samples" not in one and "samples" not in two
    w1, w2 = plain(net.linear1.weight), plain(net.linear2.weight)
    v = (x.double().numpy().reshape(20, 12) / 255 - 0.3) / 0.25
    h1 = np.maximum(v @ w1.T + plain(net.linear1.bias), 0)
    h2 = np.maximum(h1 @ w2.T + plain(net.linear2.bias), 0)
    for arrays, h in ((one, h1), (two, sigmoid(h2 @ w2))):
        expected = (0.25 * (h @ w1) + 0.3).reshape(-1, 1, 3, 4)[:PICTURES]
        np.testing.assert_allclose(arrays["reconstructions"], expected, rtol=1e-4, atol=1e-5)


def test_examples_of_the_data_are_left_out_where_they_may_not_be_shown() -> None:
    for arrays in seen(machines(network(), Bernoulli()), bytes_(), examples=False):
        assert not {"originals", "reconstructions"} & set(arrays)
        assert {"filters", "samples", "weights", "activities"} <= set(arrays)


def test_layers_that_learnt_with_targets_show_filters_and_histograms() -> None:
    taught = [TaughtLayer(layer, None) for layer in hidden_layers(network(), "test")[0]]
    for arrays in seen(taught, bytes_()):
        assert set(arrays) == {"filters", "weights", "weight_edges", "activities", "activity_edges"}


def test_a_table_has_no_pictures() -> None:
    net = nn.Sequential(OrderedDict(linear1=nn.Linear(12, 3), unit1=nn.Tanh(), output=nn.Linear(3, 1)))
    (arrays,) = seen([TaughtLayer(hidden_layers(net, "test")[0][0], None)], torch.randn(9, 12), VectorSpec(12, ()))
    assert set(arrays) == {"weights", "weight_edges", "activities", "activity_edges"}


def test_convolutions_show_their_kernels_where_these_have_the_pictures_channels() -> None:
    net = nn.Sequential(
        OrderedDict(
            pixels=PixelScaling([0.0], [1.0]),
            conv1=nn.Conv2d(1, 6, 2),
            unit1=nn.ReLU(),
            conv2=nn.Conv2d(6, 4, 2),
            unit2=nn.ReLU(),
            flatten=nn.Flatten(),
            output=nn.Linear(8, 2),
        )
    ).eval()
    one, two = seen([TaughtLayer(layer, None) for layer in hidden_layers(net, "test")[0]], bytes_())
    np.testing.assert_array_equal(one["filters"], plain(net.conv1.weight).astype(np.float32))
    assert "filters" not in two


def test_a_constant_is_counted_too() -> None:
    net = network()
    net.linear1.weight.data.zero_()
    net.linear1.bias.data.zero_()
    one, _ = seen([TaughtLayer(layer, None) for layer in hidden_layers(net, "test")[0]], bytes_())
    assert one["weights"].sum() == 720 and one["activities"].max() == 20 * 60
    assert np.isfinite(one["filters"]).all()
