"""How the hidden layers of a perceptron are normalised, narrowed, shared and joined, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn import MLP, Highway, LowRankLinear, Residual, SkipConnections


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.randn(7, 5, generator=seeded(1), dtype=torch.float64)


def made(**arguments: object) -> MLP:
    """A network whose every number is its own, so that no two places can be exchanged."""
    net = MLP(5, 2, (4, 4, 4), "tanh", generator=seeded(), **arguments).double().eval()
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            p.add_(0.3 * torch.randn(p.shape, generator=seeded(10 + k), dtype=p.dtype))
    return net


def sums(layer: nn.Module, h: np.ndarray) -> np.ndarray:
    return h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def out(net: MLP, h: np.ndarray) -> np.ndarray:
    return sums(net.output, h)


def close(net: MLP, expected: np.ndarray) -> None:
    np.testing.assert_allclose(net(X).detach().numpy(), expected, rtol=1e-10, atol=1e-10)


def test_C28_layer_normalisation_stands_between_the_affine_map_and_the_unit() -> None:
    net, h = made(normalisation="layer"), X.numpy()
    for k in (1, 2, 3):
        z = sums(getattr(net, f"linear{k}"), h)
        norm = getattr(net, f"norm{k}")
        z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + norm.eps)
        h = np.tanh(z * norm.weight.detach().numpy() + norm.bias.detach().numpy())
    close(net, out(net, h))
    assert [type(layer).__name__ for layer in net][:3] == ["Linear", "LayerNorm", "Tanh"]


@pytest.mark.parametrize(("normalisation", "less"), [("batch", 0), ("batch-unbiased", 1)])
def test_C27_batch_normalisation_is_of_the_batch_while_training(normalisation: str, less: int) -> None:
    net, h = made(normalisation=normalisation).train(), X.numpy()
    for k in (1, 2, 3):
        z = sums(getattr(net, f"linear{k}"), h)
        norm = getattr(net, f"norm{k}")
        z = (z - z.mean(0)) / np.sqrt(z.var(0, ddof=less) + norm.eps)
        h = np.tanh(z * norm.weight.detach().numpy() + norm.bias.detach().numpy())
    close(net, out(net, h))


def test_C29_weight_normalisation_learns_a_length_and_a_direction_of_each_hidden_unit() -> None:
    net, h = made(normalisation="weight"), X.numpy()
    for k in (1, 2, 3):
        layer = getattr(net, f"linear{k}")
        g, v = (p.detach().numpy() for p in layer.parametrizations.weight.parameters())
        h = np.tanh(h @ (g * v / np.linalg.norm(v, axis=1, keepdims=True)).T + layer.bias.detach().numpy())
    close(net, out(net, h))
    assert type(net.output) is nn.Linear
    plain, same = MLP(5, 2, (4,), generator=seeded()), MLP(5, 2, (4,), normalisation="weight", generator=seeded())
    torch.testing.assert_close(plain(X.float()), same(X.float()))  # it starts as the network without it


def test_C23_residual_connections_add_what_a_layer_gives_to_what_it_takes() -> None:
    net, h = made(connections="residual"), X.numpy()
    assert [type(layer) for layer in net] == [nn.Linear, nn.Tanh, Residual, Residual, nn.Linear]
    h = np.tanh(sums(net.linear1, h))
    for k in (2, 3):
        h = h + np.tanh(sums(net.get_submodule(f"residual{k}.branch.linear{k}"), h))
    close(net, out(net, h))


def test_C25_highway_connections_choose_between_the_two_and_start_by_carrying() -> None:
    net, h = made(connections="highway"), X.numpy()
    h = np.tanh(sums(net.linear1, h))
    for k in (2, 3):
        layer = net.get_submodule(f"highway{k}")
        gate = 1 / (1 + np.exp(-sums(layer.gate.feed, h)))
        h = gate * np.tanh(sums(layer.transform.get_submodule(f"linear{k}"), h)) + (1 - gate) * h
    close(net, out(net, h))
    fresh = MLP(5, 2, (4, 4), connections="highway", generator=seeded())
    assert isinstance(fresh.highway2, Highway) and (fresh.highway2.gate.feed.bias == -2).all()


def test_C26_skip_connections_lead_the_inputs_into_every_later_layer() -> None:
    net = made(connections="skip")
    assert isinstance(net.skips, SkipConnections)
    h = np.tanh(sums(net.get_submodule("skips.chain.0.linear1"), X.numpy()))
    for k in (2, 3):
        h = np.tanh(sums(net.get_submodule(f"skips.chain.{k - 1}.linear{k}"), np.hstack([h, X.numpy()])))
    close(net, out(net, np.hstack([h, X.numpy()])))


def test_C20_a_low_rank_layer_goes_through_a_linear_bottleneck() -> None:
    net, h = made(low_rank=2), X.numpy()
    for k in (1, 2, 3):
        layer = getattr(net, f"linear{k}")
        assert isinstance(layer, LowRankLinear)
        u, v, b = (p.detach().numpy() for p in (layer.u, layer.v, layer.bias))
        assert v.shape == (2, h.shape[1])
        h = np.tanh((h @ v.T) @ u.T + b)
    close(net, out(net, h))
    # A product of rank 3 can be any matrix where a layer has three inputs: that one stays whole.
    narrow = MLP(3, 2, (8, 8), low_rank=3)
    assert [type(layer).__name__ for layer in narrow] == ["Linear", "ReLU", "LowRankLinear", "ReLU", "Linear"]


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("joined", ["residual", "highway", "skip"])
def test_what_is_joined_is_the_whole_layer_with_its_normalisation_and_dropout(norm: str, joined: str) -> None:
    net = MLP(5, 2, (4, 4), "maxout", 0.5, normalisation=norm, connections=joined, generator=seeded())
    inner = {"residual": "residual2.branch", "highway": "highway2.transform", "skip": "skips.chain.1"}[joined]
    names = ["linear2", *(["norm2"] if norm != "none" else []), "maxout2", "dropout2"]
    assert [name for name, _ in net.get_submodule(inner).named_children()] == names


@pytest.mark.parametrize(
    "arguments",
    [
        {"normalisation": "weight"},
        {"low_rank": 2},
        {"connections": "residual"},
        {"connections": "highway"},
        {"connections": "skip", "normalisation": "layer"},
    ],
    ids=str,
)
def test_shared_layers_of_every_kind_have_one_weight(arguments: dict) -> None:
    def places(net: MLP, k: int) -> dict[str, nn.Parameter]:
        module = next(m for name, m in net.named_modules() if name.rpartition(".")[2] == f"linear{k}")
        return dict(module.named_parameters())

    net = made(shared=[(2, 3)], **arguments)
    second, third = places(net, 2), places(net, 3)
    assert len(second) >= 2 and all(third[name] is p for name, p in second.items())
    net(X).square().sum().backward()
    apart = made(**arguments)
    state = {name: p.clone() for name, p in net.state_dict().items()}
    apart.load_state_dict(state)
    torch.testing.assert_close(apart(X), net(X))
    apart(X).square().sum().backward()
    for name, p in second.items():
        torch.testing.assert_close(p.grad, places(apart, 2)[name].grad + places(apart, 3)[name].grad)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"normalisation": "bach"}, 'did you mean "batch"'),
        ({"connections": "resudual"}, 'did you mean "residual"'),
        ({"connections": "residual", "hidden": (4, 5)}, "as many units, got 4, 5"),
        ({"connections": "highway", "hidden": (4,)}, "as many units, got 4"),
        ({"connections": "residual", "hidden": ()}, "no hidden layer"),
        ({"connections": "skip", "hidden": ()}, "no hidden layer to skip"),
        ({"low_rank": 0}, "at least 1"),
        ({"low_rank": 5}, "narrows no hidden layer: the smaller side of a weight is at most 4"),
        ({"low_rank": 1, "hidden": ()}, "narrows no hidden layer"),
        ({"low_rank": 2, "normalisation": "weight"}, "two factors"),
        ({"low_rank": 2, "activation": "maxout"}, "affine maps of their own"),
        ({"low_rank": 4, "hidden": (8, 4), "shared": [(1, 2)]}, "cannot share"),
    ],
    ids=str,
)
def test_layers_that_cannot_be_are_refused_with_a_mend(arguments: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        MLP(**{"inputs": 5, "n_outputs": 2, "hidden": (4, 4), **arguments})
    assert caught.value.mend


def test_the_mend_for_joined_layers_can_be_followed() -> None:
    for hidden in ((), (7,), (4, 5, 6)):
        with pytest.raises(ConfigError) as caught:
            MLP(5, 2, hidden, connections="residual")
        widths = tuple(int(text) for text in caught.value.mend.partition("=")[2].split(","))
        assert MLP(5, 2, widths, connections="residual")(X.float()).shape == (7, 2)
