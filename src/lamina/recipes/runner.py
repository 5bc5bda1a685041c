"""Runs a recipe's jobs, one line of the log a finished job, so that a run that was killed goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.io import append_record, read_records
from lamina.recipes.recipe import Facts, Job, Options, Plan, Recipe, Result, Results
from lamina.training.threads import threads

LOG = "results.jsonl"
_KNOWN_FROM = 0.02


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is.

    Attributes:
        done: Jobs finished, those of an earlier, interrupted run included.
        total: Jobs in all, as far as is known.
        seconds_left: An estimate, or None until this run has done a fiftieth of its work.
        last: What the job that ended last was.
    """

    done: int
    total: int
    seconds_left: float | None
    last: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What the log holds when all jobs are done.

    Attributes:
        results: Of every job.
        seconds: Processor seconds of all jobs, those of an interrupted run included.
        note: What was dropped at the end of a log that was cut off; empty if nothing was.
    """

    results: Results
    seconds: float
    note: str


def run_jobs(
    recipe: Recipe,
    options: Options,
    facts: Facts,
    folder: Path,
    *,
    workers: int = 1,
    tell: Callable[[Standing], None] | None = None,
) -> Finished:
    """Do all jobs of a recipe that the folder's log does not hold yet.

    Each job runs on one thread, in this process or in one of several, so its result is the same whatever ``workers``
    is. What a job raises ends the run; the jobs before it stay in the log.

    Args:
        recipe: What is run.
        options: What was asked for.
        facts: What ``recipe.settle`` found.
        folder: Holds the log.
        workers: Processes that work at once; 1 stays in this one.
        tell: Called when a job is done, and once before the first.

    Returns:
        The results of all jobs that the recipe plans.
    """
    log = folder / LOG
    before = read_records(log) if log.exists() else []
    results = Results({str(record["job"]): record["result"] for record in before})
    seconds = {str(record["job"]): float(record["seconds"]) for record in before}
    began, spent = time.monotonic(), 0.0
    last = ""

    def standing(plan: Plan) -> Standing:
        done = [job for job in plan.jobs if job.key in results]
        left = sum(job.cost for job in plan.jobs if job.key not in results) + plan.later
        known = spent > 0 and spent >= _KNOWN_FROM * (spent + left)
        per_cost = (time.monotonic() - began) / spent if known else None
        return Standing(
            len(done),
            len(plan.jobs) + plan.later_jobs,
            None if per_cost is None else per_cost * left,
            last,
        )

    with _crew(workers) as work:
        while True:
            plan = recipe.plan(options, facts, results)
            todo = [job for job in plan.jobs if job.key not in results]
            if tell is not None:
                tell(standing(plan))
            if not todo:
                break
            for job, result, used in work(todo):
                append_record(log, {"job": job.key, "seconds": round(used, 3), "result": result})
                results[job.key], seconds[job.key] = result, used
                spent, last = spent + job.cost, job.words
                if tell is not None:
                    tell(standing(plan))
    keys = [job.key for job in plan.jobs]
    note = getattr(before, "note", "")
    return Finished(Results({key: results[key] for key in keys}), sum(seconds[key] for key in keys), note)


_Work = Callable[[Sequence[Job]], Iterator[tuple[Job, Result, float]]]


@contextmanager
def _crew(workers: int) -> Iterator[_Work]:
    """Give a function that does jobs and yields each with its result and processor seconds, as they are done."""
    if workers == 1:
        yield lambda jobs: ((job, *_do(job)) for job in jobs)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:

        def work(jobs: Sequence[Job]) -> Iterator[tuple[Job, Result, float]]:
            waiting = {pool.submit(_do, job): job for job in jobs}
            for future in as_completed(waiting):
                yield waiting[future], *future.result()

        try:
            yield work
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _do(job: Job) -> tuple[Result, float]:
    began = time.process_time()
    with threads(1):
        result = job.run()
    return _as_logged(result), time.process_time() - began


def _as_logged(result: Result) -> dict[str, Any]:
    """Return a result as it will be read back from the log, so that a resumed run sees the same.

    Returns:
        The result in JSON's types.
    """
    from lamina.io.strict_json import plain

    logged = plain(result)
    assert isinstance(logged, dict)
    return logged
