"""The contest: the same budget for each, the test part looked at last, differences paired by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lamina.recipes.recipe import Job, Options, Results
from lamina.recipes.regularisation import contest
from lamina.recipes.regularisation.contest import Contest, conclude, contests, plan
from lamina.recipes.regularisation.regularisers import REGULARISERS

OPTIONS = Options(seeds=5)
FACTS: dict[str, Any] = {"data": "mnist", "sizes": [[1_000, 1_000], [10_000, 2_500]]}


def settled(jobs: Any, results: Results) -> None:
    """Make results: the third candidate is the best, and errors that follow from name, size and seed."""
    for job in jobs:
        arguments = job.arguments
        if job.function.__name__ == "trial":
            each = next(r for r in REGULARISERS if r.name == arguments["name"])
            place = list(each.candidates).index(arguments["setting"])
            results[job.key] = {"valid_error": 0.08 if place == 2 else 0.1, "valid_loss": 0.5}
        else:
            results[job.key] = {"test_error": error(**arguments), "test_loss": 0.5, "train_error": 0.0}


def error(*, name: str, size: int, seed: int, **rest: Any) -> float:
    gain = 0.03 if name == "augmentation" else 0.001 * len(name) * (name != "none")
    return 0.1 * 1_000 / size + 0.002 * seed - gain * 1_000 / size + 0.0001 * (seed % 2) * len(name)


def finished() -> Results:
    results = Results()
    while any(job.key not in results for job in plan(OPTIONS, FACTS, results).jobs):
        settled(plan(OPTIONS, FACTS, results).jobs, results)
    return results


def test_every_regulariser_has_the_same_number_of_candidates_or_nothing_to_set() -> None:
    counts = {each.name: len(each.candidates) for each in REGULARISERS}
    assert {name for name, count in counts.items() if count == 1} == {"none", "bagging, 5 networks"}
    assert {count for count in counts.values() if count > 1} == {4}
    assert len(counts) == len(REGULARISERS)
    for each in REGULARISERS:
        assert len({each.shown.format(**setting) for setting in each.candidates}) == len(each.candidates)


def test_measurements_come_only_after_all_trials_of_their_own_regulariser() -> None:
    results = Results()
    first = plan(OPTIONS, FACTS, results)
    assert {job.arguments["name"] for job in first.jobs if job.function.__name__ == "measurement"} == {
        "none",
        "bagging, 5 networks",
    }
    l2 = [job for job in first.jobs if job.arguments["name"] == "L2" and job.arguments["size"] == 1_000]
    assert [job.arguments["seed"] for job in l2] == [contest.TRIAL_SEED] * 4
    settled(l2[:3], results)
    assert len(plan(OPTIONS, FACTS, results).jobs) == len(first.jobs)
    settled(l2, results)
    added = [job for job in plan(OPTIONS, FACTS, results).jobs if job.key not in {one.key for one in first.jobs}]
    assert [(job.function.__name__, job.arguments["seed"]) for job in added] == [("measurement", s) for s in range(5)]
    assert {job.arguments["setting"]["nu"] for job in added} == {1e-3}


def test_the_number_of_jobs_to_come_is_said_beforehand() -> None:
    first = plan(OPTIONS, FACTS, Results())
    last = plan(OPTIONS, FACTS, finished())
    assert len(first.jobs) + first.later_jobs == len(last.jobs) == 2 * ((len(REGULARISERS) - 2) * 9 + 2 * 5)
    assert sum(job.cost for job in first.jobs) + first.later == pytest.approx(sum(job.cost for job in last.jobs))
    assert (last.later, last.later_jobs) == (0.0, 0)


def test_choice_goes_by_validation_error_then_by_loss_and_survives_divergence() -> None:
    one = next(each for some in contests(OPTIONS, FACTS) for each in some if each.each.name == "dropout")
    found = [
        {"valid_error": 0.2, "valid_loss": 0.1},
        {"valid_error": 0.1, "valid_loss": None},  # not finite, as the log holds it
        {"valid_error": 0.1, "valid_loss": 0.9},
        {"valid_error": 0.1, "valid_loss": 0.8},
    ]
    results = Results({job.key: value for job, value in zip(one.trials, found, strict=True)})
    assert one.chosen(results) == one.each.candidates[3]


def test_table_has_students_intervals_and_differences_paired_by_seed() -> None:
    results = finished()
    table = conclude(OPTIONS, FACTS, results).tables[0].to_dict()
    assert table["columns"][0] == "regulariser"
    for row in table["rows"]:
        for (size, _), (_, mean, difference) in zip(FACTS["sizes"], (row[1:4], row[4:7]), strict=True):
            errors = np.array([100 * error(name=row[0], size=size, seed=seed) for seed in range(5)])
            nothing = np.array([100 * error(name="none", size=size, seed=seed) for seed in range(5)])
            low, high = stats.t.interval(0.95, 4, loc=errors.mean(), scale=stats.sem(errors))
            assert (mean["value"], mean["low"], mean["high"]) == pytest.approx((errors.mean(), low, high))
            if row[0] == "none":
                assert difference is None
                continue
            low, high = stats.t.interval(0.95, 4, loc=(errors - nothing).mean(), scale=stats.sem(errors - nothing))
            assert (difference["value"], difference["low"], difference["high"]) == pytest.approx(
                ((errors - nothing).mean(), low, high)
            )
    l2 = next(row for row in table["rows"] if row[0] == "L2")
    assert l2[1] == "ν = 0.001"


def test_checks_notice_a_lab_that_does_not_learn() -> None:
    results = finished()
    assert all(check.met for check in conclude(OPTIONS, FACTS, results).checks)
    broken = Results(results)
    for key in broken:
        if '"name":"none"' in key:
            broken[key] = {"test_error": 0.9, "test_loss": 2.3, "train_error": 0.9}
    assert [check.met for check in conclude(OPTIONS, FACTS, broken).checks][:2] == [False, False]
    unmoved = Results(results)
    for key in unmoved:
        if '"name":"augmentation"' in key and key.startswith("measurement"):
            unmoved[key] = {**unmoved[key], "test_error": 0.2}
    assert [check.met for check in conclude(OPTIONS, FACTS, unmoved).checks] == [True, True, False]


def test_jobs_are_named_by_what_they_depend_on() -> None:
    keys = [job.key for job in plan(OPTIONS, FACTS, finished()).jobs]
    assert len(set(keys)) == len(keys)
    one = Contest(REGULARISERS[0], 10, 5, Options(1, data_dir="somewhere"), {"data": "digits"}).measurements({})[0]
    assert one.place == {"data_dir": "somewhere"}
    assert one.key == Job(one.function, one.arguments).key
