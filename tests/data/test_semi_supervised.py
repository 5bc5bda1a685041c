"""Batches of labelled and unlabelled rows: what an epoch sees, and that the weighted mean is the labelled rows'."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lamina.data.batch import Batch
from lamina.data.semi_supervised import LabelledAndUnlabelled
from lamina.data.stream import Stream
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.training import Supervised


def make(n_l: int = 7, n_u: int = 23, per_l: int = 3, per_u: int = 5, seed: int = 1) -> LabelledAndUnlabelled:
    """Inputs tell their row: labelled ones 0 … n_l - 1, unlabelled ones from 1000 on."""
    labelled = Batch(torch.arange(float(n_l)).unsqueeze(1), torch.arange(n_l) % 3)
    unlabelled = 1000 + torch.arange(float(n_u)).unsqueeze(1)
    return LabelledAndUnlabelled(labelled, unlabelled, n_labelled=per_l, n_unlabelled=per_u, seed=seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_sees_each_unlabelled_row_once(n_l: int, n_u: int, per_l: int, per_u: int, epoch: int) -> None:
    stream = make(n_l, n_u, per_l, per_u)
    batches = list(stream.batches(epoch))
    rows = torch.cat([batch.inputs[:, 0] for batch in batches])
    assert len(batches) == len(stream) == -(-n_u // min(per_u, n_u))
    assert len(rows) == stream.n_examples
    assert sorted(rows[rows >= 1000].tolist()) == [1000.0 + i for i in range(n_u)]
    for batch in batches:
        assert batch.targets is not None
        assert batch.weights is not None
        k = min(per_l, n_l)
        assert (batch.inputs[:k, 0] < 1000).all()
        assert (batch.inputs[k:, 0] >= 1000).all()
        assert batch.targets[:k].tolist() == [int(row) % 3 for row in batch.inputs[:k, 0]]
        assert (batch.targets[k:] == 0).all()  # the first labelled target, valid for any likelihood
        assert (batch.weights[k:] == 0).all()


def test_labelled_rows_go_round_evenly_over_epochs() -> None:
    stream = make()
    drawn: Counter[float] = Counter()
    order: list[float] = []
    for epoch in range(4):
        for batch in stream.batches(epoch):
            drawn.update(batch.inputs[:3, 0].tolist())
            counts = [drawn[float(i)] for i in range(7)]
            assert max(counts) - min(counts) <= 1
            order += batch.inputs[:3, 0].tolist()
    rounds = [order[i : i + 7] for i in range(0, len(order) - 6, 7)]
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1  # a new order each round


def test_an_epoch_is_a_pure_function_of_seed_and_epoch_and_goes_on_from_any_place() -> None:
    stream = make()
    assert isinstance(stream, Stream)
    whole = [batch.inputs for batch in stream.batches(2)]
    for start in range(len(stream) + 1):
        torch.testing.assert_close([b.inputs for b in make().batches(2, start)], whole[start:], rtol=0, atol=0)
    for other in (make().batches(1), make(seed=2).batches(2)):
        assert any((a != b.inputs).any() for a, b in zip(whole, other, strict=True))
    same_size = make(23, 23, 5, 5)  # the two kinds are not paired for ever
    first = next(same_size.batches(0)).inputs
    assert (first[:5] + 1000 != first[5:]).any()


def test_weighted_mean_is_the_mean_over_the_labelled_rows_own_weights_too() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    own = torch.tensor([0.5, 1.5, 1.0, 1.0, 0.2, 1.8], dtype=torch.float64)
    unlabelled = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    model = nn.Linear(4, 3).double()
    for weights in (None, own):
        stream = LabelledAndUnlabelled(Batch(x, y, weights), unlabelled, n_labelled=6, n_unlabelled=4)
        nll = nn.functional.cross_entropy(model(x), y, reduction="none")
        for batch in stream.batches(0):  # every batch holds all six labelled rows
            loss = Supervised(Categorical(3))(model, batch).total
            torch.testing.assert_close(loss, (nll if weights is None else nll * own).mean())


def test_bytes_and_many_targets() -> None:
    labelled = Batch(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.ones(3, 2))
    others = torch.ones(4, 1, 2, 2, dtype=torch.uint8)
    stream = LabelledAndUnlabelled(labelled, others, n_labelled=2, n_unlabelled=4)
    (batch,) = stream.batches(0)
    assert batch.targets is not None
    assert batch.weights is not None
    assert batch.inputs.dtype is torch.uint8
    assert batch.targets.shape == (6, 2)
    assert batch.weights.tolist() == [3.0, 3.0, 0.0, 0.0, 0.0, 0.0]


def test_refusals() -> None:
    labelled, x = Batch(torch.zeros(3, 2), torch.zeros(3)), torch.zeros(5, 2)
    for kwargs in ({"n_labelled": 0, "n_unlabelled": 1}, {"n_labelled": 1, "n_unlabelled": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            LabelledAndUnlabelled(labelled, x, **kwargs)
    with pytest.raises(ConfigError, match="no targets"):
        LabelledAndUnlabelled(Batch(x), x, n_labelled=1, n_unlabelled=1)
    with pytest.raises(ConfigError, match="no unlabelled"):
        LabelledAndUnlabelled(labelled, x[:0], n_labelled=1, n_unlabelled=1)
    with pytest.raises(ConfigError, match="labelled inputs are"):
        LabelledAndUnlabelled(labelled, torch.zeros(5, 3), n_labelled=1, n_unlabelled=1)


def test_changes_follow_the_round_of_a_labelled_row_and_the_epoch_of_the_others() -> None:
    """The change writes down what it is told: each row's number, and the round or the epoch."""

    def change(inputs: torch.Tensor, indices: torch.Tensor, number: int) -> torch.Tensor:
        assert len(inputs) == len(indices) > 0
        told = torch.stack([indices.to(inputs.dtype), torch.full((len(inputs),), float(number))], dim=1)
        return torch.cat([inputs, told], dim=1)

    n_l, n_u, per_l = 7, 23, 3
    plain, changed = make(n_l, n_u, per_l), make(n_l, n_u, per_l)
    changed.augment = change
    drawn = 0
    for epoch in range(4):
        for before, after in zip(plain.batches(epoch), changed.batches(epoch), strict=True):
            x = after.inputs
            assert torch.equal(x[:, :1], before.inputs)
            for row in x[:per_l]:  # labelled: its own number, and how often all rows were gone round
                assert row[1] == row[0] and row[2] == drawn // n_l
                drawn += 1
            assert torch.equal(x[per_l:, 1], x[per_l:, 0] - 1000 + n_l)
            assert (x[per_l:, 2] == epoch).all()
    whole = [batch.inputs for batch in changed.batches(2)]
    for start in range(len(changed)):
        for here, there in zip(changed.batches(2, start), whole[start:], strict=True):
            assert torch.equal(here.inputs, there)
