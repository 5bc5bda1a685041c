"""The recipe: tiny trainings on bundled digits, and tables and checks of made results."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.recipes.catalogue import find_entry
from lamina.recipes.recipe import Options, Results, load_recipe
from lamina.recipes.salakhutdinov2008 import likelihoods
from lamina.recipes.salakhutdinov2008.likelihoods import conclude, plan
from lamina.recipes.salakhutdinov2008.published import PUBLISHED
from lamina.recipes.salakhutdinov2008.train import Schedule, binary_digits, machine, network
from lamina.training.threads import threads

FACTS: dict[str, Any] = {"digits": "mnist"}
SMALL: dict[str, Any] = {"digits": "digits", "epochs": 3, "examples": 300, "share": 0.02, "seed": 0}


def test_U01_a_small_machine_is_scored_by_both_ways_to_log_z() -> None:
    with threads(1):
        found, again = (machine(hidden=6, sweeps=2, **SMALL) for _ in range(2))
    assert again == found
    assert found["low"] <= found["log_z"] <= found["high"]
    assert abs(found["log_z"] - found["exact"]) < max(0.1, 4 * found["standard_error"])
    assert -64 * 0.7 < found["test"] < -5 and -64 * 0.7 < found["train"] < 0
    assert found["test"] < found["pseudo"] / 2


def test_U17_a_network_is_bounded() -> None:
    with threads(1):
        found = network(first=8, second=6, sweeps=2, scored=50, samples=20, **SMALL)
    assert found["test"] < found["estimate"] < found["test"] + 1.5
    assert found["test"] > -64 * 0.7


def test_digits_are_drawn_once_and_are_binary() -> None:
    train, test = binary_digits("digits", 100)
    assert train.shape == (100, 64) and set(train.unique().tolist()) == {0.0, 1.0}
    binary_digits.cache_clear()
    again, _ = binary_digits("digits", 100)
    assert torch.equal(train, again) and len(test) == 360


def test_k_rises_and_the_rate_falls() -> None:
    from lamina.data.batch import Batch
    from lamina.data.stream import InMemory
    from lamina.energy import RBM, ContrastiveDivergenceStep
    from lamina.training import Callback, Run, fit

    seen = []

    class Watch(Callback):
        def on_epoch(self, run: Run) -> None:
            step: Any = run.step
            seen.append((step.sweeps, step.optimizer.param_groups[0]["lr"]))

    step: Any = ContrastiveDivergenceStep(RBM(3, 2))
    fit(step, InMemory(Batch(torch.ones(4, 3)), 4), max_epochs=5, callbacks=[Schedule(25, 5), Watch()])
    assert [k for k, _ in seen] == [1, 7, 13, 19, 25]
    assert [rate for _, rate in seen] == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.01])


def made(options: Options, **changes: float) -> Results:
    results = Results()
    tests = {500: {1: -120.0, 3: -105.0, 25: -90.0}, 20: {1: -150.0}}
    for job in plan(options, FACTS, Results()).jobs:
        a: Any = job.arguments
        known = {"log_z": 300.0, "standard_error": 0.02, "low": None, "high": 300.1, "effective_chains": 50.0}
        if job.function is network:
            results[job.key] = {**known, "test": -86.0, "estimate": -84.0 + changes.get("estimate", 0.0)}
            continue
        exact = 300.0 + changes.get("gap", 0.05) if a["hidden"] == 20 else None
        test = tests[a["hidden"]][a["sweeps"]] + a["seed"] + (changes.get("cd25", 0.0) if a["sweeps"] == 25 else 0.0)
        results[job.key] = {**known, "exact": exact, "train": test + 2, "test": test, "pseudo": -70.0}
    return results


def test_tables_show_ours_beside_theirs() -> None:
    options = Options(seeds=2)
    outcome = conclude(options, FACTS, made(options))
    machines, deep = outcome.tables
    text = machines.to_markdown()
    assert "-125.53" in text and "451.3" in text and "[-inf, 300.10]" in text
    assert [row[0] for row in machines.rows] == ["CD-1", "CD-3", "CD-25", "CD-1, 20 hidden"]
    assert deep.rows[1][2] == PUBLISHED["network"].test
    assert all(check.met for check in outcome.checks) and len(outcome.checks) == 4
    assert "binary" in outcome.notes[2]


@pytest.mark.parametrize(
    ("changes", "number"), [({"gap": 0.2}, 0), ({"estimate": -3.0}, 1), ({"cd25": -30.0}, 2)], ids=str
)
def test_checks_notice(changes: dict[str, float], number: int) -> None:
    options = Options(seeds=1)
    checks = conclude(options, FACTS, made(options, **changes)).checks
    assert [check.met for check in checks].index(False) == number
    assert len(conclude(Options(seeds=1, quick=True), FACTS, made(Options(seeds=1, quick=True))).checks) == 2


def test_it_is_in_the_catalogue() -> None:
    entry, recipe = load_recipe("salakhutdinov2008")
    assert entry is find_entry("Salakhutdinov2008") and recipe is likelihoods.recipe
