"""Batches of labelled rows, similar and dissimilar pairs: the layout, the rounds, and going on from any place."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from lamina.data.batch import Batch
from lamina.data.pairs import LabelledAndPairs
from lamina.data.stream import Stream
from lamina.errors import ConfigError

LABELLED = Batch(torch.arange(5.0).unsqueeze(1), torch.arange(5) + 10)
INPUTS = 100 + torch.arange(20.0).unsqueeze(1)
PAIRS = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13]])
SIMILAR = torch.tensor([1, 1, 0, 1, 0, 0, 0])


def make(seed: int = 0, **counts: int) -> LabelledAndPairs:
    asked: dict[str, Any] = {"n_labelled": 2, "n_similar": 2, "n_dissimilar": 3} | counts
    return LabelledAndPairs(LABELLED, INPUTS, PAIRS, SIMILAR, seed=seed, **asked)


def test_R20_each_batch_samples_all_three_kinds() -> None:
    stream = make()
    assert isinstance(stream, Stream)
    assert len(stream) == 3  # five labelled rows, two a step
    assert stream.n_examples == 3 * 12
    mine: Counter[float] = Counter()
    drawn: Counter[tuple[float, float]] = Counter()
    kind = {tuple((100.0 + pair).tolist()): int(s) for pair, s in zip(PAIRS, SIMILAR, strict=True)}
    for epoch in range(5):
        for batch in stream.batches(epoch):
            assert batch.targets is not None
            assert batch.weights is not None
            rows = batch.inputs[:, 0].tolist()
            assert batch.targets[:2].tolist() == [10 + int(r) for r in rows[:2]]
            assert (batch.targets[2:] == 10).all()
            assert batch.weights.tolist() == [6.0, 6.0] + [0.0] * 10
            alike, unlike = list(zip(rows[2:4], rows[4:6], strict=True)), list(zip(rows[6:9], rows[9:12], strict=True))
            assert all(kind[pair] == 1 for pair in alike)
            assert all(kind[pair] == 0 for pair in unlike)
            mine.update(rows[:2])
            drawn.update(alike + unlike)
    assert max(mine.values()) - min(mine.values()) <= 1
    for mark in (0, 1):
        counts = [drawn[pair] for pair, s in kind.items() if s == mark]
        assert max(counts) - min(counts) <= 1


def test_an_epoch_is_a_pure_function_and_goes_on_from_any_place() -> None:
    whole = [batch.inputs for batch in make().batches(3)]
    for start in range(len(make()) + 1):
        torch.testing.assert_close([b.inputs for b in make().batches(3, start)], whole[start:], rtol=0, atol=0)
    assert any((a != b.inputs).any() for a, b in zip(whole, make(seed=1).batches(3), strict=True))


def test_one_kind_of_pairs_alone() -> None:
    (first, *_) = make(n_similar=0).batches(0)
    assert first.inputs.shape == (8, 1)
    only = LabelledAndPairs(
        LABELLED, INPUTS, PAIRS[SIMILAR == 1], torch.ones(3), n_labelled=1, n_similar=3, n_dissimilar=0
    )
    assert next(only.batches(0)).inputs.shape == (7, 1)


def test_refusals() -> None:
    for counts in ({"n_labelled": 0}, {"n_similar": -1}, {"n_similar": 0, "n_dissimilar": 0}):
        with pytest.raises(ConfigError, match="cannot draw"):
            make(**counts)
    counts = {"n_labelled": 1, "n_similar": 1, "n_dissimilar": 1}
    with pytest.raises(ConfigError, match="no dissimilar"):
        LabelledAndPairs(LABELLED, INPUTS, PAIRS, torch.ones(7), **counts)
    with pytest.raises(ConfigError, match="pairs must be"):
        LabelledAndPairs(LABELLED, INPUTS, PAIRS[:, :1], SIMILAR, **counts)
    with pytest.raises(ConfigError, match="inputs differ"):
        LabelledAndPairs(LABELLED, INPUTS.double(), PAIRS, SIMILAR, **counts)
    with pytest.raises(ConfigError, match="no labelled"):
        LabelledAndPairs(Batch(INPUTS), INPUTS, PAIRS, SIMILAR, **counts)
