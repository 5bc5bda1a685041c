"""Kronecker factors of weights that multiply as Wᵀ: transposed convolutions, tied layers, and bags of codes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from curvature.fisher import exact_fisher, measured, same
from lamina.autoencoders import TiedLinear, transposed_convolution
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker import KroneckerFactors
from lamina.curvature.kronecker.use import recorded
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian
from lamina.optim import KFAC

pytestmark = pytest.mark.usefixtures("double")


TRANSPOSED = [
    (nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 4)),
    (nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (4, 3, 4)),
    (nn.ConvTranspose2d(3, 3, 3, groups=3, bias=False), (3, 4, 5)),
    (nn.ConvTranspose2d(2, 3, 2, stride=2), (2, 3, 3)),
    (nn.ConvTranspose1d(2, 3, 2, stride=1, dilation=3, output_padding=2), (2, 4)),  # room for two places more
    (nn.ConvTranspose3d(2, 2, 2, dilation=2), (2, 2, 3, 2)),
]


def rows_of(net: nn.Module, x: Tensor, u: Tensor, sharing: str, block: str) -> tuple[KroneckerFactors, Tensor, Tensor]:
    """The rows that make up the factors of W's own rows and columns."""
    factors = KroneckerFactors(net)
    with recorded(factors.plan, sharing) as uses:
        outputs = net(x)
    use = next(use for use in uses if use.block == block and use.inputs is not None)
    assert use.turned
    (delta,) = torch.autograd.grad(outputs, [use.edge], u)
    return factors, use.inputs(), use.outputs(delta)


@pytest.mark.parametrize(("layer", "shape"), TRANSPOSED)
def test_the_rows_of_a_transposed_convolution_make_its_gradient(layer, shape):
    layer = layer.double()
    net = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.LazyLinear(2))
    x, u = torch.randn(3, *shape), torch.randn(3, 2)
    net(x)
    factors, a, g = rows_of(net, x, u, "expand", "0.weight")
    direct = torch.autograd.grad(net(x), list(layer.parameters()), u)
    same(factors.blocks["0.weight"].tensors(a.mT @ g)["0.weight"], direct[0])
    if layer.bias is not None:
        with recorded(factors.plan, "expand") as uses:
            outputs = net(x)
        use = next(use for use in uses if use.block == "0.bias")
        (delta,) = torch.autograd.grad(outputs, [use.edge], u)
        same(factors.blocks["0.bias"].tensors(use.outputs(delta).sum(-2).unsqueeze(-1))["0.bias"], direct[1])


def test_reduced_rows_are_means_and_sums_over_the_places_that_go_in():
    layer = nn.ConvTranspose2d(2, 3, 2, stride=2)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(108, 2))
    x, u = torch.randn(4, 2, 3, 3), torch.randn(4, 2)
    _, a, g = rows_of(net, x, u, "reduce", "0.weight")
    same(a, x.mean((2, 3)))
    delta = (u @ net[2].weight).reshape(4, 3, 3, 2, 3, 2)  # patches do not overlap here
    same(g, delta.sum((2, 4)).reshape(4, 12))


@pytest.mark.parametrize("bias", [True, False])
def test_one_place_of_one_example_is_exact(bias):
    net = nn.Sequential(nn.ConvTranspose2d(3, 2, 2, bias=bias), nn.Flatten(), nn.Tanh(), nn.Linear(8, 2))
    x, targets = torch.randn(1, 3, 1, 1), torch.tensor([1])
    for sharing in ("expand", "reduce"):
        factors = measured(net, Categorical(2), x, targets, sharing=sharing)
        same(factors.dense("0.weight"), exact_fisher(net, Categorical(2), x, ("0.weight",)))
    if bias:  # it is added at four places, whose gradients "reduce" sums
        same(factors.dense("0.bias"), exact_fisher(net, Categorical(2), x, ("0.bias",)))


def test_patches_that_do_not_overlap_are_an_affine_layer_at_each_place():
    layer = nn.ConvTranspose1d(2, 3, 4, stride=4, bias=False)
    affine = nn.Linear(2, 12, bias=False)
    with torch.no_grad():
        affine.weight.copy_(layer.weight.reshape(2, 12).T)
    x = torch.randn(5, 2, 3)
    head = nn.Linear(36, 2)

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.affine, self.head = affine, head

        def forward(self, x: Tensor) -> Tensor:
            maps = self.affine(x.mT).reshape(-1, 3, 3, 4)  # (N, T, C, k)
            return self.head(maps.transpose(1, 2).reshape(-1, 36))

    ours = measured(nn.Sequential(layer, nn.Flatten(), head), Categorical(2), x, torch.zeros(5, dtype=torch.int64))
    theirs = measured(Apart(), Categorical(2), x, torch.zeros(5, dtype=torch.int64))
    same(ours.factors["0.weight"]["outputs"], theirs.factors["affine.weight"]["inputs"])
    same(ours.factors["0.weight"]["inputs"], theirs.factors["affine.weight"]["outputs"])


def traces(dense: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Partial traces of a matrix over the entries of W, row after row: over its columns, and over its rows."""
    four = dense.reshape(rows, columns, rows, columns)
    return torch.einsum("icjc->ij", four), torch.einsum("icid->cd", four)


def test_a_tied_layer_has_the_traces_of_both_products():
    encoder = nn.Linear(4, 3)
    net, x = nn.Sequential(encoder, nn.Tanh(), TiedLinear(encoder)), torch.randn(6, 4)
    factors = measured(net, Gaussian(4, scale=0.5), x, x)
    assert {name: block.names for name, block in factors.blocks.items()} == {
        name: (name,) for name in ("0.weight", "0.bias", "2.bias")
    }
    w, h = encoder.weight.detach(), torch.tanh(encoder(x)).detach()
    back = torch.stack([w.T @ (1 - h[n] ** 2).diag() for n in range(6)])  # (N, 4, 3): d outputs / d sums of the code
    as_it_is = torch.kron(torch.einsum("nki,nkj->ij", back, back) / 6 / 0.25, x.T @ x / 6)
    transposed = torch.kron(h.T @ h / 6, torch.eye(4) / 0.25)
    ours = factors.dense("0.weight")
    for found, wanted in zip(traces(ours, 3, 4), traces(as_it_is + transposed, 3, 4), strict=True):
        same(found, wanted)
    assert float((ours - as_it_is - transposed).abs().max()) > 1e-3  # one product cannot be the sum of two
    for name in ("0.bias", "2.bias"):
        same(factors.dense(name), exact_fisher(net, Gaussian(4, scale=0.5), x, (name,)))
    before = {side: f.clone() for side, f in factors.factors["0.weight"].items()}
    factors.update(BatchLoss(net, Gaussian(4, scale=0.5), 2.0 * x, x), decay=0.75)
    alone = measured(net, Gaussian(4, scale=0.5), 2.0 * x, x)
    for side, f in factors.factors["0.weight"].items():
        same(f, 0.75 * before[side] + 0.25 * alone.factors["0.weight"][side])


def test_a_frozen_encoder_leaves_the_tied_layer_its_bias():
    encoder = nn.Linear(4, 3)
    encoder.requires_grad_(False)
    net, x = nn.Sequential(encoder, TiedLinear(encoder)), torch.randn(6, 4)
    assert list(measured(net, Gaussian(4, scale=1.0), x, x).blocks) == ["1.bias"]


def test_a_tied_transposed_convolution_has_the_traces_of_both_products():
    encoder = nn.Conv2d(2, 3, 2, stride=2)
    net = nn.Sequential(encoder, transposed_convolution(encoder, (4, 4)), nn.Flatten())
    x = torch.randn(3, 2, 4, 4)
    factors = measured(net, Gaussian(32, scale=1.0), x, x.flatten(1))
    h = encoder(x).detach()
    w = encoder.weight.detach().reshape(3, 8)
    patches = torch.zeros(3, 4, 8)
    for n, (i, j) in itertools.product(range(3), itertools.product(range(2), range(2))):
        patches[n, 2 * i + j] = x[n, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1)
    flat, code = patches.reshape(12, 8), h.flatten(2).mT.reshape(12, 3)
    as_it_is = torch.kron(4 * w @ w.T, flat.T @ flat / 12)
    transposed = torch.kron(code.T @ code / 12, 4 * torch.eye(8))
    for found, wanted in zip(traces(factors.dense("0.weight"), 3, 8), traces(as_it_is + transposed, 3, 8), strict=True):
        same(found, wanted)


class _Language(nn.Module):
    def __init__(self, first: str) -> None:
        super().__init__()
        if first == "codes":
            self.codes, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
        else:
            self.head, self.codes = nn.Linear(3, 5), nn.Embedding(5, 3)
        self.head.weight = self.codes.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.codes(x)))


@pytest.mark.parametrize("first", ["codes", "head"])
def test_an_embedding_that_is_the_output_layer_too_has_the_traces_of_both_products(first):
    net, x = _Language(first), torch.tensor([0, 3, 3, 1, 4, 3])
    factors = measured(net, Gaussian(5, scale=1.0), x, torch.randn(6, 5))
    assert set(factors.blocks) == {f"{first}.weight", "head.bias"}
    assert set(factors.blocks[f"{first}.weight"].layers) == {"codes", "head"}
    w = net.codes.weight.detach()
    h = torch.tanh(w[x])
    head = torch.kron(torch.eye(5), h.T @ h / 6)
    back = torch.stack([w @ (1 - h[n] ** 2).diag() for n in range(6)])
    counts = torch.bincount(x, minlength=5) / 6
    embedding = torch.kron(counts.diag(), torch.einsum("nki,nkj->ij", back, back) / 6)
    for found, wanted in zip(
        traces(factors.dense(f"{first}.weight"), 5, 3), traces(head + embedding, 5, 3), strict=True
    ):
        same(found, wanted)


BAGS = [
    ({"mode": "sum"}, (torch.tensor([[0, 1, 1], [2, 3, 0]]),), {}),
    ({"mode": "mean"}, (torch.tensor([[0, 1, 1], [2, 3, 0]]),), {}),
    ({"mode": "mean", "padding_idx": 1}, (torch.tensor([[0, 1, 1], [2, 3, 0], [1, 1, 1]]),), {}),
    ({"mode": "sum"}, (torch.tensor([0, 1, 1, 2, 0]), torch.tensor([0, 0, 3])), {}),  # the first bag is empty
    ({"mode": "sum"}, (torch.tensor([0, 1, 1, 2]).int(), torch.tensor([0, 3]).int()), {}),
    ({"mode": "mean", "include_last_offset": True}, (torch.tensor([0, 1, 1, 2]), torch.tensor([0, 3, 4])), {}),
    (
        {"mode": "sum"},
        (torch.tensor([[0, 1, 1], [2, 3, 0]]),),
        {"per_sample_weights": torch.tensor([[0.5, -1.0, 2.0], [1.0, 3.0, 0.1]], dtype=torch.float64)},
    ),
]


@pytest.mark.parametrize(("options", "given", "named"), BAGS)
def test_a_bag_is_an_affine_layer_of_its_codes_counts(options, given, named):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(4, 3, **options), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.bag(*given, **named)) + 0.0 * x.sum()

    class Dense(nn.Module):
        def __init__(self, bags: Tensor) -> None:
            super().__init__()
            self.affine, self.head, self.bags = nn.Linear(4, 3, bias=False), net.head, bags

        def forward(self, rows: Tensor) -> Tensor:
            return self.head(self.affine(self.bags[rows.long()[:, 0]]))

    net = Net()
    n = len(net(torch.zeros(1)))
    with torch.no_grad():
        weight = net.bag.weight.clone()
        net.bag.weight.zero_()
        columns = []
        for code in range(4):  # what the layer itself makes of one code's vector
            net.bag.weight[code] = 1.0
            columns.append(net.bag(*given, **named)[:, 0].clone())
            net.bag.weight[code] = 0.0
        net.bag.weight.copy_(weight)
        dense = Dense(torch.stack(columns, dim=1))
        dense.affine.weight.copy_(weight.T)
    targets = torch.randn(n, 2)
    factors = measured(net, Gaussian(2, scale=0.5), torch.zeros(n, 1), targets)
    exact = exact_fisher(dense, Gaussian(2, scale=0.5), torch.arange(n)[:, None], ("affine.weight",))
    exact = exact.reshape(3, 4, 3, 4).permute(1, 0, 3, 2)  # by code, then by width, as the embedding's entries lie
    apart = exact * torch.eye(4)[:, None, :, None]  # codes are taken for uncorrelated
    same(factors.dense("bag.weight"), apart.reshape(12, 12))


def test_a_bag_that_takes_the_largest_is_refused():
    net = nn.Sequential(nn.EmbeddingBag(4, 3, mode="max"), nn.Linear(3, 2))
    with pytest.raises(ConfigError, match='"0" takes the largest entries'):
        measured(net, Gaussian(2, scale=1.0), torch.tensor([[0, 1], [2, 3]]), torch.randn(2, 2))
    sparse = nn.Sequential(nn.EmbeddingBag(4, 3, mode="sum", scale_grad_by_freq=True), nn.Linear(3, 2))
    with pytest.raises(ConfigError, match="scale_grad_by_freq"):
        measured(sparse, Gaussian(2, scale=1.0), torch.tensor([[0, 1], [2, 3]]), torch.randn(2, 2))


def _tied() -> nn.Module:
    encoder = nn.Linear(16, 6)
    return nn.Sequential(nn.Flatten(), encoder, nn.Tanh(), TiedLinear(encoder))


def _convolutional() -> nn.Module:
    encoder = nn.Conv2d(1, 4, 2, stride=2)
    return nn.Sequential(encoder, nn.Tanh(), transposed_convolution(encoder, (4, 4)), nn.Flatten())


def _decoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 2, stride=2), nn.Tanh(), nn.ConvTranspose2d(4, 1, 3, 2), nn.Flatten(), nn.Linear(25, 16)
    )


@pytest.mark.parametrize("make", [_tied, _convolutional, _decoder])
@pytest.mark.parametrize("rate", [None, 0.3])
def test_such_autoencoders_train(make, rate):
    net = make()
    rows = torch.rand(200, 3) @ torch.rand(3, 16)
    x = (rows > rows.mean()).double().reshape(200, 1, 4, 4)
    batch = BatchLoss(net, Bernoulli(16), x, x.flatten(1))
    optimizer = KFAC(net, lr=rate, generator=torch.Generator().manual_seed(1))
    losses = [float(optimizer.step(batch)) for _ in range(40)]
    assert losses[-1] < 0.75 * losses[0]
