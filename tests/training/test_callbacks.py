"""What is kept, shown and stopped around the loop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from lamina.errors import CheckpointError
from lamina.io import Generations, read_records
from lamina.training import Callback, Run, fit
from lamina.training.checkpoint import Checkpoint, read_checkpoint
from lamina.training.early_stopping import EarlyStopping
from lamina.training.journal import Journal
from lamina.training.progress import Progress
from lamina.training.signals import StopOnSignal
from lamina.training.stop_below import StopBelow
from lamina.training.tensorboard import TensorBoard
from lamina.training.time_limit import TimeLimit
from training.problems import blobs, make_step, stream, weights_of


class At(Callback):
    """Does something after one update."""

    def __init__(self, step: int, action: object) -> None:
        self.step, self.action = step, action

    def on_step(self, run: Run) -> None:
        if run.steps == self.step:
            self.action()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_run_after_the_step_and_handlers_come_back(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    stop = StopOnSignal()
    step = make_step()
    fit(step, stream(), max_epochs=9, callbacks=[At(10, lambda: os.kill(os.getpid(), number)), stop])
    assert stop.received == number
    assert int(step.optimizer.state[step.parameters[0]]["step"]) == 10
    assert signal.getsignal(number) is before


def test_second_signal_is_not_caught() -> None:
    stop = StopOnSignal()

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt):
        fit(make_step(), stream(), max_epochs=9, callbacks=[At(3, twice), stop])


def test_a_signal_before_the_first_step_is_not_lost() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        history = fit(make_step(), stream(), max_epochs=9, callbacks=[stop])
    assert stop.received == signal.SIGINT
    assert history.records == []
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_after_the_last_step_is_handed_on() -> None:
    with pytest.raises(KeyboardInterrupt), StopOnSignal() as stop:
        fit(make_step(), stream(), max_epochs=1, callbacks=[stop])
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def run_kept(folder: Path, epochs: int, *more: Callback, resume: bool = False) -> torch.Tensor:
    """A run with a journal and a checkpoint after every update."""
    torch.manual_seed(3)
    step = make_step(dropout=0.4)
    torch.manual_seed(4)
    generations = Generations(folder / "checkpoint")
    callbacks: list[Callback] = [EarlyStopping("loss", 50), *more, Journal(folder / "history.jsonl")]
    callbacks.append(Checkpoint(generations, callbacks, {"run": "test"}, seconds=0.0))
    newest = generations.latest() if resume else None
    state = None if newest is None else read_checkpoint(newest, callbacks)
    fit(step, stream(), max_epochs=epochs, callbacks=callbacks, state=state)
    return weights_of(step.model)


def test_H17_checkpoint_on_disk_resumes_to_the_same_bits_and_log(tmp_path: Path) -> None:
    class Gone(Exception):
        pass

    def fail() -> None:
        raise Gone

    (tmp_path / "whole").mkdir(), (tmp_path / "cut").mkdir()
    whole = run_kept(tmp_path / "whole", 4, Callback())
    with pytest.raises(Gone):
        run_kept(tmp_path / "cut", 4, At(17, fail))
    assert torch.equal(run_kept(tmp_path / "cut", 4, Callback(), resume=True), whole)
    logs = [(tmp_path / name / "history.jsonl").read_bytes() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_H19_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    run_kept(tmp_path, 2)
    for record in ({"epoch": 3, "loss": 1.0}, {"epoch": 4, "loss": 1.0}):
        from lamina.io import append_record

        append_record(tmp_path / "history.jsonl", record)
    run_kept(tmp_path, 3, resume=True)
    assert [r["epoch"] for r in read_records(tmp_path / "history.jsonl")] == [1, 2, 3]


def test_R16_a_state_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    step = make_step()

    def poison() -> None:
        with torch.no_grad():
            step.model[0].weight.fill_(float("nan"))

    generations = Generations(tmp_path / "checkpoint")
    keep = Checkpoint(generations, [], {}, seconds=0.0)
    fit(step, stream(), max_epochs=2, callbacks=[At(5, poison), keep])
    newest = generations.latest()
    assert newest is not None and newest.meta["steps"] == 4
    assert torch.isfinite(read_checkpoint(newest, [])["run"]["step"]["model"]["0.weight"]).all()


def test_checkpoint_of_other_callbacks_is_refused(tmp_path: Path) -> None:
    run_kept(tmp_path, 1)
    newest = Generations(tmp_path / "checkpoint").latest()
    assert newest is not None
    with pytest.raises(CheckpointError, match="callbacks"):
        read_checkpoint(newest, [Callback()])


def test_progress_counts_steps_and_estimates_what_is_left() -> None:
    seen: list[tuple[float, float | None]] = []
    show = Progress(lambda run, fraction, seconds, left: seen.append((fraction, left)), every=0.0)
    fit(make_step(), stream(), max_epochs=2, callbacks=[show])
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert seen[-1][1] == pytest.approx(0.0)
    assert all(left is not None and left >= 0 for _, left in seen)


def test_time_limit_stops_in_the_middle_of_an_epoch() -> None:
    step = make_step()
    fit(step, stream(), max_epochs=50, callbacks=[At(3, lambda: time.sleep(0.05)), TimeLimit(0.04 / 60)])
    assert int(step.optimizer.state[step.parameters[0]]["step"]) == 3


def test_stop_below_ends_when_the_figure_is_reached() -> None:
    history = fit(make_step(), stream(), max_epochs=50, callbacks=[StopBelow("loss", 0.5)])
    losses = history.series("loss")
    assert losses[-1] <= 0.5 and all(loss > 0.5 for loss in losses[:-1])


def test_tensorboard_gets_every_figure(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(make_step(), stream(), max_epochs=3, callbacks=[TensorBoard(tmp_path)])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(history.series("loss"), rel=1e-6)


def test_the_monitor_finds_the_middle_of_epochs_of_different_lengths() -> None:
    from lamina.data.growing import GrowingBatches
    from lamina.training.monitor import Monitor

    data = GrowingBatches(blobs(), lambda epoch: 20 if epoch == 0 else 100)
    history = fit(make_step(), data, max_epochs=2, callbacks=[Monitor()])
    assert all(record["grad_norm"] > 0 and record["update_ratio"] > 0 for record in history.records)
