"""Growing mini-batches: sizes, order, and a run in the loop that is resumed in the middle."""

from __future__ import annotations

import pytest
import torch

from lamina.data.batch import Batch
from lamina.data.growing import GrowingBatches, geometric_sizes
from lamina.data.stream import InMemory, Stream, VaryingStream, epoch_order
from lamina.errors import ConfigError
from lamina.training import Callback, Run, fit, full_state
from lamina.training.learning_rate import LearningRate
from lamina.training.state import copy_state
from training.problems import blobs, make_step, weights_of


def test_O26_sizes_by_the_table() -> None:
    assert [geometric_sizes(8, every=2)(e) for e in range(8)] == [8, 8, 16, 16, 32, 32, 64, 64]
    assert [geometric_sizes(8, 1.5, 1, 20)(e) for e in range(5)] == [8, 12, 18, 20, 20]
    assert geometric_sizes(8)(10**9) == 2**53


def test_O26_batches_have_the_size_of_their_epoch_and_the_order_of_seed_and_epoch() -> None:
    data = Batch(torch.arange(50.0)[:, None], torch.arange(50))
    stream = GrowingBatches(data, geometric_sizes(8, every=1), seed=3)
    assert isinstance(stream, Stream) and isinstance(stream, VaryingStream)
    assert not isinstance(InMemory(data, 8), VaryingStream)
    assert [stream.steps(e) for e in range(5)] == [7, 4, 2, 1, 1] and len(stream) == 7
    for epoch in range(5):
        batches = list(stream.batches(epoch))
        assert [b.size for b in batches][: len(batches) - 1] == [8 * 2**epoch] * (len(batches) - 1)
        seen = torch.cat([b.targets for b in batches])  # type: ignore[misc]
        assert torch.equal(seen, epoch_order(50, 3, epoch))
        later = list(stream.batches(epoch, 1))
        assert len(later) == len(batches) - 1
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(later, batches[1:], strict=True))


def test_O26_rows_and_augmentation_are_handed_on() -> None:
    data = Batch(torch.arange(20.0)[:, None], torch.arange(20))
    rows = torch.tensor([3, 5, 7, 9])
    stream = GrowingBatches(data, lambda epoch: 2, rows=rows, shuffle=False, augment=lambda x, i, e: x + 100 * e)
    assert torch.cat([b.inputs for b in stream.batches(2)]).flatten().tolist() == [203, 205, 207, 209]


class Record(Callback):
    """What the loop says, and a full state after every update."""

    def __init__(self) -> None:
        self.states: list[object] = []
        self.totals: set[int] = set()
        self.rates: list[float] = []

    def on_step(self, run: Run) -> None:
        self.states.append(copy_state(full_state(run, [])))
        self.totals.add(run.total_steps)
        self.rates.append(run.step.optimizer.param_groups[0]["lr"])


def growing() -> GrowingBatches:
    return GrowingBatches(blobs(100), geometric_sizes(10, every=1))  # 10, 5, 3, 2 steps


def test_O26_the_loop_counts_the_epochs_as_they_are() -> None:
    step, record = make_step(), Record()
    history = fit(step, growing(), max_epochs=4, callbacks=[record, LearningRate(lambda p: 1 - p)])
    assert [r["steps"] for r in history.records] == [10, 15, 18, 20]
    assert record.totals == {20} and len(record.states) == 20
    assert step.optimizer.param_groups[0]["lr"] == 0.0  # the schedule reached its end with the last update


def test_O26_resumed_anywhere_is_uninterrupted() -> None:
    whole, record = make_step(), Record()
    expected = fit(whole, growing(), max_epochs=4, callbacks=[record])
    for saved in record.states:
        resumed = make_step(seed=5)
        state = {**copy_state(saved), "callbacks": []}  # type: ignore[dict-item]
        history = fit(resumed, growing(), max_epochs=4, state=state)
        assert torch.equal(weights_of(resumed.model), weights_of(whole.model))
        assert history.records == expected.records


@pytest.mark.parametrize(("limit", "expected"), [(12, 12), (15, 15), (99, 20)])
def test_O26_a_limit_of_updates_holds(limit: int, expected: int) -> None:
    record = Record()
    fit(make_step(), growing(), max_epochs=4, max_steps=limit, callbacks=[record])
    assert record.totals == {expected} and len(record.states) == expected


def test_planning_is_quick_where_only_updates_are_limited() -> None:
    asked = []

    def size(epoch: int) -> int:
        asked.append(epoch)
        return 50

    run = Run(make_step(), GrowingBatches(blobs(100), size), 10**9, 7)
    assert run.total_steps == 7 and max(asked) == 3


@pytest.mark.parametrize("bad", [{"start": 0}, {"factor": 0.5}, {"every": 0}, {"most": 4}])
def test_bad_numbers_are_named(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        geometric_sizes(**({"start": 8} | bad))
    with pytest.raises(ConfigError, match="batch_size"):
        GrowingBatches(blobs(10), lambda epoch: 0)
