"""Regularisers on few digits: the same network, data and number of updates, and the same budget for each setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lamina.recipes.intervals import seeds_interval
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.regularisation.digits import VALIDATION
from lamina.recipes.regularisation.digits import settle as settle_digits
from lamina.recipes.regularisation.parts import BATCH, Regulariser, Setting
from lamina.recipes.regularisation.regularisers import REGULARISERS
from lamina.recipes.regularisation.train import HIDDEN, MOMENTUM, RATE, measurement, trial
from lamina.recipes.table import Cell, Column, Estimate, Table
from lamina.recipes.tuning import chosen, plan_contests

TRIAL_SEED = 1_000
"""Seed of the trials; those of the measurements are 0, 1, 2, …."""

_SIZES = {"mnist": ((1_000, 1_000), (10_000, 2_500)), "digits": ((300, 500), (1_000, 1_000))}
"""Training examples and updates."""

_QUICK_SIZES = ((300, 120),)

_FIGURES = ("valid_error", "valid_loss")


def settle(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Find out which digits there are, and with that the sizes.

    Returns:
        ``data``, and ``sizes`` as pairs of training examples and updates.
    """
    data = settle_digits(options.quick, options.data_dir, options.offline, say)
    sizes = _QUICK_SIZES if options.quick else _SIZES[data]
    return {"data": data, "sizes": [list(size) for size in sizes]}


@dataclass(frozen=True, slots=True)
class Contest:
    """One regulariser on one number of examples: the trials of its candidates, then the measurements.

    Attributes:
        each: The regulariser.
        size: Training examples.
        steps: Updates.
        options: What was asked for.
        facts: What was settled.
    """

    each: Regulariser
    size: int
    steps: int
    options: Options
    facts: Facts

    @property
    def candidates(self) -> Sequence[Setting]:
        """The settings tried: every second one in the quick form."""
        return self.each.candidates[::2] if self.options.quick else self.each.candidates

    @property
    def trials(self) -> list[Job]:
        """The trial of each candidate; none where there is nothing to choose."""
        if len(self.candidates) == 1:
            return []
        return [self._job(trial, setting, TRIAL_SEED) for setting in self.candidates]

    def measurements(self, setting: Setting) -> list[Job]:
        """Return the runs whose test figures are reported."""
        return [self._job(measurement, setting, seed) for seed in range(self.options.seeds)]

    @property
    def cost(self) -> float:
        """Of one run."""
        return self.each.cost * self.steps / 1_000

    def _job(self, function: Callable[..., Result], setting: Setting, seed: int) -> Job:
        arguments = {
            "name": self.each.name,
            "setting": dict(setting),
            "data": self.facts["data"],
            "size": self.size,
            "steps": self.steps,
            "seed": seed,
        }
        return Job(function, arguments, self.cost, {"data_dir": self.options.data_dir})

    def chosen(self, results: Results) -> Setting | None:
        """Return the candidate with the least validation error, of equal ones that with the least loss.

        Returns:
            The setting, or None where trials are still to come.
        """
        return chosen(self, results, *_FIGURES)


def contests(options: Options, facts: Facts) -> list[list[Contest]]:
    """Return a contest a regulariser for each number of examples.

    Returns:
        Those of the first number, those of the second, ….
    """
    return [[Contest(each, size, steps, options, facts) for each in REGULARISERS] for size, steps in facts["sizes"]]


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the trials, and of each regulariser whose trials are done the measurements.

    Returns:
        The jobs that are known, and what those to come will cost.
    """
    every = (contest for some in contests(options, facts) for contest in some)
    return plan_contests(every, results, options.seeds, *_FIGURES)


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the table, the checks and the figure.

    Returns:
        What the rerun shows.
    """
    columns = [Column("regulariser")]
    rows: list[list[Cell]] = [[each.name] for each in REGULARISERS]
    differences: dict[int, list[Estimate]] = {}
    plain: dict[int, tuple[Estimate, float]] = {}
    for (size, _), some in zip(facts["sizes"], contests(options, facts), strict=True):
        columns += [
            Column(f"{size:,}: setting"),
            Column("test error, %", ".2f"),
            Column("difference from none, %", "+.2f"),
        ]
        differences[size] = []
        nothing: list[float] = []
        for contest, row in zip(some, rows, strict=True):
            setting = contest.chosen(results)
            assert setting is not None
            found = results.of(contest.measurements(setting))
            errors = [100.0 * one["test_error"] for one in found]
            row += [contest.each.shown.format(**setting), seeds_interval(errors)]
            if contest.each.name == "none":
                nothing = errors
                plain[size] = (seeds_interval(errors), 100.0 * max(one["train_error"] for one in found))
                row.append(None)
                continue
            difference = seeds_interval([a - b for a, b in zip(errors, nothing, strict=True)])
            differences[size].append(difference)
            row.append(difference)
    where = {"mnist": "MNIST", "digits": "the bundled digits" if options.quick else "the bundled digits, not MNIST"}
    table = Table(
        f"Test error on {where[facts['data']]}",
        columns,
        rows,
        _how(options, facts),
    )
    names = [each.name for each in REGULARISERS if each.name != "none"]
    figure = Figure(
        "differences",
        "Test error less that without regularisation, percentage points, 95 % interval over seeds",
        lambda canvas: _draw(canvas, names, differences),
        (8.0, 9.0),
    )
    return Outcome([table], _checks(options, facts, plain, differences), [figure])


def _how(options: Options, facts: Facts) -> str:
    runs = ", ".join(f"{size:,} training examples and {steps:,} updates" for size, steps in facts["sizes"])
    tried = len(contests(options, facts)[0][1].candidates)
    return (
        f"Network {'-'.join(map(str, HIDDEN))} with SiLU units on pixels in [0, 1]; {runs}; batches of {BATCH}, "
        f"gradient descent with momentum {MOMENTUM:g}, rate {RATE:g} falling along a cosine; every regulariser makes "
        "the same number of updates, but for early stopping and the passes after it (soft tying and manifold tangents "
        "learn an autoencoder of the same training pictures beforehand). "
        f"Of {tried} candidates for its setting (bagging has none) the one with the least "
        f"error on {VALIDATION[facts['data']]:,} validation examples was taken, by one run each with a seed that is "
        f"not used again; only then was the test part looked at, with seeds 0 to {options.seeds - 1}. A seed decides "
        "which examples are learnt from, the starting weights, the order, and the noise. In brackets: Student's 95 % "
        "interval over seeds. The difference is paired: the same seed with the same examples and starting weights. "
        "Each interval stands for itself: of twenty that hold the truth 19 times in 20, one is expected not to."
    )


def _checks(
    options: Options, facts: Facts, plain: dict[int, tuple[Estimate, float]], differences: dict[int, list[Estimate]]
) -> list[Check]:
    if options.quick:
        return [
            Check("without regularisation the network errs on fewer than half of the test examples",
                  all(error.value < 50.0 for error, _ in plain.values()),
                  ", ".join(f"{error.value:.1f} %" for error, _ in plain.values()))
        ]  # fmt: skip
    (small, _), (large, _) = facts["sizes"]
    checks = [
        Check("without regularisation training has converged: training error at most 0.1 % with every seed",
              all(train <= 0.1 for _, train in plain.values()),
              ", ".join(f"{size:,}: {train:.2f} %" for size, (_, train) in plain.items())),
        Check("more examples lower the error without regularisation", plain[large][0].value < plain[small][0].value,
              f"{plain[small][0].value:.2f} % to {plain[large][0].value:.2f} %"),
    ]  # fmt: skip
    if facts["data"] == "mnist":  # a pixel is an eighth of the bundled digits' width
        number = [each.name for each in REGULARISERS[1:]].index("augmentation")
        moved = [differences[size][number] for size, _ in facts["sizes"]]
        checks.append(
            Check("pictures moved at random lower it, and the interval is on one side of 0",
                  all(one.high < 0.0 for one in moved),
                  ", ".join(f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]" for one in moved))
        )  # fmt: skip
    return checks


def _draw(canvas: Any, names: Sequence[str], differences: dict[int, list[Estimate]]) -> None:
    panels = canvas.subplots(1, len(differences), sharey=True, squeeze=False)[0]
    places = list(range(len(names)))[::-1]
    for axes, (size, some) in zip(panels, differences.items(), strict=True):
        ends = [[one.value - one.low for one in some], [one.high - one.value for one in some]]
        axes.errorbar([one.value for one in some], places, xerr=ends, fmt="o", capsize=3, color="#4c78a8")
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_title(f"{size:,} training examples", fontsize="medium")
        # one regulariser that spoils the network must not hide the rest
        least, most = min(one.low for one in some), max(one.high for one in some)
        right = 1.1 * max(min(most, abs(least)), 0.0) + 0.1
        axes.set_xlim(1.1 * min(least, 0.0) - 0.1, right)
        if any(one.high > right for one in some):
            axes.set_xlabel("(cut on the right)", fontsize="small")
    panels[0].set_yticks(places, names)
    canvas.supxlabel("percentage points; left of 0 is better", fontsize="medium")


recipe = Recipe(plan, conclude, settle)
