"""The table: a job for each set, start and seed, all depths in one; cells, checks, figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lamina.recipes.larochelle2009.published import PUBLISHED
from lamina.recipes.pretraining.compare import COLUMNS, HOW_TO_READ, Cells
from lamina.recipes.pretraining.sets import settle_digits, settled_sizes
from lamina.recipes.pretraining.settings import UPDATES, WIDTH, all_said, seconds, setting
from lamina.recipes.pretraining.train import networks
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Results
from lamina.recipes.table import Cell, Column, Table

DEPTHS = (1, 2, 3, 4)

TITLES = {"basic": "MNIST-small (basic)", "rot": "MNIST-rotation (rot)"}
"""Names of the sets in the paper, and here."""


@dataclass(frozen=True, slots=True)
class Start:
    """A way to begin.

    Attributes:
        name: Of ``networks``.
        title: In the table.
        colour: In the figure.
    """

    name: str
    title: str
    colour: str


STARTS = (
    Start("random", "random", "#4c78a8"),
    Start("autoencoder", "autoencoders", "#54a24b"),
    Start("rbm", "RBMs", "#e45756"),
    Start("today", "today", "#bab0ac"),
)


def settle(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Find out which digits there are.

    Returns:
        ``digits``.
    """
    return {"digits": settle_digits(options.data_dir, options.offline, say)}


def job(name: str, start: Start, seed: int, options: Options, facts: Facts) -> Job:
    """Return the job that trains all depths, which share the pre-training.

    Args:
        name: Of the set.
        start: How the networks begin.
        seed: As for ``networks``.
        options: What was asked for.
        facts: What was settled.
    """
    train, valid, test = settled_sizes(name, facts["digits"], quick=options.quick)
    arguments = {
        "name": name,
        "digits": facts["digits"],
        "sizes": [train, valid, test],
        "start": start.name,
        "depths": list(DEPTHS),
        "setting": setting(name, start.name, max(DEPTHS), train, quick=options.quick),
        "seed": seed,
    }
    cost = seconds(name, start.name, DEPTHS, train, quick=options.quick)
    return Job(networks, arguments, cost, {"data_dir": options.data_dir})


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs of the rows asked for, seed by seed; of other rows those that are done.

    Returns:
        All of them at once.
    """
    named = [
        (name, job(name, start, seed, options, facts))
        for seed in range(options.seeds)
        for name in TITLES
        for start in STARTS
    ]
    return Plan([one for name, one in named if options.wants(name) or one.key in results])


Found = Mapping[tuple[str, str, int], Cells]
"""What was reached, by set, start and depth; cells that are not done are missing."""


def gather(options: Options, facts: Facts, results: Results) -> dict[tuple[str, str, int], Cells]:
    """Return the cells of which at least one seed is done."""
    found = {}
    for name in TITLES:
        n_test = settled_sizes(name, facts["digits"], quick=options.quick)[2]
        comparable = facts["digits"] == "mnist" and not options.quick
        for start in STARTS:
            keys = [job(name, start, seed, options, facts).key for seed in range(options.seeds)]
            done = [results[key]["depths"] for key in keys if key in results]
            for depth in DEPTHS if done else ():
                scores = [depths[str(depth)] for depths in done]
                published = PUBLISHED[name].get(start.name)
                found[name, start.name, depth] = Cells(
                    [score["test_error"] for score in scores],
                    [score["valid_error"] for score in scores],
                    n_test,
                    None if published is None else published[depth - 1],
                    comparable,
                )
    return found


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the table, the cells one by one, the checks and the figure.

    Returns:
        What the rerun shows.
    """
    found = gather(options, facts, results)
    names = [name for name in TITLES if any(of == name for of, _, _ in found)]
    figure = Figure("depth", "Test error by number of hidden layers, %", lambda canvas: _draw(canvas, names, found))
    tables = [*(_table(name, found) for name in names), _cells(found)]
    return Outcome(tables, _checks(options, names, found), [figure] if names else [], [_how(options, facts)])


def _table(name: str, found: Found) -> Table:
    rows: list[list[Cell]] = [
        [start.title, *(_short(found[name, start.name, depth]) for depth in DEPTHS)]
        for start in STARTS
        if (name, start.name, DEPTHS[0]) in found
    ]
    columns = [Column("start"), *(Column(f"{depth} hidden layer{'s' if depth > 1 else ''}") for depth in DEPTHS)]
    return Table(f"{TITLES[name]}: test error, %, in brackets as published", columns, rows)


def _short(cell: Cells) -> str:
    return f"{cell.percent:.2f}" + ("" if cell.published is None else f" ({cell.published:.2f})")


def _cells(found: Found) -> Table:
    titles = {start.name: start.title for start in STARTS}
    rows: list[list[Cell]] = [[name, titles[start], depth, *cell.row] for (name, start, depth), cell in found.items()]
    return Table("Cell by cell", [Column("set"), Column("start"), Column("depth"), *COLUMNS], rows, HOW_TO_READ)


def _how(options: Options, facts: Facts) -> str:
    train, valid, test = settled_sizes("basic", facts["digits"], quick=options.quick)
    how = all_said({start.title: start.name for start in STARTS}, list(TITLES), max(DEPTHS), train, quick=options.quick)
    return (
        f"{WIDTH:,} units a layer; {train:,} examples for training, {valid:,} for validation, {test:,} for the test. "
        + ("" if facts["digits"] == "mnist" else "The digits are the bundled ones and not MNIST. ")
        + "The first three starts are networks of logistic units, weights uniform in ± 1/√in; RBMs by CD-1, "
        "autoencoders with tied weights and cross-entropy, each layer pre-trained once and shared by the depths. "
        "Today's networks have rectified units, batch normalisation, dropout and Adam, and are not pre-trained. All "
        "stop early by the validation error. Settings were fixed beforehand by validation error in pilot runs, one for "
        f"all depths, where the paper searched for each cell; {UPDATES} updates an epoch: {how}."
    )


def _checks(options: Options, names: Sequence[str], found: Found) -> list[Check]:
    checks: list[Check] = []
    for name in names:
        some = {(start, depth): cell for (of, start, depth), cell in found.items() if of == name}
        if options.quick:
            today = [cell.percent for (start, _), cell in some.items() if start == "today"]
            checks.append(Check(f"{TITLES[name]}: today's networks err less than chance at every depth",
                                max(today, default=0) < 90.0, f"at most {max(today, default=0):.1f} %"))  # fmt: skip
            continue
        points = 1.5 if name == "rot" else 1.0
        for start in STARTS:
            cells = [cell for (of, _), cell in some.items() if of == start.name and cell.published is not None]
            if cells and all(cell.comparable for cell in cells):
                far = [abs(cell.percent - (cell.published or 0.0)) for cell in cells]
                checks.append(Check(f"{TITLES[name]}, {start.title}: every depth within {points} points of the "
                                    "published figure", all(cell.near(points) for cell in cells),
                                    f"{max(far):.2f} points at most"))  # fmt: skip
        for kind in ("autoencoder", "rbm"):
            checks += _below(name, some, kind, "random")
            checks += _depth(name, some, kind)
        if name == "basic":
            checks += _below(name, some, "rbm", "autoencoder")
    return checks


def _depth(name: str, some: Mapping[tuple[str, int], Cells], kind: str) -> list[Check]:
    """Return the check that a second layer helps and that a fourth changes little, as published."""
    cells = [some.get((kind, depth)) for depth in DEPTHS]
    title = next(start.title for start in STARTS if start.name == kind)
    percents = [cell.percent for cell in cells if cell is not None]
    if len(percents) < len(DEPTHS):
        return []
    n_test = min(cell.n_test for cell in cells if cell is not None)
    one, two, three, four = percents
    share = three / 100.0
    within = 196.0 * (2.0 * share * (1.0 - share) / n_test) ** 0.5
    return [
        Check(f"{TITLES[name]}, {title}: two layers err less than one, four not less than three beyond the interval",
              two < one and four > three - within, ", ".join(f"{p:.2f} %" for p in percents))
    ]  # fmt: skip


def _below(name: str, some: Mapping[tuple[str, int], Cells], one: str, other: str) -> list[Check]:
    depths = [depth for depth in DEPTHS if (one, depth) in some and (other, depth) in some]
    if not depths:
        return []
    titles = {start.name: start.title for start in STARTS}
    pairs = [(some[one, depth].percent, some[other, depth].percent) for depth in depths]
    strictly = other == "random"
    return [
        Check(f"{TITLES[name]}: {titles[one]} err {'less than' if strictly else 'at most as much as'} {titles[other]} "
              "at every depth", all(a < b if strictly else a <= b for a, b in pairs),
              "; ".join(f"{a:.2f} against {b:.2f} %" for a, b in pairs))
    ]  # fmt: skip


def _draw(canvas: Any, names: Sequence[str], found: Found) -> None:
    panels = canvas.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for start in STARTS:
            cells = [found[name, start.name, depth] for depth in DEPTHS if (name, start.name, depth) in found]
            if not cells:
                continue
            axes.plot(DEPTHS, [cell.percent for cell in cells], color=start.colour, marker="o", label=start.title)
            if cells[0].comparable and cells[0].published is not None:
                axes.plot(DEPTHS, [cell.published for cell in cells], color=start.colour, linestyle=":")
        axes.set_title(TITLES[name] + (", dotted as published" if name == names[0] else ""), fontsize="medium")
        axes.set_xticks(DEPTHS)
        axes.set_xlabel("hidden layers")
        axes.set_ylim(bottom=0)
    panels[0].legend(fontsize="small")


recipe = Recipe(plan, conclude, settle, rows=tuple(TITLES))
