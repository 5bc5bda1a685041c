"""Weights scaled to a batch: one more pass finds unit deviation at every layer."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence

from lamina.errors import ConfigError
from lamina.initialisers import initialise
from lamina.nn import RBF, HighwayRecurrent, LowRankLinear
from lamina.nn.data_driven_scale import data_driven_scale
from lamina.nn.linear import linear
from lamina.nn.residual import Residual


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outputs(module: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """Return what each affine layer gives in one pass."""
    seen: dict[str, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda _, __, y, name=name: seen.setdefault(name, y.detach()))
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Bilinear | nn.modules.conv._ConvNd)
    ]
    module(*inputs)
    for handle in handles:
        handle.remove()
    return seen


NETWORKS = {
    "deep": (
        lambda: nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(30, 30), nn.Tanh())], nn.Linear(30, 3)),
        (400, 30),
    ),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, groups=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(4 * 64, 5),
        ),
        (64, 3, 16, 16),
    ),
    "residual": (
        lambda: nn.Sequential(
            nn.Linear(10, 10), Residual(nn.Sequential(nn.ReLU(), nn.Linear(10, 10))),
            Residual(nn.Sequential(nn.ReLU(), nn.Linear(10, 10))),
        ),
        (300, 10),
    ),
    "weight-normalised": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 20)), nn.ReLU(), nn.Linear(20, 4)),
        (300, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize("scheme", ["small", "sparse"])
@pytest.mark.parametrize("centre", [False, True])
def test_I09_unit_deviation_at_every_layer_after_one_pass(kind: str, scheme: str, centre: bool) -> None:
    make, shape = NETWORKS[kind]
    net = make().double()
    initialise(net, scheme, seeded(1), bias=0.3)
    x = 5 + 7 * torch.randn(shape, generator=seeded(2), dtype=torch.float64)
    first = outputs(net, x)
    found = data_driven_scale(net, x, std=1.5, centre=centre)
    after = outputs(net, x)
    assert list(found) == list(after) == list(first)
    for name, y in after.items():
        assert y.std(correction=0).item() == pytest.approx(1.5, rel=1e-9), name
        if centre:
            units = 1 if y.ndim > 2 else -1
            assert y.movedim(units, 0).flatten(1).mean(1).abs().max().item() < 1e-9, name
    start = next(iter(found))
    if not centre:
        assert found[start] == pytest.approx(first[start].std(correction=0).item(), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(widths=st.lists(st.integers(1, 20), min_size=1, max_size=5), size=st.floats(1e-4, 1e4), seed=st.integers(0, 99))
def test_I09_any_widths_and_sizes(widths: list[int], size: float, seed: int) -> None:
    sizes = [4, *widths]
    net = nn.Sequential(*[m for a, b in zip(sizes, widths, strict=False) for m in (nn.Linear(a, b), nn.Tanh())])
    initialise(net, "he", seeded(seed))
    x = size * torch.randn(100, 4, generator=seeded(seed + 1))
    data_driven_scale(net, x)
    for y in outputs(net, x).values():
        assert y.std(correction=0).item() == pytest.approx(1.0, rel=1e-3)


def input_parts(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return W_ih x_t + b_ih of every layer and direction, by stepping through the recurrence by hand."""
    p = {name: value.detach() for name, value in net.named_parameters()}
    parts = {}
    for k in range(net.num_layers):  # type: ignore[arg-type]
        ways = []
        for way in ("", "_reverse")[: 1 + net.bidirectional]:  # type: ignore[operator]
            a = x @ p[f"weight_ih_l{k}{way}"].T + p[f"bias_ih_l{k}{way}"]
            parts[f"weight_ih_l{k}{way}"] = a
            cells = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "RNN": nn.RNNCell}
            cell = cells[type(net).__name__](x.shape[2], net.hidden_size).double()  # type: ignore[arg-type]
            for word in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(cell, word).data = p[f"{word}_l{k}{way}"]
            state, steps = None, []
            for t in range(x.shape[1])[:: -1 if way else 1]:
                state = cell(x[:, t], state)
                steps.append(state[0] if isinstance(state, tuple) else state)
            ways.append(torch.stack(steps[:: -1 if way else 1], 1).detach())
        x = torch.cat(ways, 2)
    return parts


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_I09_recurrent_stack_by_what_the_input_sends(kind: type[nn.RNNBase], bidirectional: bool) -> None:
    net = kind(5, 7, 3, batch_first=True, bidirectional=bidirectional, dropout=0.2).double()
    initialise(net, "small", seeded(1), bias=0.1)
    hidden = net.weight_hh_l1.detach().clone()  # type: ignore[operator]
    x = 3 * torch.randn(40, 9, 5, generator=seeded(2), dtype=torch.float64)
    before = input_parts(net, x)["weight_ih_l0"].std(correction=0).item()
    found = data_driven_scale(net, x)
    parts = input_parts(net, x)
    assert list(found) == list(parts) and len(parts) == 3 * (1 + bidirectional)
    assert found["weight_ih_l0"] == pytest.approx(before)
    for name, y in parts.items():
        assert y.std(correction=0).item() == pytest.approx(1.0, rel=1e-9), name
    assert torch.equal(net.weight_hh_l1, hidden)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_I09_recurrent_inputs_packed_named_and_with_a_state() -> None:
    x = 3 * torch.randn(40, 9, 5, generator=seeded(2))
    results = []
    for call in ("plain", "state", "packed"):
        net = nn.LSTM(5, 7, 2, batch_first=True, proj_size=3)
        initialise(net, "small", seeded(1))
        if call == "plain":
            data_driven_scale(net, x)
        elif call == "state":
            data_driven_scale(net, x, (torch.zeros(2, 40, 3), torch.zeros(2, 40, 7)))
        else:
            data_driven_scale(net, pack_padded_sequence(x, torch.full((40,), 9), batch_first=True))
        results.append(net.weight_ih_l1.detach())  # type: ignore[arg-type]
    assert all(torch.allclose(results[0], other, rtol=1e-4) for other in results)


def test_I09_cell_is_scaled_at_its_first_step() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.output = nn.LSTMCell(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            state = None
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return self.output(state[0])  # type: ignore[index]

    net = Reader().double()
    x = torch.randn(200, 5, 4, generator=seeded(), dtype=torch.float64)
    found = data_driven_scale(net, x)
    assert list(found) == ["cell", "output"]
    part = nn.functional.linear(x[:, 0], net.cell.weight_ih, net.cell.bias_ih)
    assert part.std(correction=0).item() == pytest.approx(1.0)
    assert net(x).std(correction=0).item() == pytest.approx(1.0)


@pytest.mark.parametrize("centre", [False, True])
def test_I09_low_rank_layers_by_both_their_maps(centre: bool) -> None:
    net = nn.Sequential(LowRankLinear(9, 8, 3), nn.Tanh(), LowRankLinear(8, 7, 2, bias=False)).double()
    initialise(net, "small", seeded(1), bias=0.3)
    x = 5 + 7 * torch.randn(300, 9, generator=seeded(2), dtype=torch.float64)
    found = data_driven_scale(net, x, std=1.5, centre=centre)
    assert list(found) == ["0.v", "0.u", "2.v", "2.u"]
    first, _, second = net
    hidden = x @ first.v.T @ first.u.T + first.bias  # type: ignore[union-attr, operator]
    parts = [x @ first.v.T, hidden, hidden.tanh() @ second.v.T]  # type: ignore[union-attr, operator]
    parts.append(parts[-1] @ second.u.T)  # type: ignore[union-attr, operator]
    for y in parts:
        assert y.std(correction=0).item() == pytest.approx(1.5, rel=1e-9)
    if centre:
        assert hidden.mean(0).abs().max().item() < 1e-9
    assert torch.allclose(net(x), parts[-1])


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_I09_highway_recurrent_by_what_the_input_sends_and_its_gate_stays_closed(centre: bool, named: bool) -> None:
    layer = HighwayRecurrent(6, gate_bias=-3.0).double()
    initialise(layer, "small", seeded(1), bias=0.2)
    hidden = layer.weight_recurrent.detach().clone()
    x = 3 + 4 * torch.randn(50, 7, 6, generator=seeded(2), dtype=torch.float64)
    given: nn.Module = nn.Sequential(layer)
    if named:

        class Named(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = layer

            def forward(self, values: Tensor) -> Tensor:
                return self.inner(x=values)[0]  # type: ignore[no-any-return]

        given = Named()
    found = data_driven_scale(given, x, std=1.5, centre=centre)
    assert list(found) == ["inner.weight_input" if named else "0.weight_input"]
    fed = x @ layer.weight_input.T + layer.bias
    fed[..., :6] += 3.0
    assert fed.std(correction=0).item() == pytest.approx(1.5, rel=1e-9)
    if centre:
        assert fed.mean((0, 1)).abs().max().item() < 1e-9
    else:
        assert (layer.bias[:6] == -3.0).all()
    assert torch.equal(layer.weight_recurrent, hidden)


def test_I09_centres_are_left_alone() -> None:
    layer = RBF(4, 3)
    before = layer.weight.detach().clone()
    assert data_driven_scale(layer, torch.randn(50, 4, generator=seeded())) == {}
    assert torch.equal(layer.weight, before)


def test_I09_batch_norm_and_dropout_are_as_before_and_the_pass_is_without_noise() -> None:
    net = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 3)).double()
    net[4].eval()
    buffers = copy.deepcopy(dict(net.named_buffers()))
    modes = [m.training for m in net.modules()]
    x = torch.randn(100, 4, generator=seeded(), dtype=torch.float64)
    data_driven_scale(net, x)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(b, buffers[name]) for name, b in net.named_buffers())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    net[3].eval()
    assert outputs(net, x)["4"].std(correction=0).item() == pytest.approx(1.0)


def test_I09_a_zero_branch_stays_and_a_shared_layer_is_scaled_once() -> None:
    shared = nn.Linear(6, 6).double()
    twin = nn.Linear(6, 6).double()
    twin.weight, twin.bias = shared.weight, shared.bias
    net = nn.Sequential(shared, nn.Tanh(), Residual(linear(6, 6, "zero")).double(), shared, twin)
    x = torch.randn(100, 6, generator=seeded(), dtype=torch.float64)
    found = data_driven_scale(net, x)
    assert found.keys() == {"0", "2.branch"} and found["2.branch"] == 0.0
    assert not net[2].branch.weight.any()  # type: ignore[union-attr, operator]
    assert outputs(net, x)["0"].std(correction=0).item() == pytest.approx(1.0)


def test_I09_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="std"):
        data_driven_scale(nn.Linear(2, 2), torch.zeros(3, 2), std=0.0)
    with pytest.raises(ConfigError, match='layer "0"'):
        data_driven_scale(nn.Sequential(nn.Linear(2, 2)), torch.full((3, 2), math.inf))
