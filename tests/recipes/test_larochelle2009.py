"""The table of depths: its jobs, what is made of results."""

from __future__ import annotations

from typing import Any

from lamina.recipes.draw import drawn
from lamina.recipes.larochelle2009.published import PUBLISHED
from lamina.recipes.larochelle2009.table import DEPTHS, STARTS, conclude, plan, recipe
from lamina.recipes.recipe import Options, Results

FACTS = {"digits": "mnist"}
OPTIONS = Options(seeds=2)


def finished(options: Options = OPTIONS, **other: float) -> Results:
    """Make results that are as published, but for the cells that are given in percent as ``start_set_depth``."""
    results = Results()
    for job in plan(options, FACTS, Results()).jobs:
        arguments: Any = job.arguments
        start, name = arguments["start"], arguments["name"]
        depths = {}
        for depth in arguments["depths"]:
            percent = 2.0 if start == "today" else PUBLISHED[name][start][depth - 1]
            percent = other.get(f"{start}_{name}_{depth}", percent)
            depths[str(depth)] = {"test_error": percent / 100, "valid_error": percent / 100}
        results[job.key] = {"depths": depths, "pretrain_loss": []}
    return results


def test_published_figures_are_the_printed_ones() -> None:
    assert PUBLISHED["basic"]["rbm"] == (3.17, 2.74, 2.71, 2.72)
    assert PUBLISHED["rot"]["random"][1] == 10.63


def test_a_job_a_set_start_and_seed_trains_all_depths() -> None:
    jobs = plan(OPTIONS, FACTS, Results()).jobs
    assert len(jobs) == 2 * 4 * 2 == len({job.key for job in jobs})
    assert all(job.arguments["depths"] == [1, 2, 3, 4] for job in jobs)
    assert {len(job.arguments["setting"]["widths"]) for job in jobs} == {4}
    assert {job.arguments["name"] for job in plan(Options(1, rows=("rot",)), FACTS, Results()).jobs} == {"rot"}
    assert recipe.rows == ("basic", "rot")


def test_the_tables_have_ours_and_the_published_figures() -> None:
    small, rotation, cells = conclude(OPTIONS, FACTS, finished(rbm_rot_3=8.0)).tables
    assert small.rows[0] == ["random", "4.14 (4.14)", "4.03 (4.03)", "4.24 (4.24)", "4.47 (4.47)"]
    assert small.rows[3] == ["today", "2.00", "2.00", "2.00", "2.00"]
    assert rotation.rows[2][3] == "8.00 (8.80)"
    by_name = {tuple(row[:3]): row for row in cells.rows}
    assert len(by_name) == 2 * len(STARTS) * len(DEPTHS)
    assert str(by_name["rot", "RBMs", 3][-1]).startswith("better")
    assert str(by_name["rot", "RBMs", 4][-1]).startswith("same")
    assert by_name["basic", "today", 1][-1] == ""


def missed(**other: float) -> list[str]:
    return [check.what for check in conclude(OPTIONS, FACTS, finished(**other)).checks if not check.met]


def test_checks_hold_for_the_published_figures_and_notice_others() -> None:
    checks = conclude(OPTIONS, FACTS, finished()).checks
    assert len(checks) == 2 * 3 + 2 * 2 * 2 + 1 and all(check.met for check in checks)
    assert "basic), RBMs" in missed(rbm_basic_4=1.7)[0] and "every depth" not in missed(rbm_basic_4=1.8)[0]
    assert missed(rbm_basic_4=2.6) == [] and "four not less than three" in missed(rbm_basic_4=2.4)[0]
    assert any("two layers err less" in what for what in missed(autoencoder_rot_1=9.8))
    assert missed(rbm_rot_1=11.4) == [] and "1.5 points" in missed(rbm_rot_1=8.9)[0]
    assert [what for what in missed(rbm_basic_2=4.03) if "less than random" in what] != []
    assert missed(rbm_basic_1=3.5, rbm_basic_2=3.38) == []
    assert any("at most as much as autoencoders" in what for what in missed(rbm_basic_2=3.39))
    assert any("autoencoders err less than random" in what for what in missed(autoencoder_rot_4=11.8))


def test_what_is_not_done_is_not_judged() -> None:
    results = finished()
    for key in [key for key in results if '"name":"rot"' in key or '"start":"random"' in key]:
        del results[key]
    outcome = conclude(OPTIONS, FACTS, results)
    assert len(outcome.tables) == 2
    assert [check.what for check in outcome.checks if "random" in check.what] == []
    assert all(check.met for check in outcome.checks) and len(outcome.checks) == 5
    assert conclude(OPTIONS, FACTS, Results()).figures == []


def test_the_figure_is_drawn_and_the_quick_form_judges_little() -> None:
    (figure,) = conclude(OPTIONS, FACTS, finished()).figures
    assert drawn(figure)["depth.png"].startswith(b"\x89PNG")
    quick = Options(seeds=1, quick=True)
    checks = conclude(quick, FACTS, finished(quick, rbm_basic_1=90.0)).checks
    assert len(checks) == 2 and all(check.met for check in checks)
    assert not all(check.met for check in conclude(quick, FACTS, finished(quick, today_rot_2=90.0)).checks)
