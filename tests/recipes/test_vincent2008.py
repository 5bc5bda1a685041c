"""The table of eight sets: its jobs, what is made of results, and that it is filled bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lamina.errors import ConfigError
from lamina.recipes.pretraining.sets import SETS
from lamina.recipes.recipe import Options, Results
from lamina.recipes.vincent2008 import table
from lamina.recipes.vincent2008.published import PUBLISHED, SVM_RANGES
from lamina.recipes.vincent2008.table import METHODS, conclude, plan, recipe
from lamina.workflows.reproduce import reproduce

FACTS = {"digits": "mnist"}
OPTIONS = Options(seeds=2)


def finished(options: Options = OPTIONS, **other: float) -> Results:
    """Make results that are as published, but for the cells that are given in percent as ``method_set``."""
    results = Results()
    columns = {method.start: method.published for method in METHODS}
    for job in plan(options, FACTS, Results()).jobs:
        arguments: Any = job.arguments
        start = arguments.get("start")
        column = columns[start]
        percent = 2.0 if column is None else getattr(PUBLISHED[arguments["name"]], column)
        percent = other.get(f"{column}_{arguments['name'].replace('-', '_')}", percent)
        score = {"test_error": percent / 100, "valid_error": percent / 100}
        results[job.key] = score if start is None else {"depths": {"3": score}, "pretrain_loss": []}
    return results


def test_published_figures_are_the_printed_ones() -> None:
    row = PUBLISHED["bg-rand"]
    assert (row.svm, row.saa, row.dbn, row.sda, row.corruption) == (14.58, 11.28, 6.73, 10.38, 0.4)
    assert set(PUBLISHED) == set(SETS)
    convex = PUBLISHED["convex"]
    assert (convex.svm, convex.saa, convex.dbn, convex.sda, convex.corruption) == (19.13, 18.41, 18.63, 19.06, 0.1)
    assert all(low < PUBLISHED[name].svm < high for name, (low, high) in SVM_RANGES.items())


def test_a_job_a_seed_and_cell_and_one_for_each_support_vector_machine() -> None:
    jobs = plan(OPTIONS, FACTS, Results()).jobs
    assert len(jobs) == 8 * (1 + 2 * 4) == len({job.key for job in jobs})
    seeds = [job.arguments.get("seed", 0) for job in jobs]
    assert seeds == sorted(seeds)
    shares = {(j.arguments["name"], j.arguments["setting"]["pretrain"]["corruption"])
              for j in jobs if j.arguments.get("start") == "denoising"}  # fmt: skip
    assert shares == {(name, row.corruption) for name, row in PUBLISHED.items()}
    assert all(job.arguments["depths"] == [3] for job in jobs if "seed" in job.arguments)


def test_rows_are_done_as_asked_for_and_what_is_done_stays_in_the_table() -> None:
    some = Options(seeds=1, rows=("rot",))
    jobs = plan(some, FACTS, Results()).jobs
    assert {job.arguments["name"] for job in jobs} == {"rot"} and len(jobs) == 5
    done = Results({job.key: finished()[job.key] for job in jobs})
    other = Options(seeds=2, rows=("basic",))
    jobs = plan(other, FACTS, done).jobs
    assert [job.arguments["name"] for job in jobs].count("rot") == 5
    assert [job.arguments["name"] for job in jobs].count("basic") == 9
    rows = conclude(other, FACTS, Results({**done, **finished(other)})).tables[0].to_dict()["rows"]
    assert [row[0] for row in rows] == ["basic", "rot"]
    assert len(conclude(other, FACTS, Results()).tables[0].rows) == 0


def test_the_table_has_ours_and_the_published_figure_and_seeds_are_counted() -> None:
    overview, cells = conclude(OPTIONS, FACTS, finished(dbn_rot=11.0)).tables
    assert overview.rows[1] == ["rot", "11.11 (11.11)", "11.00 (10.30)", "10.30 (10.30)", "10.29 (10.29)", "2.00"]
    by_name = {(row[0], row[1]): row for row in cells.rows}
    assert len(by_name) == 40
    assert by_name["rot", "SVM-rbf"][2] == 1 and by_name["rot", "DBN-3"][2] == 2
    assert str(by_name["rot", "DBN-3"][-1]).startswith("worse")
    assert str(by_name["rot", "SAA-3"][-1]).startswith("same")
    assert by_name["convex", "SAA-3"][-1] == "not comparable"
    assert str(by_name["rect", "SAA-3"][-1]).startswith("same")
    assert "not MNIST" in conclude(OPTIONS, {"digits": "digits"}, Results()).notes[0]


def missed(**other: float) -> list[str]:
    return [check.what for check in conclude(OPTIONS, FACTS, finished(**other)).checks if not check.met]


def test_checks_hold_for_the_published_figures_and_notice_others() -> None:
    checks = conclude(OPTIONS, FACTS, finished()).checks
    assert len(checks) == 3 + 4 * 3 + 4 + 1 and all(check.met for check in checks)
    assert missed(svm_basic=3.4) == [missed(svm_basic=2.4)[0]] and "basic, SVM-rbf" in missed(svm_basic=3.4)[0]
    assert missed(saa_rot=11.7) == [] and "rot, SAA-3" in missed(saa_rot=11.9)[0]
    assert "basic, SdA-3" in missed(sda_basic=3.9)[0] and missed(sda_basic=3.7) == []
    assert missed(dbn_bg_rand=7.7, saa_bg_rand=10.6)[0].startswith("bg-rand: DBN-3 errs at least 3 points")
    assert missed(dbn_convex=40.0) == []
    assert missed(saa_convex=18.7) == ["convex: SAA-3 is the best of the three networks, as published"]


def test_the_quick_form_asks_only_that_something_is_learnt() -> None:
    quick = Options(seeds=1, quick=True)
    results = finished(quick, dbn_basic=90.0)
    checks = conclude(quick, FACTS, results).checks
    assert len(checks) == 8 and all(check.met for check in checks)
    bad = conclude(quick, FACTS, finished(quick, svm_rect=50.0, svm_rot=50.0)).checks
    assert [check.met for check in bad].count(False) == 1


def support_vectors(**arguments: Any) -> dict[str, Any]:
    """Stand in for the real job."""
    return {"test_error": 0.1, "valid_error": 0.2}


def networks(*, seed: int, **arguments: Any) -> dict[str, Any]:
    """Stand in for the real job."""
    return {"depths": {"3": {"test_error": 0.1 + seed / 100, "valid_error": 0.2}}, "pretrain_loss": []}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the jobs cost nothing."""
    monkeypatch.setattr(table, "settle_digits", lambda *_: "digits")
    monkeypatch.setattr(table, "networks", networks)
    monkeypatch.setattr(table, "support_vectors", support_vectors)
    return tmp_path / "table"


def test_a_folder_is_filled_row_by_row_and_seed_by_seed(small: Path) -> None:
    first = reproduce("vincent2008", quick=True, seeds=1, rows="rect", out=str(small))
    assert [row[0] for row in first.content["tables"][0]["rows"]] == ["rect"]
    assert first.content["jobs"] == 5
    second = reproduce("vincent2008", quick=True, seeds=2, rows="convex", resume=str(small))
    assert [row[0] for row in second.content["tables"][0]["rows"]] == ["rect", "convex"]
    assert second.content["jobs"] == 5 + 9 and second.content["seeds"] == 2
    kept = {row[1]: row[3] for row in first.content["tables"][1]["rows"]}
    assert {row[1]: row[3] for row in second.content["tables"][1]["rows"] if row[0] == "rect"} == kept
    log = (small / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(log) == 14
    # Lines of another machine's folder may be added.
    other = small.parent / "other"
    third = reproduce("vincent2008", quick=True, seeds=1, rows="rect", out=str(other))
    with (other / "results.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in log[5:])
    merged = reproduce("vincent2008", quick=True, seeds=2, rows="convex", resume=str(other))
    assert merged.content["tables"] == second.content["tables"]
    assert third.content["tables"] == first.content["tables"]


def test_rows_that_do_not_exist_are_refused() -> None:
    assert recipe.rows == tuple(PUBLISHED)
    with pytest.raises(ConfigError, match="no row"):
        reproduce("vincent2008", rows="basic,rott")
    with pytest.raises(ConfigError, match="as a whole"):
        reproduce("xor", rows="basic")
