"""The race: the same network, start, pictures and processor time for each optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lamina.recipes.martens2010.contestants import CONTESTANTS
from lamina.recipes.martens2010.problems import PROBLEMS, settle_pictures
from lamina.recipes.martens2010.published import REPORTED
from lamina.recipes.martens2010.train import components, training
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Cell, Column, Estimate, Table

SECONDS, QUICK_SECONDS = 900.0, 90.0
"""Processor seconds of each training."""

LOOKS = 31
WATCHED = 5_000
REFERENCE = "SGD, Nesterov momentum"
"""Whose final loss the others are timed against."""

_COLOURS = ("#bab0ac", "#4c78a8", "#54a24b", "#e45756", "#f58518", "#b279a2")


def settle(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Find out whether MNIST can be had, and with that the problems.

    Returns:
        ``problems``, and ``seconds`` for each training.
    """
    pictures = settle_pictures(options.data_dir, options.offline, say)
    return {"problems": [pictures, "curves"], "seconds": QUICK_SECONDS if options.quick else SECONDS}


@dataclass(frozen=True, slots=True)
class _Jobs:
    """Trainings by problem and optimiser, one a seed, and the principal components of each problem."""

    trainings: dict[tuple[str, str], list[Job]]
    components: dict[str, Job]


def _jobs(options: Options, facts: Facts) -> _Jobs:
    place = {"data_dir": options.data_dir}
    seconds = facts["seconds"]
    trainings = {
        (problem, one.name): [
            Job(
                training,
                {
                    "optimiser": one.name,
                    "problem": problem,
                    "seed": seed,
                    "seconds": seconds,
                    "looks": LOOKS,
                    "watched": WATCHED,
                },
                seconds,
                place,
            )
            for seed in range(options.seeds)
        ]
        for problem in facts["problems"]
        for one in CONTESTANTS
    }
    linear = {
        problem: Job(components, {"problem": problem, "watched": WATCHED}, 10.0, place) for problem in facts["problems"]
    }
    return _Jobs(trainings, linear)


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs of the problems asked for, problem by problem and seed by seed: pictures are read once.

    Returns:
        All of them at once; of other problems those that are done.
    """
    jobs = _jobs(options, facts)
    ordered: list[Job] = []
    for problem in facts["problems"]:
        trainings = [some for (of, _), some in jobs.trainings.items() if of == problem]
        wanted = [jobs.components[problem], *(some[seed] for seed in range(options.seeds) for some in trainings)]
        ordered += [job for job in wanted if options.wants(_row(problem)) or job.key in results]
    return Plan(ordered)


ROWS = ("mnist", "curves")
"""The problems, as ``Options.rows`` has them."""


def _row(problem: str) -> str:
    return "curves" if problem == "curves" else "mnist"  # the bundled digits stand in for MNIST


Found = Mapping[str, Sequence[Result]]
"""Results of one problem by optimiser, one a seed."""


def gather(options: Options, facts: Facts, results: Results) -> dict[str, Found]:
    """Gather the results of the seeds that every optimiser has been through.

    Args:
        options: What was asked for.
        facts: What was settled.
        results: Of finished jobs.

    Returns:
        By problem; one without such a seed is missing.
    """
    jobs = _jobs(options, facts)
    found: dict[str, Found] = {}
    for problem in facts["problems"]:
        trainings = {name: some for (of, name), some in jobs.trainings.items() if of == problem}
        seeds = [seed for seed in range(options.seeds) if results.have([some[seed] for some in trainings.values()])]
        if seeds and jobs.components[problem].key in results:
            found[problem] = {name: results.of([some[seed] for seed in seeds]) for name, some in trainings.items()}
    return found


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make a table for each problem, the table of what is reported elsewhere, the checks and the figures.

    Returns:
        What the rerun shows.
    """
    jobs = _jobs(options, facts)
    found = gather(options, facts, results)
    linear = {problem: results[jobs.components[problem].key]["rows"] for problem in found}
    tables = [
        *(_trained(problem, some, linear[problem], facts["seconds"]) for problem, some in found.items()),
        _reported(list(found)),
        _settings(facts["problems"]),
    ]
    figures = [_figure(problem, some) for problem, some in found.items()]
    return Outcome(tables, _checks(options, found, linear), figures, [_how(facts, found)])


def _figure(problem: str, found: Found) -> Figure:
    title = f"{PROBLEMS[problem].title}: cross-entropy on training pictures above the least there can be"
    return Figure(problem, title, lambda canvas: _draw(canvas, found), (9.5, 4.0))


def _how(facts: Facts, found: Mapping[str, Found]) -> str:
    seeds = ", ".join(f"{PROBLEMS[problem].title} {len(some[REFERENCE])}" for problem, some in found.items())
    return (
        f"Each training had {facts['seconds']:g} seconds of one core, looking at the loss not counted. Seeds: {seeds}; "
        "the starting weights (15 a unit, N(0, 1), biases 0) the same for all optimisers; median [least, greatest] "
        "over seeds. Logistic units, linear code, cross-entropy; no weight decay, no pre-training. How far "
        "each gets in the time depends on the machine and on what else runs there. Settings were fixed before, after "
        "a few trials of one or two minutes. Figures of the papers come from budgets many times as large."
    )


def _spread(values: Sequence[float | None]) -> Estimate:
    """Return the median between the least and the greatest; what the log could not hold, as it was not finite, is ∞."""
    finite = [math.inf if value is None else value for value in values]
    return Estimate(median(finite), min(finite), max(finite))


def first_below(curve: Sequence[Sequence[float | None]], loss: float) -> Sequence[float | None] | None:
    """Return the first row of a curve whose loss is at most ``loss``, or None."""
    return next((row for row in curve if row[2] is not None and row[2] <= loss), None)


def _trained(problem: str, found: Found, linear: Sequence[Sequence[float]], seconds: float) -> Table:
    rows: list[list[Cell]] = []
    for one in CONTESTANTS:
        some = found[one.name]
        row: list[Cell] = [one.name, round(median(each["updates"] for each in some))]
        row += [_spread([each[part] for each in some]) for part in ("train_loss", "train_error", "test_error")]
        reached = _reached(some, found[REFERENCE])
        row += ["never", "never"] if reached is None else list(reached)
        rows.append(row)
    rows += [[f"principal components, {count:g}", None, None, train, test, None, None] for count, train, test in linear]
    return Table(
        f"{PROBLEMS[problem].title}, {PROBLEMS[problem].shape} and back, {seconds:g} processor seconds each",
        [Column("method"), Column("updates", ",.0f"), Column("cross-entropy, training", ".2f"),
         Column("squared error, training", ".3f"), Column("squared error, test", ".3f"),
         Column("seconds to the final loss of SGD", ".0f"), Column("updates to it", ",.0f")],
        rows,
        "Nats and squared error are sums over the pixels of a picture, pixels in [0, 1]; means over the pictures. The "
        "last two columns: when the loss on the watched training pictures was first as low as that of SGD with "
        "Nesterov momentum at the end of its time, median over seeds.",
    )  # fmt: skip


def _reached(some: Sequence[Result], reference: Sequence[Result]) -> tuple[float, float] | None:
    """Return seconds and updates until the reference's final loss of the same seed, or None if it is not reached."""
    rows = [first_below(each["curve"], _final(other)) for each, other in zip(some, reference, strict=True)]
    reached = [row for row in rows if row is not None]
    if len(reached) < len(rows):
        return None
    return median(float(row[0] or 0) for row in reached), median(float(row[1] or 0) for row in reached)


def _final(result: Result) -> float:
    loss = result["curve"][-1][2]
    return math.inf if loss is None else float(loss)


def _reported(problems: Sequence[str]) -> Table:
    return Table(
        "Reported elsewhere, squared error a picture",
        [Column("problem"), Column("method"), Column("part"), Column("error", ".3g"), Column("source"),
         Column("status")],
        [[PROBLEMS[each.problem].title, each.what, each.part, each.error, each.source, each.status]
         for each in REPORTED if each.problem in problems],
        "Their CURVES are other pictures than ours, drawn by a rule that is only partly known: there only orders and "
        "proportions can be compared.",
    )  # fmt: skip


def _settings(problems: Sequence[str]) -> Table:
    return Table(
        "Settings",
        [Column("method"), *(Column(f"batch, {PROBLEMS[problem].title}") for problem in problems), Column("settings")],
        [[one.name, *(one.batch[problem] for problem in problems), one.settings] for one in CONTESTANTS],
    )


def _checks(
    options: Options, found: Mapping[str, Found], linear: Mapping[str, Sequence[Sequence[float]]]
) -> list[Check]:
    checks = [
        Check(f"{count:g} principal components of {PROBLEMS[problem].title} leave a squared error of {wanted:.2f} a "
              f"test picture, within {within:g}", abs(test - wanted) <= within, f"{test:.3f}")
        for problem, wanted, within in (("mnist", 13.87, 0.01), ("curves", 5.90, 0.05)) if problem in linear
        for count, _, test in linear[problem][-1:]
    ]  # fmt: skip
    for problem, some in found.items():
        title = PROBLEMS[problem].title
        falls = {name: all(_final(each) < each["curve"][0][2] for each in results) for name, results in some.items()}
        checks.append(
            Check(f"{title}: every optimiser lowers the loss", all(falls.values()),
                  "; ".join(f"{name}: {'yes' if fell else 'no'}" for name, fell in falls.items()))
        )  # fmt: skip
        if not options.quick:
            checks += _claims(title, some, linear[problem][0][1])
    return checks


def _claims(title: str, found: Found, by_components: float) -> list[Check]:
    final = {name: _spread([each["train_loss"] for each in some]).value for name, some in found.items()}
    error = {name: _spread([each["train_error"] for each in some]).value for name, some in found.items()}
    first = {one.name for one in CONTESTANTS if one.order == "first"}
    updates = median(each["updates"] for each in found[REFERENCE])
    reached = {one.name: _reached(found[one.name], found[REFERENCE]) for one in CONTESTANTS if one.order == "second"}
    best = min(final[name] for name in first)
    return [
        Check(f"{title}: the best autoencoder gives training pictures back better than as many principal components",
              min(error.values()) < by_components, f"{min(error.values()):.2f} against {by_components:.2f}"),
        Check(f"{title}: with curvature a tenth of the updates suffice for the final loss of SGD",
              all(row is not None and row[1] <= 0.1 * updates for row in reached.values()),
              "; ".join(f"{name}: {'never' if row is None else f'{row[1]:,.0f} of {updates:,.0f}'}"
                        for name, row in reached.items())),
        Check(f"{title}: K-FAC's training loss ends lower than that of both first-order methods in the same time",
              final["K-FAC"] < best, f"{final['K-FAC']:.2f} against {best:.2f}"),
    ]  # fmt: skip


def _draw(canvas: Any, found: Found) -> None:
    left, right = canvas.subplots(1, 2, sharey=True)
    for one, colour in zip(CONTESTANTS, _COLOURS, strict=True):
        for number, each in enumerate(found[one.name]):
            rows = [row for row in each["curve"] if row[2] is not None]
            above = [row[2] - each["least"] for row in rows]
            label = one.name if number == 0 else None
            left.semilogy([row[0] for row in rows], above, color=colour, label=label, linewidth=1.2)
            right.loglog([row[1] for row in rows[1:]], above[1:], color=colour, linewidth=1.2, marker=".")
    left.set_xlabel("processor seconds")
    right.set_xlabel("updates")
    left.set_ylabel("nats a picture")
    left.legend(fontsize="small")


recipe = Recipe(plan, conclude, settle, rows=ROWS)
