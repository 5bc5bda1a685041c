"""Multilayer perceptrons against NumPy and scikit-learn, and the rules for their starting weights."""

import copy
import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPClassifier
from torch import nn

from lamina.errors import ConfigError
from lamina.nn import ACTIVATIONS, MLP, POOLING_UNITS, ColumnEmbedding, Residual, ResidualMLP, linear


@dataclass(frozen=True)
class Shape:
    n_numeric: int
    cardinalities: tuple[int, ...] = ()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


NUMPY_UNITS = {
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "identity": lambda a: a,
    "absolute": np.abs,
}


@pytest.mark.parametrize("activation", list(NUMPY_UNITS))
@pytest.mark.parametrize("mutant", [False, True])
def test_C02_forward_is_numpys(activation: str, mutant: bool) -> None:
    net = MLP(5, 2, hidden=(4, 3), activation=activation, generator=seeded()).double()
    x = torch.randn(6, 5, generator=seeded(1), dtype=torch.float64)
    w = [p.detach().numpy() for p in net.parameters()]
    h = x.numpy()
    for k in (0, 2):
        h = NUMPY_UNITS[activation](h @ w[k].T + w[k + 1])
    expected = h @ w[4].T + w[5]
    if mutant:
        net.linear1.bias.data += 0.01
    assert np.allclose(net(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12) is (not mutant)


def test_C02_scikit_learn_with_copied_weights() -> None:
    g = np.random.default_rng(0)
    x, y = g.normal(size=(40, 4)), g.integers(0, 3, 40)
    theirs = MLPClassifier((8, 5), "relu", max_iter=3, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # it says that three iterations are few
        theirs.fit(x, y)
    ours = MLP(4, 3, hidden=(8, 5)).double()
    with torch.no_grad():
        for layer, w, b in zip(
            (ours.linear1, ours.linear2, ours.output), theirs.coefs_, theirs.intercepts_, strict=True
        ):
            layer.weight.copy_(torch.from_numpy(w.T.copy()))
            layer.bias.copy_(torch.from_numpy(b))
    np.testing.assert_allclose(
        ours(torch.from_numpy(x)).softmax(1).detach(), theirs.predict_proba(x), rtol=1e-6, atol=1e-9
    )


def test_the_chain_is_flat_and_of_torchs_own_modules() -> None:
    net = MLP(
        Shape(2, (3,)), 1, hidden=(4, 4), activation="tanh", dropout=0.5, input_dropout=0.1, normalisation="batch"
    )
    assert [layer.p for layer in net if isinstance(layer, nn.Dropout)] == [0.1, 0.5, 0.5]
    names = ["columns", "dropout0", *(f"{layer}{k}" for k in (1, 2) for layer in ("linear", "norm", "tanh", "dropout"))]
    assert [name for name, _ in net.named_children()] == [*names, "output"]
    kinds = [ColumnEmbedding, nn.Dropout, *[nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Dropout] * 2, nn.Linear]
    assert [type(layer) for layer in net] == kinds
    plain = MLP(3, 1, hidden=(4,))
    assert [type(layer) for layer in plain] == [nn.Linear, nn.ReLU, nn.Linear]
    assert type(plain[:2]) is nn.Sequential and plain[0] is plain.linear1


@given(
    n=st.integers(0, 5),
    numeric=st.integers(0, 3),
    cards=st.lists(st.integers(1, 6), max_size=3),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    outputs=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_M2_shapes(n: int, numeric: int, cards: list[int], hidden: list[int], outputs: int) -> None:
    if numeric + len(cards) == 0:
        return
    net = MLP(Shape(numeric, tuple(cards)), outputs, hidden=hidden, generator=seeded())
    assert net(torch.zeros(n, numeric + len(cards))).shape == (n, outputs)


@pytest.mark.parametrize("kind", [MLP, ResidualMLP])
def test_weights_are_a_function_of_the_generator_alone(kind: type[nn.Module]) -> None:
    state = torch.get_rng_state()
    a, b, c = (kind(Shape(3, (4, 5)), 2, generator=seeded(s)) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert not torch.equal(a.output.weight, c.output.weight)


@pytest.mark.parametrize(
    ("start", "variance"), [("he", 2 / 300), ("glorot", 2 / 500), ("zero", 0.0)], ids=["he", "glorot", "zero"]
)
def test_starting_weights_have_their_rules_variance(start: str, variance: float) -> None:
    w = linear(300, 200, start, seeded()).weight.detach()  # type: ignore[arg-type]
    assert abs(w.var().item() - variance) <= 5 * variance * math.sqrt(2 / w.numel())
    assert abs(w.mean().item()) <= 5 * math.sqrt(variance / w.numel()) + 1e-12
    if start == "glorot":
        assert w.abs().max() <= math.sqrt(6 / 500)


@pytest.mark.parametrize(("activation", "variance"), [("relu", 2 / 300), ("tanh", 2 / 500)])
def test_hidden_weights_start_by_the_rule_of_their_unit(activation: str, variance: float) -> None:
    w = MLP(300, 1, hidden=(200,), activation=activation, generator=seeded()).linear1.weight.detach()
    assert abs(w.var().item() - variance) <= 5 * variance * math.sqrt(2 / w.numel())


@pytest.mark.parametrize("name", POOLING_UNITS)
def test_a_pooling_unit_is_its_layer_taken_apart(name: str) -> None:
    net = MLP(5, 2, (4, 3), name, pieces=3, normalisation="none", generator=seeded())
    generator = seeded()
    first, second = (POOLING_UNITS[name](*sizes, 3, generator=generator) for sizes in ((5, 4), (4, 3)))
    assert [tuple(p.shape) for p in net.parameters()] == [(12, 5), (12,), (9, 4), (9,), (2, 3), (2,)]
    x = torch.randn(7, 5, generator=seeded(1))
    assert torch.equal(net(x), net.output(second(first(x))))
    assert MLP(5, 2, (4,), name, normalisation="batch").norm1.num_features == 8
    with pytest.raises(ConfigError, match="pieces"):
        MLP(5, 2, (4,), name, pieces=0)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *POOLING_UNITS])
def test_gradient_reaches_every_weight(activation: str) -> None:
    net = MLP(Shape(3, (4,)), 2, hidden=(16, 16), activation=activation, generator=seeded()).double()
    x = torch.cat([torch.randn(50, 3, generator=seeded(1)), torch.arange(50)[:, None] % 4], dim=1).double()
    net(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_M5_meta_device_deepcopy_and_state() -> None:
    with torch.device("meta"):
        ghost = MLP(Shape(2, (3,)), 1)
    assert all(p.device.type == "meta" for p in ghost.parameters())
    real = MLP(Shape(2, (3,)), 1, generator=seeded())
    x = torch.tensor([[0.1, 0.2, 1.0]])
    fresh = ghost
    fresh.load_state_dict(real.state_dict(), assign=True)
    assert torch.equal(fresh(x), real(x)) and torch.equal(copy.deepcopy(real)(x), real(x))
    assert torch.equal(torch.func.functional_call(fresh, real.state_dict(), (x,)), real(x))


def test_R12_dropout_is_off_in_evaluation_and_masks_in_training() -> None:
    net = MLP(4, 1, hidden=(2000,), dropout=0.3, generator=seeded())
    h = net[:3](torch.ones(1, 4))
    kept = net[:2](torch.ones(1, 4)) > 0
    dropped = ((h == 0) & kept).sum().item() / kept.sum().item()
    assert abs(dropped - 0.3) < 5 * math.sqrt(0.3 * 0.7 / kept.sum().item())
    net.eval()
    assert torch.equal(net(torch.ones(1, 4)), net(torch.ones(1, 4)))


def test_C23_residual_is_the_identity_where_the_branch_is_zero() -> None:
    x = torch.randn(3, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    zero = Residual(linear(4, 4, "zero").double())
    assert torch.equal(zero(x), x)
    branch = nn.Linear(4, 4).double()
    jacobian = torch.autograd.functional.jacobian(Residual(branch), x[:1]).reshape(4, 4)
    torch.testing.assert_close(jacobian, torch.eye(4).double() + branch.weight.detach())
    with pytest.raises(ConfigError, match=r"branch gives \(3, 1\) where the shortcut gives \(3, 4\)"):
        Residual(nn.Linear(4, 1).double())(x)  # would broadcast


def test_residual_mlp_starts_as_its_first_layer() -> None:
    net = ResidualMLP(5, 2, width=8, blocks=2, generator=seeded()).eval()
    x = torch.randn(3, 5, generator=seeded(1))
    assert torch.equal(net[:3](x), net.linear0(x))
    assert net(x).shape == (3, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"inputs": 0},
        {"inputs": Shape(0)},
        {"n_outputs": 0},
        {"hidden": (4, 0)},
        {"dropout": 1.0},
        {"input_dropout": -0.1},
        {"activation": "rleu"},
        {"inputs": Shape(1, (3,)), "embedding_widths": (2, 2)},
        {"inputs": Shape(1, (0,))},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(arguments: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        MLP(**{"inputs": 3, "n_outputs": 1, **arguments})
    assert caught.value.mend and ": " in str(caught.value)


def test_shared_hidden_layers_have_one_weight_and_the_sum_of_its_gradients() -> None:
    net = MLP(6, 2, (4, 4, 4), "tanh", shared=[(2, 3)], normalisation="batch", generator=seeded()).double()
    assert len(list(net.parameters())) == len(list(MLP(6, 2, (4, 4, 4), normalisation="batch").parameters())) - 2
    assert net.linear3.weight is net.linear2.weight and net.linear3.bias is net.linear2.bias
    x = torch.randn(5, 6, generator=seeded(1), dtype=torch.float64)
    net(x).square().sum().backward()
    apart = MLP(6, 2, (4, 4, 4), "tanh", normalisation="batch").double()
    apart.load_state_dict(net.state_dict())
    apart(x).square().sum().backward()
    for name in ("weight", "bias"):
        places = [getattr(layer, name).grad for layer in (apart.linear2, apart.linear3)]
        torch.testing.assert_close(getattr(net.linear2, name).grad, places[0] + places[1])
    assert list(dict(net[:5].named_children())) == ["linear1", "norm1", "tanh1", "linear2", "norm2"]
    again = MLP(6, 2, (4, 4, 4), "tanh", shared=[(2, 3)], normalisation="batch").double()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(x), net.eval()(x)) and again.linear3.weight is again.linear2.weight


@pytest.mark.parametrize(
    ("shared", "text"),
    [([(1, 2)], "cannot share"), ([(2,)], "at least two"), ([(2, 4)], "at least two"), ([(2, 3), (3, 2)], "each once")],
)
def test_layers_that_cannot_share_are_refused(shared: list[tuple[int, ...]], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        MLP(6, 2, (4, 4, 4), shared=shared)
