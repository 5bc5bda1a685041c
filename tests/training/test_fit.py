"""The loop against the barest loop, and resumed against uninterrupted runs."""

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory, epoch_order
from lamina.likelihoods import Categorical
from lamina.optim import cosine
from lamina.training import Callback, Run, fit, full_state
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Validation
from lamina.training.learning_rate import LearningRate, ReduceOnPlateau
from lamina.training.monitor import Monitor
from lamina.training.state import copy_state, flatten_state, unflatten_state
from training.problems import blobs, make_step, network, stream, weights_of


def test_fit_makes_the_updates_of_the_barest_loop() -> None:
    data = blobs()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for epoch in range(3):
        order = epoch_order(200, 0, epoch)
        total = 0.0
        for start in range(0, 200, 32):
            rows = order[start : start + 32]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data.inputs[rows]), data.targets[rows])  # type: ignore[index]
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / 200)

    step = make_step()
    history = fit(step, stream(data), max_epochs=3)
    assert torch.allclose(weights_of(step.model), weights_of(model), atol=1e-6)
    assert history.series("loss") == pytest.approx(losses, rel=1e-6)
    assert not step.model.training


class Snapshots(Callback):
    """Keeps a full state after every update."""

    def __init__(self, callbacks: list[Callback]) -> None:
        self.callbacks, self.states = callbacks, []

    def on_step(self, run: Run) -> None:
        self.states.append(copy_state(full_state(run, self.callbacks)))


def everything(valid: Batch) -> list[Callback]:
    return [
        Validation(valid, Categorical(3)),
        LearningRate(cosine),
        Monitor(),
        EarlyStopping("valid_loss", patience=3),
    ]


def test_resume_from_every_update_gives_the_same_bits() -> None:
    def start(state: object = None, at: int | None = None) -> tuple[torch.Tensor, list[dict[str, object]], Snapshots]:
        torch.manual_seed(123)
        step = make_step(dropout=0.3)
        torch.manual_seed(5 if state is None else 999)
        callbacks = everything(blobs(64, seed=1))
        snapshots = Snapshots(callbacks)
        if state is not None:
            state = {**state, "callbacks": [*state["callbacks"], {}]}  # type: ignore[dict-item, index]
        history = fit(step, stream(), max_epochs=4, callbacks=[*callbacks, snapshots], state=state)  # type: ignore[arg-type]
        return weights_of(step.model), history.records, snapshots

    weights, records, snapshots = start()
    assert len(snapshots.states) == 4 * 7
    for state in snapshots.states:
        tree, tensors = flatten_state(state)
        again, records_again, _ = start(unflatten_state(tree, tensors, where="test"))
        assert torch.equal(again, weights)
        assert records_again == records


def test_resume_without_the_random_state_differs() -> None:
    """The test above can fail: the dropout masks matter."""
    runs = []
    for seed in (1, 2):
        step = make_step(dropout=0.3)
        torch.manual_seed(seed)
        fit(step, stream(), max_epochs=1)
        runs.append(weights_of(step.model))
    assert not torch.equal(*runs)


class Scripted(Callback):
    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch(self, run: Run) -> None:
        run.history.current["valid_loss"] = self.values[run.epoch - 1]


def test_early_stopping_restores_the_weights_of_the_best_epoch_to_the_bit() -> None:
    values = [3.0, 1.0, 2.0, math.nan, 1.0, 5.0]
    step = make_step()
    early = EarlyStopping(patience=3)
    history = fit(step, stream(), max_epochs=6, callbacks=[Scripted(values), early])
    assert (early.best_epoch, early.best_value, len(history.records)) == (2, 1.0, 5)
    afresh = make_step()
    fit(afresh, stream(), max_epochs=2)
    assert torch.equal(weights_of(step.model), weights_of(afresh.model))


def test_early_stopping_takes_nan_for_no_progress_and_compares_absolutely() -> None:
    early = EarlyStopping(patience=2, min_delta=0.01)
    history = fit(make_step(), stream(), max_epochs=9, callbacks=[Scripted([math.nan, -10.0, -10.005, -9.9995]), early])
    assert early.best_epoch == 2 and len(history.records) == 4


def test_unknown_monitor_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match='did you mean "loss"') as info:
        fit(make_step(), stream(), max_epochs=1, callbacks=[EarlyStopping("los")])
    assert "learning_rate" not in str(info.value) and "loss" in info.value.mend  # type: ignore[attr-defined]


def test_learning_rate_follows_the_schedule_before_each_update() -> None:
    seen = []

    class See(Callback):
        def on_start(self, run: Run) -> None:
            seen.append(run.step.optimizer.param_groups[0]["lr"])

        def on_step(self, run: Run) -> None:
            seen.append(run.step.optimizer.param_groups[0]["lr"])

    fit(make_step(lr=0.5), stream(), max_epochs=2, callbacks=[LearningRate(cosine), See()])
    expected = [0.5 * 0.5 * (1 + math.cos(math.pi * k / 14)) for k in range(15)]
    assert seen == pytest.approx(expected)


def test_plateau_cuts_the_rate_as_pytorch_does() -> None:
    step = make_step(lr=0.1)
    rates = []

    class See(Callback):
        def on_epoch(self, run: Run) -> None:
            rates.append(run.step.optimizer.param_groups[0]["lr"])

    values = [1.0] * 8
    fit(step, stream(), max_epochs=8, callbacks=[Scripted(values), ReduceOnPlateau(patience=2, factor=0.1), See()])
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(("mode", "last"), [("max", 0.1), ("min", 0.001)])
def test_a_plateau_is_of_a_figure_that_is_to_be_large_or_small(mode: Literal["min", "max"], last: float) -> None:
    step = make_step(lr=0.1)
    rising = [0.1 * k for k in range(8)]
    fit(step, stream(), max_epochs=8, callbacks=[Scripted(rising), ReduceOnPlateau(patience=2, factor=0.1, mode=mode)])
    assert step.optimizer.param_groups[0]["lr"] == pytest.approx(last)


def test_max_steps_ends_in_the_middle_of_an_epoch() -> None:
    step = make_step()
    fit(step, stream(), max_epochs=5, max_steps=10)
    assert int(step.optimizer.state[step.parameters[0]]["step"]) == 10


def test_monitor_measures_the_middle_update() -> None:
    step = make_step()
    before = {}

    class Look(Callback):
        def on_step(self, run: Run) -> None:
            if run.position == 2:
                before["w"] = [p.detach().clone() for p in run.step.model.parameters() if p.ndim == 2]
            if run.position == 3:
                after = [p.detach() for p in run.step.model.parameters() if p.ndim == 2]
                ratios = [float((a - b).norm() / b.norm()) for a, b in zip(after, before["w"], strict=True)]
                before["ratio"] = sorted(ratios)[0]  # torch takes the lower of two medians
                before["norm"] = math.sqrt(sum(float(p.grad.square().sum()) for p in run.step.model.parameters()))

    history = fit(step, stream(), max_epochs=1, callbacks=[Monitor(), Look()])
    assert history.records[0]["update_ratio"] == pytest.approx(before["ratio"], rel=1e-5)
    assert history.records[0]["grad_norm"] == pytest.approx(before["norm"], rel=1e-5)
    assert history.records[0]["dead_layers"] == 0


@given(n=st.integers(1, 70), size=st.integers(1, 80), seed=st.integers(0, 5), block=st.sampled_from([1, 200, 1 << 20]))
@settings(max_examples=60, deadline=None)
def test_every_example_comes_once_an_epoch_whatever_the_blocks(n: int, size: int, seed: int, block: int) -> None:
    data = Batch(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n))
    loader = InMemory(data, size, seed=seed, block_bytes=block)
    batches = list(loader.batches(3))
    assert len(batches) == len(loader)
    assert sorted(torch.cat([b.targets for b in batches]).tolist()) == list(range(n))
    assert torch.equal(torch.cat([b.targets for b in batches]), epoch_order(n, seed, 3))
    assert all(b.size > 1 for b in batches) or n == 1 or size == 1
    for start in range(len(loader) + 1):
        rest = list(loader.batches(3, start))
        assert len(rest) == len(batches) - start
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(rest, batches[start:], strict=True))


def test_history_means_are_over_examples_and_memory_does_not_grow() -> None:
    step = make_step(lr=0.0)
    data = blobs(2000)
    history = fit(step, stream(data, 3), max_epochs=2)
    with torch.no_grad():
        whole = nn.functional.cross_entropy(step.model(data.inputs), data.targets)
    assert history.series("loss") == pytest.approx([float(whole)] * 2, rel=1e-5)  # nothing is carried over
    assert len(history._pending) == 0
