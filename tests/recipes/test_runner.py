"""The runner: every job once, whatever happens in between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lamina.errors import CheckpointError
from lamina.recipes import xor
from lamina.recipes.recipe import Job, Options, Results
from lamina.recipes.runner import LOG, Standing, run_jobs
from recipes import made

OPTIONS, FACTS = Options(seeds=3), {"note": "settled"}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No call of another test."""
    made.CALLS.clear()
    made.STOP_AFTER.clear()
    yield
    made.STOP_AFTER.clear()


def whole(folder: Path) -> Results:
    return run_jobs(made.recipe, OPTIONS, FACTS, folder).results


def test_every_job_of_both_stages_is_done_once_and_logged_in_order(tmp_path: Path) -> None:
    told: list[Standing] = []
    done = run_jobs(made.recipe, OPTIONS, FACTS, tmp_path, tell=told.append)
    assert [*(f"square {n}" for n in range(4)), *(f"shift {n}" for n in range(3))] == made.CALLS
    assert [found["value"] for key, found in done.results.items() if key.startswith("shift")] == [14, 15, 16]
    assert len((tmp_path / LOG).read_text().splitlines()) == 7
    assert [at.done for at in told] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 7]
    assert {at.total for at in told} == {7}  # those to come are counted
    assert told[0].seconds_left is None
    assert told[2].last == "square, number 1"
    assert told[-1].seconds_left == 0.0


@pytest.mark.parametrize("after", range(5))
def test_killed_after_any_job_it_goes_on_without_doing_one_again(after: int, tmp_path: Path) -> None:
    expected = whole(tmp_path / "whole") if (tmp_path / "whole").mkdir() is None else None
    made.CALLS.clear()
    (tmp_path / "cut").mkdir()
    if after < 4:
        made.STOP_AFTER.append(after)
        with pytest.raises(KeyboardInterrupt):
            whole(tmp_path / "cut")
        made.STOP_AFTER.clear()
    assert whole(tmp_path / "cut") == expected
    assert len(made.CALLS) == 7
    assert len(set(made.CALLS)) == 7


def test_time_left_counts_what_is_not_named_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    still = SimpleNamespace(monotonic=lambda: float(next(clock)), process_time=lambda: 0.0)
    monkeypatch.setattr("lamina.recipes.runner.time", still)
    told: list[Standing] = []
    run_jobs(made.recipe, OPTIONS, FACTS, tmp_path, tell=told.append)
    # by this clock one second a job: after the first of 4 + 3, six are left
    assert told[1].seconds_left == 6.0


def test_a_line_that_was_cut_off_is_done_again_and_said(tmp_path: Path) -> None:
    expected = whole(tmp_path)
    log = tmp_path / LOG
    log.write_bytes(log.read_bytes()[:-9])
    made.CALLS.clear()
    done = run_jobs(made.recipe, OPTIONS, FACTS, tmp_path)
    assert done.results == expected
    assert made.CALLS == ["shift 2"]
    assert "was cut off" in done.note


def test_a_changed_line_is_refused(tmp_path: Path) -> None:
    whole(tmp_path)
    log = tmp_path / LOG
    log.write_bytes(log.read_bytes().replace(b'"square":9', b'"square":8'))
    with pytest.raises(CheckpointError, match="line 4"):
        whole(tmp_path)


def test_more_seeds_keep_the_jobs_that_they_share(tmp_path: Path) -> None:
    whole(tmp_path)
    made.CALLS.clear()
    run_jobs(made.recipe, Options(seeds=5), FACTS, tmp_path)
    assert made.CALLS == ["shift 3", "shift 4"]


def test_a_key_holds_the_arguments_and_not_the_place() -> None:
    one = Job(made.square, {"number": 1}, place={"data_dir": "a"})
    assert one.key == Job(made.square, {"number": 1}, cost=9.0).key == 'square {"number":1}'
    assert Job(made.shift, {"total": 1, "seed": 2}).key == Job(made.shift, {"seed": 2, "total": 1}).key


@pytest.mark.slow
def test_several_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    options = Options(seeds=1, quick=True)
    for name, workers in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        run_jobs(xor.recipe, options, {}, tmp_path / name, workers=workers)
    one, two = (run_jobs(xor.recipe, options, {}, tmp_path / name).results for name in ("one", "two"))
    assert one == two
