"""Counts against published figures, closed forms, PyTorch's own counter, and what a run really keeps."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lamina.errors import ConfigError
from lamina.nn.connections import Gate, Highway, HighwayRecurrent, LowRankLinear
from lamina.nn.count import count
from lamina.nn.mlp import MLP
from lamina.nn.noise import GaussianNoise, WeightNoise
from lamina.nn.residual import Residual


def image(channels: int, side: int) -> Tensor:
    return torch.zeros(1, channels, side, side, device="meta")


def test_W06_W07_two_convolutions_on_a_colour_picture() -> None:
    found = count(nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 10, 5)), torch.zeros(1, 3, 32, 32))
    first, second = found.layers
    assert (first.output_shape, first.parameters, first.connections) == ((1, 6, 28, 28), 456, 357_504)
    assert (second.output_shape, second.parameters) == ((1, 10, 24, 24), 1_510)
    assert found.parameters == 1_966
    assert first.multiply_adds == 28 * 28 * 6 * 75


@pytest.mark.parametrize(("stride", "pad", "sides"), [(3, 0, (10, 6)), (1, 2, (32, 32))], ids=["W08", "W10"])
def test_W08_W10_stride_and_padding(stride: int, pad: int, sides: tuple[int, int]) -> None:
    """A first layer of stride 3; padding of 2 on both."""
    layers = nn.Conv2d(3, 6, 5, stride=stride, padding=pad), nn.Conv2d(6, 10, 5, padding=pad)
    found = count(nn.Sequential(*layers), image(3, 32))
    assert [row.output_shape for row in found.layers] == [(1, 6, sides[0], sides[0]), (1, 10, sides[1], sides[1])]
    assert found.parameters == 1_966


class Subsample(nn.Module):
    """A pooling map with one trainable weight and one bias (LeNet)."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.ones(maps, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * nn.functional.avg_pool2d(x, 2) * self.weight + self.bias


class PartlyConnected(nn.Module):
    """LeNet's third layer: sixteen maps, each of some of the six maps below."""

    def __init__(self) -> None:
        super().__init__()
        circle = [[(k + i) % 6 for i in range(n)] for n in (3, 4) for k in range(6)]
        self.sources = [*circle, *([k, k + 1, (k + 3) % 6, (k + 4) % 6] for k in range(3)), list(range(6))]
        self.maps = nn.ModuleList(nn.Conv2d(len(source), 1, 5) for source in self.sources)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x[:, s]) for layer, s in zip(self.maps, self.sources, strict=True)], 1)


def test_W14_lenet() -> None:
    layers = [
        nn.Conv2d(1, 6, 5),
        Subsample(6),
        PartlyConnected(),
        Subsample(16),
        nn.Conv2d(16, 120, 5),
        nn.Sequential(nn.Flatten(), nn.Linear(120, 84)),
    ]
    shape, sizes, connections = (1, 1, 32, 32), [], []
    for layer in layers:
        found = count(layer, torch.zeros(shape))
        sizes.append(found.parameters)
        connections.append(found.connections)
        shape = tuple(layer(torch.zeros(shape)).shape)
    assert sizes == [156, 12, 1_516, 32, 48_120, 10_164]
    assert [connections[k] for k in (0, 2, 4, 5)] == [122_304, 151_600, 48_120, 10_164]  # the paper's, section II.B
    assert count(nn.Sequential(*layers), torch.zeros(1, 1, 32, 32)).parameters == 60_000


@pytest.mark.parametrize(("m", "k"), [(6, 2), (16, 3), (10, 5)])
def test_W19_pooling_maps_and_kernels(m: int, k: int) -> None:
    assert count(Subsample(m), image(m, 8)).parameters == 2 * m
    assert count(nn.Conv2d(1, m, k), image(1, 8)).parameters == (k * k + 1) * m


def alexnet(groups: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=groups), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)),
    )


@pytest.mark.parametrize(("groups", "parameters"), [(2, 60_965_224), (1, 62_378_344)])
def test_W12_alexnet(groups: int, parameters: int) -> None:
    with torch.device("meta"):
        found = count(alexnet(groups), image(3, 227))
    assert found.layers[0].parameters == 34_944
    assert found.layers[0].output_shape == (1, 96, 55, 55)
    assert found.parameters == parameters


def vgg(convolutions: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    width = 3
    for maps, n in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(n):
            layers += [nn.Conv2d(width, maps, 3, padding=1), nn.ReLU()]
            width = maps
        layers.append(nn.MaxPool2d(2))
    head = (nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000))
    return nn.Sequential(*layers, *head)


# Multiply-adds in units of 10⁹ as torchvision's documentation lists them.
@pytest.mark.parametrize(
    ("convolutions", "parameters", "giga"),
    [((2, 2, 3, 3, 3), 138_357_544, 15.47), ((2, 2, 4, 4, 4), 143_667_240, 19.63)],
    ids=["vgg16", "vgg19"],
)
def test_W13_vgg(convolutions: tuple[int, ...], parameters: int, giga: float) -> None:
    with torch.device("meta"):
        found = count(vgg(convolutions), image(3, 224))
    assert found.parameters == parameters
    assert round(found.multiply_adds / 1e9, 2) == giga


def test_W13_three_small_kernels_against_a_large_one() -> None:
    with torch.device("meta"):
        small = count(nn.Sequential(*(nn.Conv2d(8, 8, 3, bias=False) for _ in range(3))), image(8, 16))
        large = count(nn.Conv2d(8, 8, 7, bias=False), image(8, 16))
    assert (small.weights, large.weights) == (27 * 8**2, 49 * 8**2)


def normed(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


def resnet(blocks: tuple[int, ...], bottleneck: bool) -> nn.Module:
    layers = [*normed(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage, n in enumerate(blocks):
        maps = 64 * 2**stage
        for k in range(n):
            stride, out = (2 if k == 0 and stage else 1), maps * (4 if bottleneck else 1)
            if bottleneck:
                branch = [*normed(width, maps, 1), nn.ReLU(), *normed(maps, maps, 3, stride), nn.ReLU()]
                branch += normed(maps, out, 1)
            else:
                branch = [*normed(width, maps, 3, stride), nn.ReLU(), *normed(maps, maps, 3)]
            shortcut = nn.Sequential(*normed(width, out, 1, stride)) if width != out or stride > 1 else None
            layers += [Residual(nn.Sequential(*branch), shortcut), nn.ReLU()]
            width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))


@pytest.mark.parametrize(
    ("blocks", "bottleneck", "parameters", "giga"),
    [
        ((2, 2, 2, 2), False, 11_689_512, 1.81),
        ((3, 4, 6, 3), False, 21_797_672, 3.66),
        ((3, 4, 6, 3), True, 25_557_032, 4.09),
        ((3, 4, 23, 3), True, 44_549_160, 7.80),
        ((3, 8, 36, 3), True, 60_192_808, 11.51),
    ],
    ids=["18", "34", "50", "101", "152"],
)
def test_W15_residual_networks(blocks: tuple[int, ...], bottleneck: bool, parameters: int, giga: float) -> None:
    with torch.device("meta"):
        found = count(resnet(blocks, bottleneck), image(3, 224))
    assert found.parameters == parameters
    assert round(found.multiply_adds / 1e9, 2) == giga


def test_W17_the_formula_of_the_course() -> None:
    found = count(MLP(784, 10, hidden=(500, 300)), torch.zeros(1, 784))
    assert found.weights == 545_000
    assert found.multiply_adds == 545_000
    assert found.parameters == found.connections == 545_000 + 810


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5), n=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_W17_for_any_perceptron(sizes: list[int], n: int) -> None:
    found = count(MLP(sizes[0], sizes[-1], hidden=sizes[1:-1]), torch.zeros(n, sizes[0]))
    d, *hidden, k = sizes
    formula = d * hidden[0] + k * hidden[-1] + sum(a * b for a, b in itertools.pairwise(hidden)) if hidden else d * k
    assert found.weights == formula
    assert found.multiply_adds == n * formula
    assert found.elementwise == n * sum(hidden)
    assert found.activation_bytes == 4 * n * sum(hidden)  # each unit's output, which the next layer shares


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)], ids=["rnn", "gru", "lstm"])
def test_recurrent_layers(kind: type[nn.RNNBase], gates: int) -> None:
    found = count(kind(3, 4, batch_first=True), torch.zeros(2, 5, 3))
    assert found.parameters == gates * (3 * 4 + 4 * 4 + 2 * 4)
    assert found.multiply_adds == 2 * 5 * gates * (3 * 4 + 4 * 4)


def test_attention() -> None:
    n, t, d = 2, 5, 8
    found = count(nn.MultiheadAttention(d, 2, batch_first=True), [torch.zeros(n, t, d)] * 3)
    assert found.multiply_adds == n * (4 * t * d * d + 2 * t * t * d)
    assert found.parameters == 4 * (d * d + d)


CASES = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, stride=2), torch.zeros(2, 3, 11), 2 * 4 * 5 * 9),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), torch.zeros(2, 4, 6, 6), 2 * 6 * 16 * 18),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), torch.zeros(1, 2, 4, 4, 4), 3 * 27 * 16),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), torch.zeros(2, 4, 6, 6), 2 * 36 * 4 * 54),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), (torch.zeros(2, 3), torch.zeros(2, 4)), 2 * 3 * 4 * 5),
    "embedding": (lambda: nn.Embedding(10, 4), torch.zeros(3, dtype=torch.long), 0),
    "low rank": (lambda: LowRankLinear(8, 6, 2), torch.zeros(3, 8), 3 * (8 * 2 + 2 * 6)),
    "highway": (lambda: Highway(5), torch.zeros(3, 5), 3 * 50),
    "recurrent highway": (lambda: HighwayRecurrent(5), torch.zeros(3, 4, 5), 3 * 4 * 100),
    "gate": (lambda: Gate(5, 2, 3), {"x": torch.zeros(4, 5), "h": torch.zeros(4, 3)}, 4 * 16),
    "noisy": (lambda: WeightNoise(nn.Linear(5, 2), 0.1, generator=torch.Generator()), torch.zeros(4, 5), 40),
}


@pytest.mark.parametrize("name", list(CASES))
def test_multiply_adds_of(name: str) -> None:
    make, inputs, expected = CASES[name]
    module = make()
    found = count(module, inputs)
    assert found.multiply_adds == expected
    assert found.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        lambda: nn.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True),
        lambda: nn.Sequential(nn.Conv1d(5, 6, 3, groups=1), nn.BatchNorm1d(6), nn.ReLU(), nn.ConvTranspose1d(6, 3, 2)),
    ],
    ids=["transformer", "lstm", "conv"],
)
def test_pytorchs_counter_agrees(make: object) -> None:
    module, x = make(), torch.randn(2, 5, 8)  # type: ignore[operator]
    with torch.random.fork_rng(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        make()(x.to("meta"))  # type: ignore[operator]
    assert count(module, x).multiply_adds * 2 == counter.get_total_flops()


def test_elementwise_and_kept_memory() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Sigmoid(), nn.Flatten(), nn.Linear(36, 1))
    found = count(model, torch.zeros(2, 4, 6, 6))
    norm, pool, unit, _, last = found.layers
    assert (norm.elementwise, pool.elementwise, unit.elementwise, last.elementwise) == (288, 288, 72, 0)
    assert norm.activation_bytes == 2 * 4 * 4  # a mean and a deviation for each feature
    assert pool.activation_bytes == 288 * 4 + 72 * 8  # its input, and an index for each maximum
    assert unit.activation_bytes == 72 * 4
    assert last.activation_bytes == 0  # its input is what the unit keeps
    assert count(model.double(), torch.zeros(2, 4, 6, 6).double()).layers[2].activation_bytes == 72 * 8
    thinned, x = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), torch.zeros(2, 3)
    assert count(thinned, x).activation_bytes == 2 * 3 * 4  # the mask
    assert count(thinned.eval(), x).activation_bytes == 0


class Reads(nn.Module):
    """A module that decides by its own numbers, and cannot be followed without them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.lstm = nn.LSTM(8, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return self.lstm(x if x.sum().item() > 1e9 else -x)[0]


def test_modules_that_read_their_numbers_are_run_for_real() -> None:
    model, x = Reads().eval(), torch.randn(2, 5, 8)
    parts = count(model.layer, x).multiply_adds + count(model.lstm, x).multiply_adds
    assert count(model, x).multiply_adds == parts
    assert count(model.train(), x).multiply_adds == parts
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("reads", [False, True])
def test_the_module_is_left_as_it_is(reads: bool) -> None:
    class Net(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x)
            return out * out.sum().item() if reads else out

    generator = torch.Generator().manual_seed(3)
    model = Net(nn.BatchNorm1d(3), GaussianNoise(1.0, generator), nn.Linear(3, 2), nn.Dropout())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state, own = torch.get_rng_state(), generator.get_state()
    found = count(model, torch.randn(4, 3, generator=generator.clone_state()))
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(generator.get_state(), own)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training and all(p.grad is None and not p.is_meta for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert found.multiply_adds == 24


def test_shared_parameters_count_once_and_their_work_each_time() -> None:
    layer = nn.Linear(3, 3)
    found = count(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 3))
    assert (found.parameters, found.multiply_adds) == (12, 18)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert [row.parameters for row in count(tied, torch.zeros(1, 3)).layers] == [12, 3]


def test_table() -> None:
    found = count(MLP(4, 2, hidden=(3,)), torch.zeros(5, 4))
    assert str(found).splitlines() == [
        "layer    kind    output  parameters  multiply-adds  elementwise  kept bytes",
        "linear1  Linear  5×3             15             60            0           0",
        "relu1    ReLU    5×3              0              0           15          60",
        "output   Linear  5×2              8             30            0           0",
        "sum                              23             90           15          60",
    ]


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"Linear cannot be run on inputs of shapes \[\(2, 4\)\]"):
        count(nn.Linear(3, 2), torch.zeros(2, 4))
