"""Parity of n bits: a net wired by hand, exact on every input, and trained nets n-H-1 of several widths."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from lamina.data.generated.parity import all_bits, parity
from lamina.nn.classics.threshold_networks import parity_network
from lamina.recipes.boolean_nets import train_many
from lamina.recipes.intervals import share_interval
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Column, Estimate, Table

FACTORS = (1, 2, 4)
"""Widths tried, as multiples of the number of bits; 1 is what the hand-wired net needs."""


def wired(bits: int) -> Result:
    """Run the hand-wired net of n hidden units on all 2^n inputs.

    Returns:
        ``inputs`` and ``wrong``, how many there are and how many outputs are not the parity.
    """
    inputs = all_bits(bits)
    with torch.no_grad():
        output = parity_network(bits)(inputs).squeeze(-1)
    return {"inputs": len(inputs), "wrong": int((output != parity(inputs)).sum())}


def starts(*, bits: int, units: int, seed: int, count: int, updates: int, rate: float) -> Result:
    """Train ``count`` sigmoid nets n-H-1 on all 2^n rows from random starts.

    Returns:
        ``solved`` (how many end with all rows right), ``first`` (updates until they were, of the solved) and
        ``wrong_share``, the mean share of rows that are wrong at the end.
    """
    inputs = all_bits(bits)
    generator = torch.Generator().manual_seed(1_000_000 * seed + 1_000 * bits + units)
    found = train_many(
        inputs, parity(inputs), units=units, starts=count, updates=updates, rate=rate, generator=generator
    )
    good = found.wrong == 0
    return {
        "count": count,
        "solved": int(good.sum()),
        "first": found.first[good].tolist(),
        "wrong_share": found.wrong.double().mean().item() / len(inputs),
    }


def _bits(options: Options) -> tuple[Sequence[int], Sequence[int]]:
    """Return the numbers of bits of the hand-wired nets and of the trained ones."""
    return (range(1, 7), (2, 3)) if options.quick else (range(1, 13), (2, 3, 4, 5, 6))


def _jobs(options: Options) -> tuple[list[Job], dict[tuple[int, int], list[Job]]]:
    by_hand, by_training = _bits(options)
    count, updates = (40, 1_500) if options.quick else (100, 3_000)
    return [Job(wired, {"bits": bits}, 0.02) for bits in by_hand], {
        (bits, factor): [
            Job(
                starts,
                {"bits": bits, "units": factor * bits, "seed": seed, "count": count, "updates": updates, "rate": 0.03},
                1.0 + 2.0**bits * factor * bits / 400,
            )
            for seed in range(options.seeds)
        ]
        for bits in by_training
        for factor in FACTORS
    }


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs: a hand-wired net for each n, and for each n and width as many blocks of starts as seeds.

    Returns:
        All of them at once.
    """
    exact, trained = _jobs(options)
    return Plan([*exact, *(job for jobs in trained.values() for job in jobs)])


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the two tables, the checks and the figure.

    Returns:
        What the rerun shows.
    """
    exact, trained = _jobs(options)
    by_hand, by_training = _bits(options)
    found = results.of(exact)
    wired_table = Table(
        "n threshold units wired by hand",
        [Column("bits n"), Column("net"), Column("inputs 2^n"), Column("wrong outputs")],
        [(n, f"{n}-{n}-1", each["inputs"], each["wrong"]) for n, each in zip(by_hand, found, strict=True)],
    )
    rows = []
    shares: dict[tuple[int, int], Estimate] = {}
    for (bits, factor), jobs in trained.items():
        some = results.of(jobs)
        count, solved = sum(each["count"] for each in some), sum(each["solved"] for each in some)
        first = [update for each in some for update in each["first"]]
        shares[bits, factor] = share_interval(solved, count)
        wrong = sum(each["wrong_share"] for each in some) / len(some)
        rows.append(
            (bits, f"{bits}-{factor * bits}-1", count, shares[bits, factor], 100 * wrong,
             float(median(first)) if first else None)
        )  # fmt: skip
    arguments = next(iter(trained.values()))[0].arguments
    trained_table = Table(
        f"Sigmoid nets n-H-1 trained on all 2^n rows, {arguments['updates']:,} updates",
        [
            Column("bits n"),
            Column("net"),
            Column("starts"),
            Column("share with zero error [95 %]", ".3f"),
            Column("wrong rows, %", ".2f"),
            Column("median updates", ".0f"),
        ],
        rows,
        "Zero error: all 2^n outputs on the right side of ½. Interval: Wilson's, over starts. Wrong rows: at the end, "
        "mean over all starts. Median updates: until the error was zero for the first time, of those that solved it. "
        f"Cross-entropy, Adam at {arguments['rate']}, starting weights N(0, 1).",
    )
    faults = sum(each["wrong"] for each in found)
    most = max(FACTORS)
    checks = [
        Check("the hand-wired net is right on all 2^n inputs for every n", faults == 0, f"{faults} wrong outputs"),
        Check(f"with {most} n units training solves every n from some start",
              all(shares[n, most].value > 0 for n in by_training),
              ", ".join(f"n = {n}: {shares[n, most].value:.2f}" for n in by_training)),
        Check(f"with {most} n units it does so from more starts than with n",
              all(shares[n, most].low > shares[n, 1].high for n in by_training),
              ", ".join(f"n = {n}: {shares[n, most].value:.2f} against {shares[n, 1].value:.2f}" for n in by_training)),
    ]  # fmt: skip
    figure = Figure(
        "starts",
        "Parity: share of starts that reach zero error, 95 % interval",
        lambda c: _draw(c, by_training, shares),
    )
    return Outcome([wired_table, trained_table], checks, [figure])


def _draw(canvas: Any, bits: Sequence[int], shares: dict[tuple[int, int], Estimate]) -> None:
    axes = canvas.add_subplot()
    for factor, colour in zip(FACTORS, ("#4c78a8", "#f58518", "#54a24b"), strict=True):
        some = [shares[n, factor] for n in bits]
        errors = [[s.value - s.low for s in some], [s.high - s.value for s in some]]
        label = "n units" if factor == 1 else f"{factor} n units"
        axes.errorbar(bits, [s.value for s in some], yerr=errors, marker="o", capsize=3, label=label, color=colour)
    axes.set_xlabel("bits n")
    axes.set_xticks(list(bits))
    axes.set_ylabel("share of starts")
    axes.set_ylim(-0.02, 1.05)
    axes.legend()


recipe = Recipe(plan, conclude)
