"""Optimisers on four small problems: the same passes over the data and the same number of trials for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lamina.recipes.intervals import seeds_interval
from lamina.recipes.optimisers.problems import PROBLEMS, Problem
from lamina.recipes.optimisers.table import OPTIMISERS, Optimiser
from lamina.recipes.optimisers.train import measurement, trial
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Cell, Column, Estimate, Table
from lamina.recipes.tuning import Setting, chosen, plan_contests

EPOCHS, QUICK_EPOCHS = 60, 10
TRIAL_SEED = 1_000
"""Seed of the trials; those of the measurements are 0, 1, 2, …."""

REFERENCE = "SGD"
UNGUARDED = "Newton, damped"
"""Its steps are taken whatever the loss does, so that it may end anywhere."""

SHOWN = {
    "SGD": "#222222", "SGD, momentum 0.9": "#bab0ac", "Adam": "#4c78a8", "conjugate gradients": "#eeca3b",
    "L-BFGS": "#f58518", "Newton, trust region": "#b279a2", "Levenberg-Marquardt": "#72b7b2", "TONGA": "#9d755d",
    "Hessian-free": "#54a24b", "K-FAC": "#e45756",
}  # fmt: skip
"""What is drawn against time, and its colour; twenty lines could not be told apart."""

_MOST = 100.0  # % that the figure of differences reaches to either side
_FIGURE = "valid_loss"


@dataclass(frozen=True, slots=True)
class Entrant:
    """One optimiser on one problem: the trials of its candidates, then the measurements.

    Attributes:
        each: The optimiser.
        problem: What is learnt.
        options: What was asked for.
    """

    each: Optimiser
    problem: Problem
    options: Options

    @property
    def candidates(self) -> Sequence[Setting]:
        """The settings tried: every second one in the quick form."""
        return self.each.candidates[::2] if self.options.quick else self.each.candidates

    @property
    def trials(self) -> list[Job]:
        """The trial of each candidate."""
        return [self._job(trial, setting, TRIAL_SEED) for setting in self.candidates]

    def measurements(self, setting: Setting) -> list[Job]:
        """Return the runs whose test figures are reported."""
        return [self._job(measurement, setting, seed) for seed in range(self.options.seeds)]

    @property
    def cost(self) -> float:
        """Of one run, seconds."""
        return self.each.cost * self.problem.cost * self._epochs

    @property
    def _epochs(self) -> int:
        return QUICK_EPOCHS if self.options.quick else EPOCHS

    def _job(self, function: Any, setting: Setting, seed: int) -> Job:
        arguments = {
            "name": self.each.name,
            "setting": dict(setting),
            "problem": self.problem.name,
            "epochs": self._epochs,
            "seed": seed,
        }
        return Job(function, arguments, self.cost)

    def found(self, results: Results) -> tuple[Setting, list[Result]]:
        """Return the setting that was chosen and the results of its measurements, all jobs being done."""
        setting = chosen(self, results, _FIGURE)
        assert setting is not None
        return setting, results.of(self.measurements(setting))


def entrants(options: Options) -> dict[str, list[Entrant]]:
    """Return the optimisers that can be used on each problem.

    Returns:
        By the problem's name.
    """
    return {
        name: [Entrant(each, problem, options) for each in OPTIMISERS if name in each.problems]
        for name, problem in PROBLEMS.items()
    }


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the trials, and of each optimiser whose trials are done the measurements.

    Returns:
        The jobs that are known, and what those to come will cost.
    """
    every = (entrant for some in entrants(options).values() for entrant in some)
    return plan_contests(every, results, options.seeds, _FIGURE)


@dataclass(frozen=True, slots=True)
class Line:
    """What a row of a table shows.

    Attributes:
        each: The optimiser.
        setting: The chosen one.
        train: Training losses, one a seed; infinite where not finite.
        test: Test losses.
        seconds: Processor seconds.
        curve: Of seed 0.
    """

    each: Optimiser
    setting: Setting
    train: list[float]
    test: list[float]
    seconds: list[float]
    curve: list[list[float | None]]


def _numbers(found: Sequence[Result], figure: str) -> list[float]:
    """Return a figure of each run; what the log could not hold, as it was not finite, is infinite."""
    return [math.inf if one[figure] is None else float(one[figure]) for one in found]


def _lines(some: Sequence[Entrant], results: Results) -> dict[str, Line]:
    lines = {}
    for entrant in some:
        setting, found = entrant.found(results)
        lines[entrant.each.name] = Line(
            entrant.each,
            setting,
            _numbers(found, "train_loss"),
            _numbers(found, "test_loss"),
            _numbers(found, "seconds"),
            found[0]["curve"],
        )
    return lines


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make a table and two figures for each problem, and the checks.

    Returns:
        What the rerun shows.
    """
    lines = {problem: _lines(some, results) for problem, some in entrants(options).items()}
    tables = [_table(PROBLEMS[problem], some) for problem, some in lines.items()]
    figures = [
        Figure("time", "Training loss against processor seconds, seed 0", lambda canvas: _draw_time(canvas, lines),
               (10.0, 8.0)),
        Figure("differences", "Training loss at the end less that of SGD, 95 % interval over seeds",
               lambda canvas: _draw_differences(canvas, lines), (10.0, 6.5)),
    ]  # fmt: skip
    return Outcome(tables, _checks(options, lines), figures, [_how(options)])


def _how(options: Options) -> str:
    entrant = entrants(options)["table"][0]
    return (
        f"Every optimiser makes {QUICK_EPOCHS if options.quick else EPOCHS} passes over the training part, with all "
        "examples at once where the batch is called whole. What a pass costs differs: line searches evaluate it again, "
        "second-order methods take tens of products with the curvature; the last column shows it, one core, looking at "
        f"the losses not counted. Of {len(entrant.candidates)} candidates for its setting each took the one with the "
        "least validation loss after any epoch, by one run with a seed that is not used again; then came seeds 0 to "
        f"{options.seeds - 1}. The training loss is that of the last epoch, the test loss that after the epoch with "
        "the least validation loss. Rates do not fall over time. In brackets: Student's 95 % interval over seeds; "
        "differences are paired, the same seed having the same starting weights. Each interval stands for itself: of "
        "twenty that hold the truth 19 times in 20, one is expected not to."
    )


def _table(problem: Problem, lines: Mapping[str, Line]) -> Table:
    nothing = lines[REFERENCE]
    rows: list[list[Cell]] = []
    for name, line in lines.items():
        row: list[Cell] = [name, "whole" if line.each.whole else line.each.batch or problem.batch]
        row += [line.each.shown.format(**line.setting), _mean(line.train)]
        row.append(None if name == REFERENCE else _difference(line.train, nothing.train))
        row.append(_mean(line.test))
        row.append(None if name == REFERENCE else _difference(line.test, nothing.test))
        rows.append([*row, fmean(line.seconds)])
    left_out = [each.name for each in OPTIMISERS if problem.name not in each.problems]
    return Table(
        problem.title,
        [Column("optimiser"), Column("batch"), Column("setting"), Column("training loss", ".4f"),
         Column("difference from SGD", "+.4f"), Column("test loss", ".4f"), Column("difference from SGD", "+.4f"),
         Column("CPU s", ".2f")],
        rows,
        "Mean negative log-likelihood, nats an example."
        + (f" Not for this problem: {', '.join(left_out)}." if left_out else ""),
    )  # fmt: skip


def _mean(values: Sequence[float]) -> Cell:
    return seeds_interval(values) if all(map(math.isfinite, values)) else "diverged"


def _difference(values: Sequence[float], others: Sequence[float]) -> Cell:
    differences = [a - b for a, b in zip(values, others, strict=True)]
    return seeds_interval(differences) if all(map(math.isfinite, differences)) else None


def _checks(options: Options, lines: Mapping[str, Mapping[str, Line]]) -> list[Check]:
    guarded = [(problem, name, line) for problem, some in lines.items() for name, line in some.items()
               if name != UNGUARDED]  # fmt: skip
    diverged = [f"{name} on {problem}" for problem, name, line in guarded if not all(map(math.isfinite, line.train))]
    idle = [f"{name} on {problem}" for problem, name, line in guarded
            if not line.train[0] < (line.curve[0][1] or math.inf)]  # fmt: skip
    but = f"no optimiser, {UNGUARDED} apart,"
    checks = [
        Check(f"{but} diverges with the setting that was chosen", not diverged, ", ".join(diverged) or "none"),
        Check(f"{but} ends with a training loss above the start's", not idle, ", ".join(idle) or "none"),
    ]
    if options.quick:
        return checks
    for name in ("SGD, momentum 0.9", "Adam"):
        shares = {problem: _difference(some[name].train, some[REFERENCE].train) for problem, some in lines.items()}
        checks.append(
            Check(f"{name} ends with a lower training loss than SGD on every problem, and the interval is below 0",
                  all(isinstance(one, Estimate) and one.high < 0.0 for one in shares.values()), _words(shares))
        )  # fmt: skip
    table = lines["table"]
    second = {
        name: _difference(table[name].train, table[REFERENCE].train) for name in ("Levenberg-Marquardt", "L-BFGS")
    }
    checks.append(
        Check("on the table Levenberg-Marquardt and L-BFGS do too", all(
            isinstance(one, Estimate) and one.high < 0.0 for one in second.values()), _words(second))
    )  # fmt: skip
    return checks


def _words(differences: Mapping[str, Cell]) -> str:
    return "; ".join(
        f"{name}: {one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" if isinstance(one, Estimate) else f"{name}: none"
        for name, one in differences.items()
    )


def _draw_time(canvas: Any, lines: Mapping[str, Mapping[str, Line]]) -> None:
    handles: dict[str, Any] = {}
    panels = canvas.subplots(2, 2)
    for axes, (problem, some) in zip(panels.flat, lines.items(), strict=True):
        shown = {name: line for name, line in some.items() if name in SHOWN}
        floor = min(value for line in shown.values() for _, value in line.curve if value is not None)
        for name, line in shown.items():
            rows = [row for row in line.curve if row[1] is not None]
            (handles[name],) = axes.plot([max(float(row[0] or 0.0), 1e-3) for row in rows], [row[1] for row in rows],
                                         color=SHOWN[name], linewidth=1.4,
                                         linestyle="--" if line.each.whole else "-")  # fmt: skip
        start = next(iter(shown.values())).curve[0][1] or 1.0
        axes.set_xscale("log")
        axes.set_ylim(floor - 0.03 * (start - floor), start + 0.05 * (start - floor))
        axes.set_title(PROBLEMS[problem].title, fontsize="small")
    for axes in panels[1]:
        axes.set_xlabel("processor seconds (dashed: updates see all examples)")
    names = [name for name in SHOWN if name in handles]
    canvas.legend([handles[name] for name in names], names, loc="outside lower center", ncols=5, fontsize="small")
    canvas.supylabel("nats an example", fontsize="medium")


def _draw_differences(canvas: Any, lines: Mapping[str, Mapping[str, Line]]) -> None:
    names = [each.name for each in OPTIMISERS if each.name != REFERENCE]
    for axes, (problem, some) in zip(canvas.subplots(1, len(lines), sharey=True), lines.items(), strict=True):
        base = abs(fmean(some[REFERENCE].train))
        for place, name in enumerate(reversed(names)):
            one = _difference(some[name].train, some[REFERENCE].train) if name in some else None
            if isinstance(one, Estimate):
                value, low, high = (100.0 * v / base for v in (one.value, one.low, one.high))
                if abs(value) > _MOST:  # it stands at the edge, an arrow outwards
                    axes.plot([math.copysign(_MOST, value)], [place], ">" if value > 0 else "<", color="#4c78a8")
                    continue
                axes.errorbar([value], [place], xerr=[[value - low], [high - value]], fmt="o", capsize=2, markersize=4,
                              color="#4c78a8")  # fmt: skip
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_xlim(-1.05 * _MOST, 1.05 * _MOST)
        axes.set_title(problem, fontsize="medium")
    canvas.axes[0].set_yticks(range(len(names)), names[::-1])
    canvas.supxlabel(
        "difference from SGD, % of SGD's training loss; left of 0 is better; arrows: beyond", fontsize="medium"
    )


recipe = Recipe(plan, conclude)
