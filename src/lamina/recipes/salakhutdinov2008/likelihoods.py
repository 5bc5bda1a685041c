"""The table: log Z and log-likelihoods beside the published ones, and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lamina.recipes.intervals import seeds_interval
from lamina.recipes.martens2010.problems import settle_pictures
from lamina.recipes.recipe import Check, Facts, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.salakhutdinov2008.published import PUBLISHED
from lamina.recipes.salakhutdinov2008.train import CHAINS, ENUMERATED, LEGS, machine, network
from lamina.recipes.table import Cell, Column, Estimate, Table


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Attributes:
        epochs: Passes over the training digits, for each layer.
        examples: Training digits.
        share: Of the paper's temperatures.
        scored: Test digits that the network is scored on.
        samples: Draws for each.
    """

    epochs: int
    examples: int
    share: float
    scored: int
    samples: int


FULL = Size(50, 60_000, 1.0, 10_000, 100)
QUICK = Size(5, 6_000, 0.1, 1_000, 10)
MACHINES = (("CD-1", 500, 1), ("CD-3", 500, 3), ("CD-25", 500, 25), ("CD-1, 20 hidden", ENUMERATED, 1))
LAYERS = (500, 2_000)


def settle(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Find out whether MNIST can be had.

    Returns:
        ``digits``: ``mnist``, or ``digits`` for those that come with scikit-learn.
    """
    return {"digits": settle_pictures(options.data_dir, options.offline, say)}


def _jobs(options: Options, facts: Facts) -> dict[str, list[Job]]:
    size, place = QUICK if options.quick else FULL, {"data_dir": options.data_dir}
    same = {"digits": facts["digits"], "epochs": size.epochs, "examples": size.examples, "share": size.share}
    jobs = {
        name: [
            Job(machine, {"hidden": hidden, "sweeps": sweeps, "seed": seed, **same}, hidden * (8.0 + sweeps), place)
            for seed in range(options.seeds)
        ]
        for name, hidden, sweeps in MACHINES
    }
    deep = {"first": LAYERS[0], "second": LAYERS[1], "sweeps": 25, "scored": size.scored, "samples": size.samples}
    jobs["network"] = [Job(network, {**deep, "seed": seed, **same}, 80_000.0, place) for seed in range(options.seeds)]
    return jobs


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs: the machines, then the network.

    Returns:
        All of them at once.
    """
    return Plan([job for some in _jobs(options, facts).values() for job in some])


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the table of the machines, that of the network, and the checks.

    Returns:
        What the rerun shows.
    """
    found = {name: results.of(some) for name, some in _jobs(options, facts).items()}
    return Outcome([_machines(found), _network(found["network"])], _checks(options, found), (), _notes(options, facts))


def _over(some: Sequence[Result], what: str) -> Cell:
    """Return the mean over seeds with Student's interval, of one seed the number alone."""
    values = [float(each[what]) for each in some]
    return values[0] if len(values) == 1 else seeds_interval(values)


def _log_z(some: Sequence[Result]) -> Estimate:
    """Return the first seed's estimate between three standard errors; log Z differs from machine to machine."""
    one = some[0]
    low = one["low"]
    return Estimate(one["log_z"], float("-inf") if low is None else low, one["high"])


def _machines(found: dict[str, list[Result]]) -> Table:
    rows: list[list[Cell]] = []
    for name, hidden, _ in MACHINES:
        some, paper = found[name], PUBLISHED.get(name)
        published = (paper.log_z, paper.train, paper.test) if paper else (None, None, None)
        rows.append([
            name, hidden, _log_z(some), some[0]["exact"], some[0]["effective_chains"], _over(some, "train"),
            _over(some, "test"), _over(some, "pseudo"), *published,
        ])  # fmt: skip
    return Table(
        "Restricted Boltzmann machines: log-likelihood in nats a digit",
        [Column("learning"), Column("hidden units"), Column("log Z, first seed [3 standard errors]", ".2f"),
         Column("enumerated", ".2f"), Column("effective chains", ".0f"), Column("training", ".2f"),
         Column("test", ".2f"), Column("pseudo-likelihood, test", ".2f"), Column("published log Z", ".1f"),
         Column("published training", ".2f"), Column("published test", ".2f")],
        rows,
        "Training and test by the estimated log Z; mean over seeds, of several with Student's 95 % interval.",
    )  # fmt: skip


def _network(some: Sequence[Result]) -> Table:
    paper = PUBLISHED["network"]
    return Table(
        f"Deep belief network, hidden layers of {LAYERS[0]} and {LAYERS[1]}: test digits, nats a digit",
        [Column("what"), Column("here", ".2f"), Column("published", ".1f")],
        [["log Z of the top machine, first seed [3 standard errors]", _log_z(some), None],
         ["variational bound", _over(some, "test"), paper.test],
         ["estimate by importance sampling, at most log p(x) on average", _over(some, "estimate"), paper.estimate]],
    )  # fmt: skip


def _checks(options: Options, found: dict[str, list[Result]]) -> list[Check]:
    small = found["CD-1, 20 hidden"]
    gaps = [abs(each["log_z"] - each["exact"]) for each in small]
    within = [gap <= max(0.1, 4.0 * each["standard_error"]) for gap, each in zip(gaps, small, strict=True)]
    mean = {name: fmean(each["test"] for each in some) for name, some in found.items()}
    estimates = [each["estimate"] - each["test"] for each in found["network"]]
    checks = [
        Check(f"with {ENUMERATED} hidden units log Z is the enumerated one, within 0.1 nat or four standard errors",
              all(within), f"{max(gaps):.3f} nats away at most"),
        Check("the importance-sampling estimate is at or above the variational bound", min(estimates) >= 0,
              f"{min(estimates):.2f} nats above"),
    ]  # fmt: skip
    if not options.quick:
        checks += [
            Check("more sweeps give higher likelihoods of test digits: CD-1 < CD-3 < CD-25",
                  mean["CD-1"] < mean["CD-3"] < mean["CD-25"],
                  ", ".join(f"{mean[name]:.2f}" for name in ("CD-1", "CD-3", "CD-25"))),
            Check("500 hidden units give a higher likelihood than 20", mean["CD-1"] > mean["CD-1, 20 hidden"],
                  f"{mean['CD-1']:.2f} against {mean['CD-1, 20 hidden']:.2f}"),
        ]  # fmt: skip
    return checks


def _notes(options: Options, facts: Facts) -> list[str]:
    size = QUICK if options.quick else FULL
    steps = "; ".join(f"{round(size.share * n):,} to {end:g}" for end, n in LEGS)
    other = "" if facts["digits"] == "mnist" else " The digits are the bundled ones of 8 x 8, not MNIST."
    return [
        f"{size.examples:,} training digits, {size.epochs} epochs (of each layer), batches of 100, rate 0.05, of the "
        "network's top 0.01 (a fifth of it in the last third), momentum 0.5, weight decay 0.0002; k rises from 1 to "
        "its last value in equal shares of the epochs. The paper's rates and numbers of epochs are not known to us.",
        f"Annealed importance sampling: {CHAINS} chains from the base-rate model, temperatures {steps}. "
        f"{options.seeds} seeds.{other}",
        "Each pixel was made binary by one draw with its grey value as the probability, the same in all epochs. A "
        "threshold, or a draw an epoch, changes log-likelihoods by 2 to 3 nats, and what the paper did we recall only "
        "in outline: differences of that size mean nothing. An estimated log Z is too low on average, and so "
        "likelihoods too high; its error bar knows nothing of modes that every chain missed. Published figures are "
        "recalled, not checked against the paper.",
    ]


recipe = Recipe(plan, conclude, settle)
