"""The courses' lab rows: the quick forms hold, their jobs are pure, and a broken one is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lamina.recipes import parity, universal_approximation, xor
from lamina.recipes.catalogue import ENTRIES
from lamina.recipes.draw import drawn
from lamina.recipes.recipe import Job, Options, Outcome, Recipe, Results, load_recipe
from lamina.recipes.runner import run_jobs
from lamina.training.threads import threads

QUICK = Options(seeds=1, quick=True)


def outcome(recipe: Recipe, folder: Path, options: Options = QUICK) -> Outcome:
    done = run_jobs(recipe, options, {}, folder)
    return recipe.conclude(options, {}, done.results)


def missed(found: Outcome) -> list[str]:
    return [check.what for check in found.checks if not check.met]


@pytest.mark.parametrize("lab", [xor, parity, universal_approximation], ids=lambda lab: lab.__name__.split(".")[-1])
def test_C37_C38_C43_quick_form_holds_and_draws_its_figures(lab: Any, tmp_path: Path) -> None:
    found = outcome(lab.recipe, tmp_path)
    assert found.checks
    assert missed(found) == []
    for figure in found.figures:
        files = drawn(figure)
        assert files == drawn(figure)  # the same bytes again
        assert files[f"{figure.name}.png"].startswith(b"\x89PNG")
        assert b"<svg" in files[f"{figure.name}.svg"]


@pytest.mark.parametrize("lab", [xor, parity, universal_approximation], ids=lambda lab: lab.__name__.split(".")[-1])
def test_jobs_are_pure_functions_of_their_arguments(lab: Any) -> None:
    jobs = lab.recipe.plan(QUICK, {}, Results()).jobs
    assert len({job.key for job in jobs}) == len(jobs)
    with threads(1):
        for job in (jobs[0], jobs[-1]):
            short = {"updates": 20, "iterations": 5}
            job = Job(job.function, {name: short.get(name, value) for name, value in job.arguments.items()})
            torch.manual_seed(1)
            before = torch.get_rng_state()
            first = job.run()
            assert torch.equal(torch.get_rng_state(), before), "the default generator was used"
            torch.manual_seed(2)
            assert job.run() == first


def test_W02_W03_W05_the_tables_of_the_course() -> None:
    hidden = {
        "difference": [[0, 1], [1, 1], [0, 0], [0, 1]],
        "sum": [[0, 0], [0, 1], [0, 1], [1, 1]],
        "relu": [[0, 0], [1, 0], [1, 0], [2, 1]],
    }
    for form, values in hidden.items():
        assert xor.wired(form) == {"hidden": values, "output": [0, 1, 1, 0]}


def test_W04_least_squares_gives_a_half_everywhere() -> None:
    found = xor.line()
    assert found["weight"] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert found["bias"] == pytest.approx(0.5)
    assert found["output"] == pytest.approx([0.5] * 4)
    assert found["mse"] == pytest.approx(0.25)


def test_a_broken_wiring_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = xor.xor_network

    def broken(form: Any) -> nn.Sequential:
        net = good(form)
        if form == "sum":
            with torch.no_grad():
                net[2].bias.add_(1.0)
        return net

    monkeypatch.setattr(xor, "xor_network", broken)
    assert missed(outcome(xor.recipe, tmp_path)) == [
        "the hand-wired nets have the hidden and output values of the course's tables"
    ]


def test_a_broken_parity_net_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = parity.parity_network

    def broken(bits: int) -> nn.Sequential:
        net = good(bits)
        with torch.no_grad():
            net[2].weight[0, -1] *= -1.0  # the unit "all bits are set"
        return net

    monkeypatch.setattr(parity, "parity_network", broken)
    found = outcome(parity.recipe, tmp_path)
    assert missed(found) == ["the hand-wired net is right on all 2^n inputs for every n"]


def test_C37_wrong_outputs_are_counted_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    for constant in (0.0, 1.0):
        net = nn.Sequential(nn.Linear(4, 1))
        with torch.no_grad():
            net[0].weight.zero_()
            net[0].bias.fill_(constant)
        monkeypatch.setattr(parity, "parity_network", lambda bits, net=net: net)
        assert parity.wired(4) == {"inputs": 16, "wrong": 8}


def test_training_that_does_not_train_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = xor.train_many
    monkeypatch.setattr(xor, "train_many", lambda *a, **k: good(*a, **{**k, "rate": 0.0}))
    assert "2-12-1 does so from more starts than 2-2-1" in missed(outcome(xor.recipe, tmp_path))


def test_a_construction_that_does_not_improve_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = universal_approximation.approximate
    monkeypatch.setattr(
        universal_approximation, "approximate", lambda f, low, high, units, slope: good(f, low, high, 8, slope=slope)
    )
    assert set(missed(outcome(universal_approximation.recipe, tmp_path))) == {
        "the constructed networks' error falls with every increase of the units",
        "in one dimension the steps err by at most half a cell times the steepest slope",
    }


def test_C43_errors_of_a_constant_are_those_of_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of height 2 for the line x on [-1, 1]: error of x less ±½, whose mean square is 1/12 and greatest ½."""
    line = universal_approximation.Target(1, "x", lambda x: x, 1.0)
    monkeypatch.setitem(universal_approximation.TARGETS, "line", line)
    found = universal_approximation.constructed("line", 1, None)
    assert found["rms"] == pytest.approx((1 / 12) ** 0.5, rel=2e-3)
    assert found["most"] == pytest.approx(0.5, rel=1e-6)
    assert found["units"] == 1


def test_C43_the_steepest_slopes_that_are_stated_are_right() -> None:
    x = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    for target in universal_approximation.TARGETS.values():
        if target.dimensions == 1:
            slope = (target.function(x).diff() / x.diff()).abs().max().item()
            assert slope <= target.steepest * (1 + 1e-9)
            assert slope > 0.9 * target.steepest


def test_every_entry_leads_to_a_recipe() -> None:
    for entry in ENTRIES:
        found, recipe = load_recipe(entry.name.upper().replace("-", "_"))
        assert found is entry
        assert isinstance(recipe, Recipe)
        assert entry.claim.endswith(".")
