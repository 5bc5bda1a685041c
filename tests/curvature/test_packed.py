"""Packed symmetric matrices against the whole ones, in numbers and in bytes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from curvature.fisher import measured, same
from lamina.autoencoders import TiedLinear
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker import KroneckerFactors
from lamina.curvature.kronecker.block import Block
from lamina.curvature.kronecker.packed import PackedPairs, opened, store
from lamina.likelihoods import Categorical, Gaussian

pytestmark = pytest.mark.usefixtures("double")


def symmetric(*shape: int) -> Tensor:
    root = torch.randn(*shape, shape[-1])
    return root + root.mT


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 140), st.integers(1, 3))
def test_what_is_written_is_read_back(columns: int, rows: int, groups: int) -> None:
    block = Block(("w",), ((rows * groups, columns),), ("layer",), rows * groups, columns, groups=groups)
    pairs = PackedPairs({"w": block})
    lead = () if groups == 1 else (groups,)
    pair = {"inputs": symmetric(*lead, columns), "outputs": symmetric(*lead, rows)}
    store(pairs, "w", pair)
    assert all(torch.equal(pairs["w"][side], whole) for side, whole in pair.items())
    held = pairs.kept["w"]["inputs"]
    with opened(pairs, "w", "inputs") as whole:
        whole.add_(pair["inputs"])
    assert torch.equal(pairs["w"]["inputs"], 2.0 * pair["inputs"])
    assert torch.equal(pairs["w"]["outputs"], pair["outputs"])
    assert pairs.kept["w"]["inputs"] is held
    pairs["w"]["outputs"].zero_()  # a copy
    assert torch.equal(pairs["w"]["outputs"], pair["outputs"])


def test_what_is_kept_is_half() -> None:
    block = Block(("w",), ((1_000, 785),), ("layer",), 1_000, 785)
    pairs = PackedPairs({"w": block})
    pairs["w"] = {"inputs": torch.zeros(785, 785), "outputs": torch.zeros(1_000, 1_000)}
    held = sum(f.numel() for f in pairs.kept["w"].values())
    assert held == 785 * 786 // 2 + 1_000 * 1_001 // 2


class _Net(nn.Module):
    """One of each kind of block: codes, a tied weight, groups, scales, a guessed diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(7, 6)
        self.up = nn.Linear(6, 70)
        self.down = TiedLinear(self.up)
        self.scale, self.unit = nn.LayerNorm(6), nn.PReLU()
        self.grouped, self.head = nn.Conv1d(6, 4, 1, groups=2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.scale(self.down(torch.tanh(self.up(self.codes(x)))))
        return self.head(self.grouped(self.unit(h).unsqueeze(2)).squeeze(2))


@pytest.mark.parametrize("fisher", ["exact", "empirical"])
def test_compact_factors_and_inverses_are_the_same(fisher: str) -> None:
    net, x, targets = _Net(), torch.randint(0, 7, (40,)), torch.randint(0, 3, (40,))
    found = []
    for compact in (False, True):
        torch.manual_seed(1)  # the signs of the guessed diagonal
        options = {"fisher": fisher, "fallback": "diagonal", "compact": compact}
        factors = measured(net, Categorical(3), x, targets, **options)
        found.append(factors)
    whole, packed = found
    assert isinstance(packed.factors, PackedPairs)
    for name, pair in whole.factors.items():
        for side, factor in pair.items():
            same(packed.factors[name][side], factor)
    vector = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    for name, moved in whole.product(vector).items():
        same(packed.product(vector)[name], moved)
    for name, moved in whole.inverse(0.3).precondition(vector).items():
        same(packed.inverse(0.3).precondition(vector)[name], moved)


def test_a_running_mean_of_compact_factors_forgets_as_the_whole_ones_do() -> None:
    net = nn.Linear(3, 2)
    means = []
    for compact in (False, True):
        factors = KroneckerFactors(net, fisher="exact", compact=compact)
        for k in range(3):
            torch.manual_seed(k)
            x = torch.randn(5, 3)
            factors.update(BatchLoss(net, Gaussian(2, scale=1.0), x, torch.randn(5, 2)), decay=0.7)
        means.append(factors.factors["weight"]["inputs"])
    same(means[1], means[0])
