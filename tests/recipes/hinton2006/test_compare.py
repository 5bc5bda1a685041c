"""The comparison: which jobs, what the tables say, and checks that notice a network no better than components."""

from __future__ import annotations

from typing import Any

import pytest

from lamina.recipes.catalogue import find_entry
from lamina.recipes.draw import drawn
from lamina.recipes.hinton2006.compare import SIZES, conclude, plan, settle
from lamina.recipes.recipe import Options, Results, load_recipe

OPTIONS = Options(seeds=2, data_dir="somewhere")


def made(data: str, **changed: float) -> Results:
    """Results as of a good run: errors by kind and code, a tenth apart by seed."""
    size, results = SIZES[data], Results()
    errors = {"pca": 13.87, "pca2": 50.0, "machines": 3.0, "random": 4.0, "machines2": 30.0, **changed}
    for job in plan(OPTIONS, {"data": data}, results).jobs:
        arguments = job.arguments
        if job.function.__name__ == "originals":
            results[job.key] = {"shown": [[0] * 4] * 10, "digits": [0, 1], "side": 2}
            continue
        kind = arguments.get("start", "pca") + ("2" if arguments["code"] == 2 else "")
        error = errors[kind] + 0.1 * arguments.get("seed", 0)
        found: dict[str, Any] = {
            "train_error": error - 0.5, "test_error": error, "test_low": error - 0.2, "test_high": error + 0.2,
            "shown": [[9] * 4] * 10, "start_error": 20.0,
        }  # fmt: skip
        if arguments["code"] == 2:
            found |= {
                "map": [[0.0, 0.0], [1.0, 1.0]],
                "neighbour_error": errors.get("near", 0.1) if "seed" in arguments else 0.6,
            }
        results[job.key] = found
    assert size.code != 2
    return results


def test_the_jobs_are_the_papers_networks() -> None:
    jobs = plan(OPTIONS, {"data": "mnist"}, Results()).jobs
    trainings = [job for job in jobs if job.function.__name__ == "deep"]
    assert len({job.key for job in jobs}) == len(jobs) == 1 + 2 + 3 * 2
    assert {tuple(job.arguments["hidden"]) for job in trainings} == {(1000, 500, 250)}
    assert {(job.arguments["start"], job.arguments["code"]) for job in trainings} == {
        ("machines", 30), ("random", 30), ("machines", 2),
    }  # fmt: skip
    assert all(job.place == {"data_dir": "somewhere"} for job in jobs)


def test_the_quick_form_needs_no_mnist() -> None:
    assert settle(Options(seeds=1, quick=True, offline=True), print) == {"data": "digits"}


def test_tables_of_a_good_run() -> None:
    outcome = conclude(OPTIONS, {"data": "mnist"}, made("mnist"))
    assert all(check.met for check in outcome.checks) and len(outcome.checks) == 5
    ours, published = (table.to_dict() for table in outcome.tables)
    first = ours["rows"][0]
    assert first[0] == "deep, unrolled machines, 1000-500-250-30"
    assert first[2] == pytest.approx(2.55) and first[3]["value"] == pytest.approx(3.05)
    assert first[3]["low"] == pytest.approx(2.85) and first[4] is None
    assert ours["rows"][2][4] == pytest.approx(10.0) and ours["rows"][-1][4] == pytest.approx(60.0)
    assert [(row[1], row[3]) for row in published["rows"]] == [(13.87, "the same"), (3.0, "higher"), (8.01, "not run")]
    for figure in outcome.figures:
        assert len(drawn(figure)) == 2


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"machines": 7.0}, {0}),
        ({"machines2": 50.0}, {1}),
        ({"near": 0.7}, {2}),
        ({"machines": 25.0}, {0, 3}),
        ({"pca": 13.5}, {4}),
    ],
)
def test_checks_notice_what_does_not_hold(changed: dict[str, float], failing: set[int]) -> None:
    checks = conclude(OPTIONS, {"data": "mnist"}, made("mnist", **changed)).checks
    assert {k for k, check in enumerate(checks) if not check.met} == failing


def test_other_digits_are_not_held_against_the_published_figures() -> None:
    outcome = conclude(OPTIONS, {"data": "digits"}, made("digits"))
    assert len(outcome.tables) == 1 and len(outcome.checks) == 4


def test_it_is_in_the_catalogue() -> None:
    assert load_recipe("hinton2006") == (find_entry("hinton2006"), load_recipe("hinton2006")[1])
