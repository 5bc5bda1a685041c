"""A recipe made for the tests: squares in a first stage, and in a second one what follows from their sum."""

from __future__ import annotations

import torch

from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Column, Table

CALLS: list[str] = []
STOP_AFTER: list[int] = []
"""With a number in it the run is killed, as by a signal, once so many jobs were begun."""


def square(*, number: int) -> Result:
    """Square a number, and draw one that depends on nothing else."""
    if STOP_AFTER and len(CALLS) >= STOP_AFTER[0]:
        raise KeyboardInterrupt
    CALLS.append(f"square {number}")
    drawn = torch.rand((), generator=torch.Generator().manual_seed(number)).item()
    return {"square": number * number, "drawn": drawn, "nothing": float("nan")}


def shift(*, total: int, seed: int) -> Result:
    """Add a seed to the total of the first stage."""
    CALLS.append(f"shift {seed}")
    return {"value": total + seed}


def _stages(options: Options, results: Results) -> tuple[list[Job], list[Job] | None]:
    first = [Job(square, {"number": n}) for n in range(4)]
    if not results.have(first):
        return first, None
    total = sum(found["square"] for found in results.of(first))
    return first, [Job(shift, {"total": total, "seed": seed}) for seed in range(options.seeds)]


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the first stage, then the second."""
    first, second = _stages(options, results)
    return Plan(first, options.seeds, options.seeds) if second is None else Plan([*first, *second])


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make a table of both stages."""
    first, second = _stages(options, results)
    assert second is not None
    rows = [(job.key, float(found["drawn"])) for job, found in zip(first, results.of(first), strict=True)]
    rows += [(job.key, float(found["value"])) for job, found in zip(second, results.of(second), strict=True)]
    assert all(found["nothing"] is None for found in results.of(first))  # as it is read back from the log
    figure = Figure("line", "a line", lambda canvas: canvas.add_subplot().plot([0, 1], [0, 1]))
    table = Table("Values", [Column("job"), Column("value", ".17g")], rows, facts["note"])
    return Outcome([table], [Check("the total is 14", rows[-1][1] >= 14, f"{rows[-1][1]}")], [figure])


recipe = Recipe(plan, conclude, lambda options, say: {"note": "settled"})
