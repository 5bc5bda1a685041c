"""Kronecker factors against explicit Fisher matrices, sums over places written out, and curvlinops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev

from curvature.fisher import exact_fisher, measured, same
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker import Block, KroneckerFactors, KroneckerInverse
from lamina.curvature.kronecker.use import recorded
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian
from lamina.nn import BatchNorm, ColumnEmbedding, LowRankLinear

KINDS = [
    (Categorical(3), 3, torch.tensor([1])),
    (Bernoulli(3), 3, torch.tensor([[1.0, 0.0, 1.0]])),
    (Gaussian(3, scale=0.7), 3, torch.tensor([[0.2, -1.0, 0.5]])),
    (Gaussian(2), 4, torch.tensor([[0.2, -1.0]])),
]


pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("likelihood", "outputs", "target"), KINDS)
def test_one_layer_and_one_example_is_exact(likelihood, outputs, target, bias):
    net = nn.Linear(4, outputs, bias=bias)
    x = torch.randn(1, 4)
    factors = measured(net, likelihood, x, target, weights=torch.tensor([2.5]))
    names = ("weight", "bias") if bias else ("weight",)
    same(factors.dense("weight"), exact_fisher(net, likelihood, x, names, torch.tensor([2.5])))


def test_every_block_of_a_deep_linear_network_is_exact_under_squared_error():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5, bias=False), nn.Linear(5, 2))
    x = torch.randn(7, 4)
    factors = measured(net, Gaussian(2, scale=0.5), x, torch.randn(7, 2))
    assert list(factors.blocks) == ["0.weight", "1.weight", "2.weight"]
    for name, block in factors.blocks.items():
        same(factors.dense(name), exact_fisher(net, Gaussian(2, scale=0.5), x, block.names))


def test_a_deep_network_of_one_example_is_exact_in_every_block_and_survives_changes_in_place():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3))
    x = torch.randn(1, 4)
    # one example with several outputs: A ⊗ G is exact, since a is one vector
    factors = measured(net, Categorical(3), x, torch.tensor([0]))
    for name, block in factors.blocks.items():
        same(factors.dense(name), exact_fisher(net, Categorical(3), x, block.names))


def test_sampled_targets_average_to_the_exact_matrix_and_empirical_ones_are_the_gradients():
    net = nn.Linear(2, 3)
    x = torch.tensor([[1.0, -2.0]]).expand(40_000, 2)
    targets = torch.zeros(40_000, dtype=torch.int64)
    exact = measured(net, Categorical(3), x[:1], targets[:1]).factors["weight"]["outputs"]
    batch = BatchLoss(net, Categorical(3, smoothing=0.1), x, targets)
    sampled = KroneckerFactors(net).update(batch, generator=torch.Generator().manual_seed(3))
    same(sampled.factors["weight"]["outputs"], exact, 0.01)
    g = net(x[:1])[0].softmax(0) - torch.tensor([1.0, 0.0, 0.0])
    empirical = measured(net, Categorical(3), x, targets, fisher="empirical")
    same(empirical.factors["weight"]["outputs"], torch.outer(g, g).detach())
    again = KroneckerFactors(net).update(batch, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again.factors["weight"]["outputs"], sampled.factors["weight"]["outputs"])


CONVOLUTIONS = [
    (nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 9)),
    (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (4, 6, 7)),
    (nn.Conv2d(3, 3, 3, groups=3, padding="same", bias=False), (3, 4, 5)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 4, 4)),
    (nn.Conv3d(2, 2, 2, dilation=2), (2, 4, 3, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS)
def test_the_rows_of_a_convolution_make_its_gradient(layer, shape):
    layer = layer.double()
    net = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.randn(3, *shape)
    net(x)
    factors = KroneckerFactors(net)
    with recorded(factors.plan, "expand") as uses:
        outputs = net(x)
    u = torch.randn_like(outputs)
    use = next(use for use in uses if use.block == "0.weight")
    (delta,) = torch.autograd.grad(outputs, [use.edge], u)
    direct = torch.autograd.grad(net(x), list(layer.parameters()), u)
    a, g = use.inputs(), use.outputs(delta)
    a = torch.cat([a, torch.ones_like(a[..., :1])], dim=-1) if layer.bias is not None else a
    ours = factors.blocks["0.weight"].tensors(g.mT @ a)
    for name, value in zip(("0.weight", "0.bias"), direct, strict=False):
        same(ours[name], value)


def test_the_factors_of_a_convolution_are_sums_over_places():
    """Grosse & Martens 2016, eqs. 22 and 23 with the homogeneous coordinate; each sum by its own loop."""
    layer = nn.Conv2d(2, 3, 2, stride=2, padding=1)
    net = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(27, 2))
    x, scale = torch.randn(2, 2, 5, 5), 0.6
    factors = measured(net, Gaussian(2, scale=scale), x, torch.randn(2, 2)).factors["0.weight"]
    padded, places = nn.functional.pad(x, (1, 1, 1, 1)), list(itertools.product(range(3), range(3)))
    of_inputs = torch.zeros(9, 9)
    for n, (i, j) in itertools.product(range(2), places):
        a = torch.cat([padded[n, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1), torch.ones(1)])
        of_inputs += torch.outer(a, a) / (2 * 9)
    of_outputs = torch.zeros(3, 3)
    for n in range(2):
        z = layer(x[n : n + 1]).detach()
        by_z = jacrev(lambda z: net[3](net[2](net[1](z)))[0])(z).detach().reshape(2, 3, 9)
        for t in range(9):
            of_outputs += by_z[:, :, t].T @ by_z[:, :, t] / scale**2 / 2
    same(factors["inputs"], of_inputs)
    same(factors["outputs"], of_outputs)


class _Pooled(nn.Module):
    """A linear convolution whose places are averaged, where `reduce` is exact; the dense head keeps it so."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean(2))


class _Sequence(nn.Module):
    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.body, self.head, self.pooled = nn.Linear(3, 4), nn.Linear(4, 2), pooled

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(self.body(x))
        return h.mean(1) if self.pooled else h.flatten(1)


@pytest.mark.parametrize("net", [_Pooled, lambda: _Sequence(True)], ids=["conv", "linear"])
def test_reduce_is_exact_where_places_are_averaged_and_expand_is_not(net):
    net = net().double()
    x = torch.randn(5, 2, 6) if isinstance(net, _Pooled) else torch.randn(5, 6, 3)
    targets = torch.randn(5, 2)
    reduced = measured(net, Gaussian(2, scale=1.0), x, targets, sharing="reduce")
    expanded = measured(net, Gaussian(2, scale=1.0), x, targets)
    name = next(iter(reduced.blocks))
    exact = exact_fisher(net, Gaussian(2, scale=1.0), x, reduced.blocks[name].names)
    same(reduced.dense(name), exact)
    assert float((expanded.dense(name) - exact).abs().max()) > 0.05 * float(exact.abs().max())


def test_expand_is_exact_where_every_place_is_an_output_of_its_own():
    net, x = _Sequence(False).double(), torch.randn(5, 6, 3)
    factors = measured(net, Gaussian(12, scale=1.0), x, torch.randn(5, 12))
    for name, block in factors.blocks.items():
        same(factors.dense(name), exact_fisher(net, Gaussian(12, scale=1.0), x, block.names))


def test_an_embedding_with_a_linear_head_is_exact_and_its_inputs_are_diagonal():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.head = nn.Embedding(4, 3, padding_idx=3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.codes(x))

    net, x = Net(), torch.tensor([0, 1, 1, 2, 1])
    factors = measured(net, Gaussian(2, scale=0.5), x, torch.randn(5, 2))
    same(factors.factors["codes.weight"]["inputs"], torch.tensor([0.2, 0.6, 0.2, 0.0]))
    same(factors.dense("codes.weight"), exact_fisher(net, Gaussian(2, scale=0.5), x, ("codes.weight",)))
    padded = measured(net, Gaussian(2, scale=0.5), torch.tensor([0, 3, 3, 2]), torch.randn(4, 2))
    same(padded.factors["codes.weight"]["inputs"], torch.tensor([0.5, 0.0, 0.5, 0.0]))
    same(padded.factors["codes.weight"]["outputs"], factors.factors["codes.weight"]["outputs"] * 0.5)


NORMALISATIONS = [
    (nn.LayerNorm(4), (4,)),
    (nn.LayerNorm((2, 3)), (5, 2, 3)),
    (nn.GroupNorm(2, 4), (4, 3)),
    (nn.BatchNorm2d(3), (3, 2, 2)),
    (BatchNorm(3, unbiased=True), (3, 4)),
    (nn.InstanceNorm1d(3, affine=True), (3, 4)),
    (nn.RMSNorm(4), (4,)),
    (nn.LayerNorm(4, bias=False), (4,)),
]


@pytest.mark.parametrize(("layer", "shape"), NORMALISATIONS)
def test_scales_and_shifts_have_their_exact_block(layer, shape):
    layer = layer.double().eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(math.prod(shape), 2)).eval()
    x = torch.randn(6, *shape)
    factors = measured(net, Bernoulli(2), x, torch.ones(6, 2))
    names = factors.blocks["0.weight"].names
    assert set(names) == {f"0.{name}" for name, _ in layer.named_parameters()}
    same(factors.dense("0.weight"), exact_fisher(net, Bernoulli(2), x, names))


def test_a_wide_normalisation_has_its_exact_diagonal():
    net = nn.Sequential(nn.LayerNorm(300), nn.Linear(300, 2))
    x = torch.randn(3, 300)
    factors = measured(net, Gaussian(2, scale=1.0), x, torch.randn(3, 2))
    exact = exact_fisher(net, Gaussian(2, scale=1.0), x, ("0.weight", "0.bias")).diagonal()
    same(factors.factors["0.weight"]["inputs"], exact)


class _Recurrent(nn.Module):
    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = self.layer(x if self.layer.batch_first else x.transpose(0, 1))[0]
        return self.head((found if self.layer.batch_first else found.transpose(0, 1)).sum(1))


RECURRENT = [
    (nn.RNN(3, 4, nonlinearity="relu", bias=False), 4),
    (nn.RNN(3, 4, num_layers=2, batch_first=True), 4),
    (nn.GRU(3, 4, num_layers=2, bidirectional=True), 8),
    (nn.LSTM(3, 4, batch_first=True, bidirectional=True), 8),
    (nn.LSTM(3, 4, num_layers=2, proj_size=2), 2),
]


@pytest.mark.parametrize(("layer", "width"), RECURRENT)
def test_a_recurrent_layer_is_replayed_and_its_products_make_its_gradients(layer, width):
    net = _Recurrent(layer.double(), width).double()
    x = torch.randn(3, 5, 3)
    factors = KroneckerFactors(net)
    with recorded(factors.plan, "expand") as uses:
        outputs = net(x)
    same(outputs.detach(), net(x).detach(), 1e-12)
    u = torch.randn_like(outputs)
    deltas = torch.autograd.grad(outputs, [use.edge for use in uses], u)
    direct = dict(
        zip(dict(net.named_parameters()), torch.autograd.grad(net(x), list(net.parameters()), u), strict=True)
    )
    ours = {name: torch.zeros_like(block.matrix(direct)) for name, block in factors.blocks.items()}
    for use, delta in zip(uses, deltas, strict=True):
        a = use.inputs()
        a = torch.cat([a, torch.ones_like(a[:, :1])], dim=1) if factors.blocks[use.block].ones else a
        ours[use.block] += use.outputs(delta).T @ a
    for name, block in factors.blocks.items():
        same(ours[name], block.matrix(direct))


class _Cells(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, 0.0
        for x_t in x.unbind(1):
            state = self.cell(x_t, state)
            total = total + (state[0] if isinstance(state, tuple) else state)
        return self.head(total)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_cells_called_in_a_loop_have_the_factors_of_the_layer(kind):
    layer, cell = getattr(nn, kind)(3, 4), getattr(nn, f"{kind}Cell")(3, 4)
    for name, p in cell.named_parameters():
        p.data.copy_(getattr(layer, f"{name}_l0"))
    whole, looped = _Recurrent(layer, 4), _Cells(cell)
    looped.head = whole.head
    x, targets = torch.randn(3, 5, 3), torch.randn(3, 2)
    one = measured(whole, Gaussian(2, scale=1.0), x, targets).factors
    other = measured(looped, Gaussian(2, scale=1.0), x, targets).factors
    for side, name in itertools.product(("inputs", "outputs"), ("weight_ih", "weight_hh")):
        same(one[f"layer.{name}_l0"][side], other[f"cell.{name}"][side])


def test_a_recurrent_layer_of_one_step_and_one_example_is_exact():
    net = _Recurrent(nn.GRU(3, 2), 2)
    x = torch.randn(1, 1, 3)
    factors = measured(net, Gaussian(2, scale=1.0), x, torch.randn(1, 2))
    for name in ("layer.weight_ih_l0", "layer.weight_hh_l0"):
        exact = exact_fisher(net, Gaussian(2, scale=1.0), x, factors.blocks[name].names)
        same(factors.dense(name), exact)


def test_a_weight_of_two_layers_has_one_block_and_biases_that_differ_have_their_own():
    class Tied(nn.Module):
        def __init__(self, bias: bool) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3, bias=bias), nn.Linear(3, 3, bias=bias)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))

    net, x = Tied(True), torch.randn(4, 3)
    factors = measured(net, Gaussian(3, scale=1.0), x, torch.randn(4, 3))
    assert {name: block.names for name, block in factors.blocks.items()} == {
        "one.weight": ("one.weight",),
        "one.bias": ("one.bias",),
        "two.bias": ("two.bias",),
    }
    h = torch.tanh(net.one(x)).detach()
    same(factors.factors["one.weight"]["inputs"], (x.T @ x + h.T @ h) / 8)
    back = torch.stack([net.two.weight.detach() @ (1 - h[n] ** 2).diag() for n in range(4)])
    of_outputs = torch.eye(3) + torch.einsum("nki,nkj->ij", back, back) / 4
    same(factors.factors["one.weight"]["outputs"], of_outputs)
    for name in ("one.bias", "two.bias"):
        same(factors.dense(name), exact_fisher(net, Gaussian(3, scale=1.0), x, (name,)))
    assert len(KroneckerFactors(Tied(False)).blocks) == 1


def test_a_low_rank_layer_is_two_layers():
    net = LowRankLinear(4, 5, 2).double()
    x = torch.randn(1, 4)
    factors = measured(net, Gaussian(5, scale=1.0), x, torch.randn(1, 5))
    assert factors.blocks["u"].names == ("u", "bias")
    for name, block in factors.blocks.items():
        same(factors.dense(name), exact_fisher(net, Gaussian(5, scale=1.0), x, block.names))


class _Shape:
    n_numeric, cardinalities = 1, (3, 2)


def test_embedded_columns_have_their_exact_diagonal():
    net = nn.Sequential(ColumnEmbedding(_Shape()), nn.Tanh(), nn.LazyLinear(2)).double()
    x = torch.tensor([[0.3, 1.0, 1.0], [0.1, 2.0, 0.0], [-0.5, 1.0, 0.0]])
    net(x)
    factors = measured(net, Bernoulli(2), x, torch.ones(3, 2))
    same(factors.factors["0.weight"]["inputs"], exact_fisher(net, Bernoulli(2), x, ("0.weight",)).diagonal())


def test_the_fallback_guesses_a_diagonal_that_is_right_on_average():
    net = nn.Sequential(nn.Linear(3, 2), nn.PReLU(2), nn.Linear(2, 1))
    x = torch.randn(2, 3)
    batch = BatchLoss(net, Gaussian(1, scale=0.5), x, torch.randn(2, 1))
    found = set()
    for seed in range(12):
        factors = KroneckerFactors(net, fisher="exact", fallback="diagonal")
        factors.update(batch, generator=torch.Generator().manual_seed(seed))
        found.add(tuple(round(v, 10) for v in factors.factors["1.weight"]["inputs"].tolist()))
    assert len(found) == 2  # two examples: their signs agree or differ
    mean = torch.tensor(sorted(found)).mean(0)
    same(mean, exact_fisher(net, Gaussian(1, scale=0.5), x, ("1.weight",)).diagonal(), 1e-8)


def test_what_is_not_covered_is_refused_by_name():
    net = nn.Sequential(nn.Linear(3, 2), nn.PReLU())
    with pytest.raises(ConfigError, match=r'the parameter "1\.weight" of the layer "1" belongs to a PReLU'):
        KroneckerFactors(net)
    net[1].weight.requires_grad_(False)
    assert list(KroneckerFactors(net).blocks) == ["0.weight"]
    assert list(KroneckerFactors(net, parameters=[net[0].bias]).blocks) == ["0.bias"]
    with pytest.raises(ConfigError, match="MultiheadAttention"):
        KroneckerFactors(nn.MultiheadAttention(4, 2))
    for options in ({"fisher": "true"}, {"sharing": "sum"}, {"fallback": "zero"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            KroneckerFactors(net, **options)


def test_a_weight_of_layers_of_different_kinds_is_refused():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.head = nn.LayerNorm(3), nn.Linear(3, 3)
            self.head.bias = self.scale.bias

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.scale(x))

    with pytest.raises(ConfigError, match="shared between layers of different kinds"):
        KroneckerFactors(Mixed())
    net, x = Mixed(), torch.randn(2, 3)
    assert measured(net, Categorical(3), x, torch.tensor([0, 1]), fallback="diagonal").blocks


def test_calls_that_cannot_be_seen_are_refused():
    class Sly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unused = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.layer.weight, self.layer.bias)

    net = Sly()
    with pytest.raises(ConfigError, match=r'"layer" of the parameter "layer\.weight" was not called'):
        measured(net, Gaussian(2, scale=1.0), torch.randn(2, 3), torch.randn(2, 2))
    net.forward = lambda x: net.layer(x)  # a layer without part in the outputs has factors of zero
    assert (
        not measured(net, Gaussian(2, scale=1.0), torch.randn(2, 3), torch.randn(2, 2))
        .factors["unused.weight"]["outputs"]
        .any()
    )


def test_sequences_that_cannot_be_replayed_are_refused():
    net = _Recurrent(nn.RNN(3, 4, num_layers=2, dropout=0.5), 4)
    with pytest.raises(ConfigError, match="drops units"):
        measured(net, Gaussian(2, scale=1.0), torch.randn(2, 3, 3), torch.randn(2, 2))
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 3), torch.randn(2, 3)])
    layer = nn.RNN(3, 4)
    with recorded(KroneckerFactors(layer).plan, "expand"), pytest.raises(ConfigError, match="packed"):
        layer(packed)
    sparse = nn.Sequential(nn.Embedding(4, 2, sparse=True), nn.Flatten())
    with pytest.raises(ConfigError, match="sparse"):
        measured(sparse, Gaussian(2, scale=1.0), torch.tensor([[1]]), torch.randn(1, 2))


def test_the_mean_runs_and_hooks_and_running_means_are_left_alone():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    first, second = (BatchLoss(net, Gaussian(2, scale=1.0), part, y[:3]) for part in x.split(3))
    before = net[1].running_mean.clone()
    factors = KroneckerFactors(net, fisher="exact").update(first)
    one = {name: f.clone() for name, f in factors.factors["0.weight"].items()}
    other = KroneckerFactors(net, fisher="exact").update(second).factors["0.weight"]
    factors.update(second, decay=0.75)
    for side, value in factors.factors["0.weight"].items():
        same(value, 0.75 * one[side] + 0.25 * other[side])
    assert torch.equal(net[1].running_mean, before) and net[1].num_batches_tracked == 0
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(RuntimeError), recorded(factors.plan, "expand"):
        raise RuntimeError
    assert not any(module._forward_hooks for module in net.modules())


def test_products_and_inverses_are_those_of_the_dense_matrix():
    net = nn.Sequential(nn.Conv2d(2, 4, 2, groups=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    net.eval()
    x = torch.randn(5, 2, 3, 3)
    factors = measured(net, Categorical(3), x, torch.tensor([0, 1, 2, 0, 1]))
    gamma = 0.3
    inverse = factors.inverse(gamma)
    v = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    turned, back = factors.product(v), inverse.precondition(v)
    for name, block in factors.blocks.items():
        flat, dense = torch.cat([v[own].reshape(-1) for own in block.names]), factors.dense(name)
        same(torch.cat([turned[own].reshape(-1) for own in block.names]), dense @ flat)
        pair = factors.factors[name]
        if len(pair) == 1:  # one factor: exact damping
            expected = torch.linalg.solve(dense + gamma**2 * torch.eye(len(dense)), flat)
            same(torch.cat([back[own].reshape(-1) for own in block.names]), expected, 1e-8)
    pair = factors.factors["3.weight"]
    a, g = pair["inputs"], pair["outputs"]
    pi = math.sqrt((a.trace() / len(a)) / (g.trace() / len(g)))
    w = torch.cat([v["3.weight"], v["3.bias"][:, None]], dim=1)
    expected = torch.linalg.inv(g + gamma / pi * torch.eye(3)) @ w @ torch.linalg.inv(a + pi * gamma * torch.eye(17))
    same(torch.cat([back["3.weight"], back["3.bias"][:, None]], dim=1), expected, 1e-8)
    for group in range(2):
        a, g = factors.factors["0.weight"]["inputs"][group], factors.factors["0.weight"]["outputs"][group]
        pi = math.sqrt((a.trace() / len(a)) / (g.trace() / len(g)))
        part = slice(2 * group, 2 * group + 2)
        w = torch.cat([v["0.weight"][part].reshape(2, -1), v["0.bias"][part][:, None]], dim=1)
        solved = torch.linalg.inv(g + gamma / pi * torch.eye(2)) @ w @ torch.linalg.inv(a + pi * gamma * torch.eye(5))
        same(torch.cat([back["0.weight"][part].reshape(2, -1), back["0.bias"][part][:, None]], dim=1), solved, 1e-8)


def test_a_factor_that_float32_cannot_invert_is_inverted_all_the_same():
    net = nn.Linear(40, 2).float()
    x = (1e3 * torch.ones(3, 40)).float()
    x[:, 0] += 1e-3
    factors = KroneckerFactors(net, fisher="exact").update(
        BatchLoss(net, Gaussian(2, scale=1.0), x, torch.zeros(3, 2, dtype=torch.float32))
    )
    inverse = factors.inverse(1e-7).inverses["weight"]
    assert all(bool(f.isfinite().all()) for f in inverse.values())
    assert float(torch.linalg.eigvalsh(inverse["inputs"].double())[0]) > -1e-3 * float(inverse["inputs"].abs().max())
    with pytest.raises(ConfigError, match="damping must be above 0"):
        factors.inverse(0.0)
    factors.factors["weight"]["inputs"][0, 0] = math.nan
    with pytest.raises(ConfigError, match="not finite"):
        factors.inverse(0.1)


def test_a_factor_with_a_negative_eigenvalue_gets_more_damping_until_it_has_none():
    factors = {"w": {"inputs": torch.tensor([[1.0, 0.0], [0.0, -1e-3]]), "outputs": torch.eye(1)}}
    inverse = KroneckerInverse({"w": Block(("w",), ((1, 2),), ("layer",), 1, 2)})
    assert inverse.update(factors, 1e-6)
    added = 1.0 / inverse.inverses["w"]["inputs"].diagonal() - factors["w"]["inputs"].diagonal()
    same(added[0], added[1], 1e-6)
    assert 1e-3 < float(added[0]) < 1e-2  # of 10^k mean diagonals the first that is enough


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_the_factors_are_those_of_curvlinops(sharing):
    curvlinops = pytest.importorskip("curvlinops")
    net = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(27, 3)).double()
    x, y = torch.randn(5, 2, 6, 6), torch.tensor([0, 2, 1, 1, 0])
    theirs = curvlinops.KFACLinearOperator(
        net,
        nn.CrossEntropyLoss(),
        list(net.parameters()),
        [(x, y)],
        fisher_type="type-2",
        kfac_approx=sharing,
        separate_weight_and_bias=False,
        check_deterministic=False,
    )
    theirs.compute_kronecker_factors()
    ours = measured(net, Categorical(3), x, y, sharing=sharing).factors
    for layer in ("0", "3"):
        same(ours[f"{layer}.weight"]["inputs"], theirs._input_covariances[layer])
        same(ours[f"{layer}.weight"]["outputs"], theirs._gradient_covariances[layer])
