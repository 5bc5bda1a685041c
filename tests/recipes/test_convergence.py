"""The laboratory of rates: its quick form holds, and a method with wrong constants is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD

from lamina.cli.main import main
from lamina.recipes import convergence
from lamina.recipes.convergence import recipe
from lamina.recipes.draw import drawn
from lamina.recipes.quadratics import METHODS, SCHEDULES
from lamina.recipes.recipe import Job, Options, Outcome, Results
from lamina.recipes.runner import run_jobs

QUICK = Options(seeds=1, quick=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """All jobs of the quick form, done once."""
    return run_jobs(recipe, QUICK, {}, tmp_path_factory.mktemp("convergence")).results


def missed(found: Outcome) -> list[str]:
    return [check.what.split(",")[0] for check in found.checks if not check.met]


def rerun(results: Results, name: str) -> Results:
    """Return the results with the jobs that name a method or schedule done again."""
    jobs = recipe.plan(QUICK, {}, Results()).jobs
    again = {job.key: job.run() for job in jobs if name in job.arguments.values()}
    assert again
    return Results({**results, **again})


def test_O32_D10_quick_form_holds_and_draws_its_figures(results: Results) -> None:
    found = recipe.conclude(QUICK, {}, results)
    assert missed(found) == []
    for figure in found.figures:
        files = drawn(figure)
        assert files == drawn(figure)
        assert files[f"{figure.name}.png"].startswith(b"\x89PNG")


def test_jobs_are_pure_functions_of_their_arguments() -> None:
    jobs = recipe.plan(QUICK, {}, Results()).jobs
    assert len({job.key for job in jobs}) == len(jobs)
    short = {"steps": 20, "runs": 3, "kappa": 10.0, "dimensions": 5}
    for job in {job.function: job for job in jobs}.values():
        small = Job(job.function, {name: short.get(name, value) for name, value in job.arguments.items()})
        before = torch.get_rng_state()
        assert small.run() == small.run()
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["gradient descent, 2/(L + µ)", "heavy ball, Polyak's constants"])
def test_E31_wrong_constants_are_noticed(name: str, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """The course's 2/(L + 1) with µ = 1 is right by chance; half of it is not, and momentum without κ is not."""
    wrong = replace(METHODS[name], optimizer=lambda theta, kappa: SGD(theta, lr=1.0 / (kappa + 1.0), momentum=0.3))
    monkeypatch.setitem(METHODS, name, wrong)
    assert "log ρ is within 10% of the theory's for every method and κ" in missed(
        recipe.conclude(QUICK, {}, rerun(results, name))
    )


def test_a_rate_that_does_not_fall_is_noticed(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULES, "1/k", (SCHEDULES["constant"][0], -1.0))
    found = recipe.conclude(QUICK, {}, rerun(results, "1/k"))
    assert missed(found) == ["with noise the power of k is within 0.1 of the theory's"]


def test_a_newton_step_that_falls_short_and_a_saddle_that_holds_are_noticed(results: Results) -> None:
    jobs = recipe.plan(QUICK, {}, Results()).jobs
    made = Results(results)
    for job in jobs:
        if job.function is convergence.newton:
            made[job.key] = {"error": 0.5}
        if job.function is convergence.saddle:
            made[job.key] = {"path": [[1.0, 0.05], [0.5, 0.05], [0.2, 0.01]]}
    assert missed(recipe.conclude(QUICK, {}, made)) == [
        "Newton's method is at the minimum after one step",
        "Newton's method",
        "damped it leaves the saddle: abs(y) grows in every step",
    ]


def test_tables_of_made_results_hold_means_intervals_and_powers() -> None:
    options = Options(seeds=2, quick=True)
    made = Results()
    for job in recipe.plan(options, {}, Results()).jobs:
        a: Any = job.arguments
        if job.function is convergence.descent:
            iterations = round(a["kappa"] ** METHODS[a["method"]].power * 10) + 2 * a["seed"]
            made[job.key] = {"rate": 0.5 + 0.1 * a["seed"], "iterations": iterations, "over": 0.5, "curve": [[0, 1.0]]}
        elif job.function is convergence.noisy:
            made[job.key] = {"steps": [1, 10], "gaps": [1.0, 0.1], "power": -1.0}
        elif job.function is convergence.newton:
            made[job.key] = {"error": 1e-15 * (1 + a["seed"])}
        else:
            made[job.key] = {"path": [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]}
    tables = [table.to_dict() for table in recipe.conclude(options, {}, made).tables]
    first = tables[0]["rows"][0]
    assert first[:2] == ["gradient descent, 1/L", "1 - 1/κ"]
    assert first[2]["value"] == pytest.approx(0.55)
    assert first[2]["high"] - first[2]["value"] == pytest.approx(12.7062 * 0.05, rel=1e-4)  # t₁ · s / √2
    assert first[3] == pytest.approx(0.9)
    assert tables[0]["rows"][-1] == ["Newton, undamped", "0", "2e-15", 0.0, "2e-15", 0.0]
    powers = {row[0]: row for row in tables[1]["rows"]}
    assert powers["gradient descent, 1/L"][1:3] == [101.0, 1001.0]
    assert powers["gradient descent, 1/L"][3]["value"] == pytest.approx(0.996, abs=1e-3)
    assert powers["conjugate gradients"][-1] == "at most κ^0.5"


def test_command_writes_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "convergence", "--quick", "--seeds", "1", "--out", str(tmp_path / "c"), "--quiet"]) == 0
    assert "| Newton, undamped " in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "c").glob("*.svg")} == {
        "rates.svg", "valley.svg", "noise.svg", "saddle.svg"
    }  # fmt: skip
