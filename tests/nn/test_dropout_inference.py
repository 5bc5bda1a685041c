"""Averages over sub-networks against enumeration in NumPy, and when weight scaling is one of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.dropout_inference import geometric_mean_dropout, monte_carlo_dropout
from lamina.nn.mask_dropout import MaskDropout


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(model: nn.Module) -> nn.Module:
    for k, p in enumerate(model.parameters()):
        p.data.normal_(generator=seeded(50 + k))
    return model


def regression(drop: nn.Module) -> nn.Sequential:
    """Softmax regression with dropout on its inputs."""
    return filled(nn.Sequential(drop, nn.Linear(6, 3)).double())


def last_hidden(drop: nn.Module) -> nn.Sequential:
    """A network of two hidden layers with dropout on the last of them."""
    layers = (nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5), nn.Tanh(), drop, nn.Linear(5, 3))
    return filled(nn.Sequential(*layers).double())


def before_relu(drop: nn.Module) -> nn.Sequential:
    """Dropout on the inputs of a network with a hidden ReLU."""
    return filled(nn.Sequential(drop, nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).double())


X = torch.randn(7, 6, generator=seeded(), dtype=torch.float64)


def enumerated(model: nn.Sequential, keep: float, inverted: bool) -> tuple[np.ndarray, np.ndarray]:
    """The arithmetic and the normalised geometric mean over all masks, one mask after another, in NumPy."""
    at = next(i for i, layer in enumerate(model) if isinstance(layer, (nn.Dropout, MaskDropout)))
    below, above = model[:at], model[at + 1 :]
    h = below(X).detach().numpy()
    arithmetic, logs = 0.0, 0.0
    for mask in itertools.product((0, 1), repeat=h.shape[1]):
        chance = math.prod(keep if bit else 1 - keep for bit in mask)
        a = above(torch.from_numpy(h * np.array(mask) / (keep if inverted else 1))).detach().numpy()
        p = np.exp(a - a.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        arithmetic, logs = arithmetic + chance * p, logs + chance * np.log(p)
    geometric = np.exp(logs)
    return arithmetic, geometric / geometric.sum(1, keepdims=True)


DROPS = [(lambda: nn.Dropout(0.5), 0.5, True), (lambda: nn.Dropout(0.2), 0.8, True)]
DROPS += [(lambda: MaskDropout(keep=0.5), 0.5, False), (lambda: MaskDropout(keep=0.8), 0.8, False)]


@pytest.mark.parametrize(("drop", "keep", "inverted"), DROPS, ids=["half", "fifth", "mask half", "mask fifth"])
@pytest.mark.parametrize("make", [regression, last_hidden, before_relu])
def test_R13_geometric_mean_is_the_enumeration(make: object, drop: object, keep: float, inverted: bool) -> None:
    model = make(drop())  # type: ignore[operator]
    _, expected = enumerated(model, keep, inverted)
    np.testing.assert_allclose(geometric_mean_dropout(model, X), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("drop", "keep", "inverted"), DROPS, ids=["half", "fifth", "mask half", "mask fifth"])
@pytest.mark.parametrize(("make", "exact"), [(regression, True), (last_hidden, True), (before_relu, False)])
def test_W27_weight_scaling_is_the_geometric_mean(
    make: object, exact: bool, drop: object, keep: float, inverted: bool
) -> None:
    """Exact for softmax regression and for masks on the last hidden layer, not for masks before a ReLU."""
    model = make(drop())  # type: ignore[operator]
    _, geometric = enumerated(model, keep, inverted)
    scaled = model.eval()(X).softmax(1).detach().numpy()
    gap = np.abs(scaled - geometric).max()
    assert gap < 1e-14 if exact else gap > 1e-2


@pytest.mark.parametrize("drop", [0.5, 0.2])
@pytest.mark.parametrize("make", [regression, before_relu])
def test_R13_monte_carlo_tends_to_the_arithmetic_mean(make: object, drop: float) -> None:
    model, samples = make(nn.Dropout(drop)), 20_000  # type: ignore[operator]
    arithmetic, geometric = enumerated(model, 1 - drop, True)
    found = monte_carlo_dropout(model, X, samples, generator=seeded(1)).numpy()
    assert np.abs(found - arithmetic).max() < 5 * 0.5 / math.sqrt(samples)
    assert np.abs(geometric - arithmetic).max() > 0.05  # the two means can be told apart
    sampled = geometric_mean_dropout(model, X, samples, generator=seeded(1)).numpy()
    assert np.abs(sampled - geometric).max() < 0.03


def test_R13_other_links_and_each_example_its_own_masks() -> None:
    model = regression(nn.Dropout(0.5))
    mean = monte_carlo_dropout(model, X, 40_000, nn.Identity(), seeded(1))
    torch.testing.assert_close(mean, model.eval()(X).detach(), rtol=0, atol=0.1)  # affine in the masks
    twice = monte_carlo_dropout(model, X[:1].repeat(2, 1), 1, nn.Identity(), seeded(1))
    assert not torch.equal(twice[0], twice[1])
    assert torch.equal(monte_carlo_dropout(model, X, 3, torch.sigmoid, seeded(2)), probabilities(model, 3))


def probabilities(model: nn.Module, samples: int) -> Tensor:
    return monte_carlo_dropout(model, X, samples, torch.sigmoid, seeded(2))


def test_several_layers_are_masked_in_their_order() -> None:
    """Two layers of dropout with different probabilities and sizes, one of them called twice."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Dropout(0.25), MaskDropout(keep=0.6)
            self.a, self.b, self.c = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.second(self.a(self.first(x)).tanh())
            return self.c(self.second(self.b(h).tanh()))

    net = filled(Net().double()).eval()
    x, logs = X[:, :3], 0.0
    for bits in itertools.product((0.0, 1.0), repeat=7):
        m = torch.tensor(bits, dtype=torch.float64)
        keep = [0.75] * 3 + [0.6] * 4
        chance = math.prod(k if bit else 1 - k for k, bit in zip(keep, bits, strict=True))
        h = net.a(x * m[:3] / 0.75).tanh() * m[3:5]
        logs = logs + chance * net.c(net.b(h).tanh() * m[5:]).log_softmax(1)
    torch.testing.assert_close(geometric_mean_dropout(net, x), logs.softmax(1))


def test_channel_dropout_drops_whole_channels() -> None:
    above = nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    model = filled(nn.Sequential(nn.Dropout2d(0.5), nn.Flatten(), above).double())
    x = torch.randn(3, 3, 2, 2, generator=seeded(), dtype=torch.float64)
    logs = 0.0
    for bits in itertools.product((0.0, 2.0), repeat=3):
        m = torch.tensor(bits, dtype=torch.float64)[:, None, None]
        logs = logs + model[2]((x * m).flatten(1)).log_softmax(1) / 8
    torch.testing.assert_close(geometric_mean_dropout(model, x), logs.softmax(1))
    sampled = geometric_mean_dropout(model, x, 20_000, generator=seeded())
    torch.testing.assert_close(sampled, logs.softmax(1), rtol=0, atol=0.02)


def test_the_model_is_left_as_it_is_and_the_rest_is_in_evaluation() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2)).double()
    model[2].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    out = monte_carlo_dropout(model, X, 10, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert not out.requires_grad
    torch.testing.assert_close(out, monte_carlo_dropout(model, X, 10, generator=seeded()))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model] == [True, True, False]
    assert not any(m._forward_hooks for m in model.modules())
    assert monte_carlo_dropout(model, X[:0], 10).shape == (0, 2)
    many = X.repeat(2000, 1)
    assert geometric_mean_dropout(model, many).shape == (14_000, 2)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no dropout at work"):
        monte_carlo_dropout(nn.Sequential(nn.Dropout(0.0), nn.Linear(6, 2)).double(), X)
    with pytest.raises(ConfigError, match=r"30 units under dropout have 2\^30 masks"):
        geometric_mean_dropout(nn.Sequential(nn.Dropout(0.5), nn.Linear(30, 2)), torch.zeros(1, 30))
    with pytest.raises(ConfigError, match="samples"):
        monte_carlo_dropout(nn.Dropout(), X, 0)
    with pytest.raises(ConfigError, match="samples"):
        geometric_mean_dropout(nn.Dropout(), X, 0)
