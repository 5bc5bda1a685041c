"""Rates of convergence: how fast optimisers come near the minimum of quadratics of a known condition number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from lamina.data.generated.narrow_valley import Quadratic, quadratic
from lamina.recipes.intervals import seeds_interval
from lamina.recipes.newton_paths import newton_path
from lamina.recipes.quadratics import (
    LEAST,
    METHODS,
    SCHEDULES,
    Method,
    descend,
    iterates,
    log_slope,
    stochastic,
)
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Cell, Column, Estimate, Table

DIMENSIONS = 100
VALLEY = 25.0
"""Condition number of the valley that is drawn."""

RATE_TOLERANCE = 0.1
"""How far log ρ measured may be from log ρ of the theory, as a share of it."""

POWER_TOLERANCE = 0.1
"""How far a power of κ or of k may be from the theory's."""

DAMPING = 4.0
"""λ of the damped Newton method at the saddle; above 2, so that H + λI is positive definite."""

SADDLE_START, SADDLE_STEPS = (1.0, 0.05), 6

_CONJUGATE = "conjugate gradients"
_COLOURS = dict(zip(METHODS, ("#bab0ac", "#4c78a8", "#54a24b", "#f58518", "#b279a2"), strict=True))


def descent(method: str, kappa: float, dimensions: int, seed: int) -> Result:
    """Run a method on a quadratic until ‖θ - θ*‖ is a thousand-millionth of its first value.

    Returns:
        ``rate`` (factor of the error an iteration, over the later part), ``iterations``, ``over`` (greatest ratio of
        f - f* to the bound) and ``curve``: pairs of iteration and error.
    """
    problem, start = _problem(kappa, dimensions, seed)
    found = descend(METHODS[method], problem, start)
    shown = sorted({min(found.iterations, round(1.1**i) - 1) for i in range(160)})
    return {
        "rate": found.rate,
        "iterations": found.iterations,
        "over": found.over,
        "curve": [[k, found.errors[k]] for k in shown],
    }


def noisy(schedule: str, steps: int, runs: int, seed: int) -> Result:
    """Run stochastic gradient descent with a schedule of its learning rate on a quadratic with κ = 10.

    Returns:
        ``steps`` and ``gaps``, the mean f - f* after so many steps, and ``power``, the slope of log f - f* against log
        k over the last nine tenths of the steps.
    """
    generator = torch.Generator().manual_seed(seed)
    problem = quadratic(10.0, 50, generator)
    marks, gaps = stochastic(schedule, problem, noise=1.0, steps=steps, runs=runs, generator=generator)
    late = [(float(k), gap) for k, gap in zip(marks, gaps, strict=True) if 10 * k >= steps]
    power = log_slope([k for k, _ in late], [gap for _, gap in late])
    return {"steps": marks, "gaps": gaps, "power": power}


def valley(method: str, steps: int) -> Result:
    """Follow a method in a narrow valley of two dimensions.

    Returns:
        ``path``, the points from the start on.
    """
    problem = Quadratic(torch.diag(torch.tensor([1.0, VALLEY]).double()), torch.zeros(2).double(), VALLEY)
    start = torch.tensor([VALLEY, 1.0]).double() / 5.0
    path = [start.tolist()]
    count = min(steps, 2) if METHODS[method].optimizer is None else steps
    path += [point.tolist() for _, point in zip(range(count), iterates(METHODS[method], problem, start), strict=False)]
    return {"path": path}


def saddle(damping: float) -> Result:
    """Follow Newton's method on x² - y², from beside the saddle.

    One step takes (x, y) to (x λ / (2 + λ), y λ / (λ - 2)).

    Returns:
        ``path``, the points from the start on.
    """
    start = torch.tensor(SADDLE_START, dtype=torch.float64)
    path = newton_path(lambda p: p[0] * p[0] - p[1] * p[1], start, damping=damping, steps=SADDLE_STEPS)
    return {"path": [point.tolist() for point in path]}


def newton(kappa: float, dimensions: int, seed: int) -> Result:
    """Make one undamped step of Newton's method on the quadratic and from the start of ``descent``.

    Returns:
        ``error``, what is left of ‖θ - θ*‖.
    """
    problem, start = _problem(kappa, dimensions, seed)
    path = newton_path(problem.gap, start, damping=0.0, steps=1)
    before, after = ((theta - problem.minimum).norm().item() for theta in path)
    return {"error": after / before}


def _problem(kappa: float, dimensions: int, seed: int) -> tuple[Quadratic, Tensor]:
    generator = torch.Generator().manual_seed(1_000 * seed + round(kappa))
    problem = quadratic(kappa, dimensions, generator)
    return problem, problem.minimum + torch.randn(dimensions, generator=generator, dtype=torch.float64)


def _kappas(options: Options) -> tuple[float, ...]:
    return (10.0, 100.0) if options.quick else (10.0, 100.0, 1_000.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class _Jobs:
    """All jobs: descents by method and κ, Newton's steps by κ, noisy descents by schedule, paths by method and by λ."""

    descents: dict[tuple[str, float], list[Job]]
    newton: dict[float, list[Job]]
    noise: dict[str, list[Job]]
    valley: dict[str, Job]
    saddle: dict[float, Job]


def _jobs(options: Options) -> _Jobs:
    steps, runs = (2_000, 32) if options.quick else (20_000, 64)
    rates = {
        (name, kappa): [
            Job(
                descent,
                {"method": name, "kappa": kappa, "dimensions": DIMENSIONS, "seed": seed},
                0.1 + kappa ** (2 * method.power) / 1_000,
            )
            for seed in range(options.seeds)
        ]
        for kappa in _kappas(options)
        for name, method in METHODS.items()
    }
    noise = {
        name: [
            Job(noisy, {"schedule": name, "steps": steps, "runs": runs, "seed": seed}, steps / 7_000)
            for seed in range(options.seeds)
        ]
        for name in SCHEDULES
    }
    steps_of_newton = {
        kappa: [Job(newton, {"kappa": kappa, "dimensions": DIMENSIONS, "seed": seed}, 0.1)
                for seed in range(options.seeds)]
        for kappa in _kappas(options)
    }  # fmt: skip
    paths = {name: Job(valley, {"method": name, "steps": 30}, 0.01) for name in METHODS}
    saddles = {damping: Job(saddle, {"damping": damping}, 0.01) for damping in (0.0, DAMPING)}
    return _Jobs(rates, steps_of_newton, noise, paths, saddles)


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs: descents, Newton's steps, noisy descents, the paths in the valley and at the saddle.

    Returns:
        All of them at once.
    """
    jobs = _jobs(options)
    seeded = (*jobs.descents.values(), *jobs.newton.values(), *jobs.noise.values())
    return Plan([*(job for some in seeded for job in some), *jobs.valley.values(), *jobs.saddle.values()])


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the tables, the checks and the figures.

    Returns:
        What the rerun shows.
    """
    jobs, kappas = _jobs(options), _kappas(options)
    found = {key: results.of(some) for key, some in jobs.descents.items()}
    left = {kappa: max(each["error"] for each in results.of(some)) for kappa, some in jobs.newton.items()}
    noise = {name: results.of(some) for name, some in jobs.noise.items()}
    paths = {name: results[job.key]["path"] for name, job in jobs.valley.items()}
    ways = {damping: results[job.key]["path"] for damping, job in jobs.saddle.items()}
    tables = [_rates(options, kappas, found, left), _powers(kappas, found), _noise(noise), _saddle(ways)]
    figures = [
        Figure("rates", "Error against iteration on quadratics; dashed: the factor of the theory",
               lambda canvas: _draw_rates(canvas, kappas, found), (9.0, 3.4 * math.ceil(len(kappas) / 2))),
        Figure("valley", f"Thirty iterations in a narrow valley, κ = {VALLEY:g}",
               lambda canvas: _draw_valley(canvas, paths), (9.0, 6.0)),
        Figure("noise", "Stochastic gradients: f - f* against steps; dashed: the power of the theory",
               lambda canvas: _draw_noise(canvas, noise)),
        Figure("saddle", "Newton's method on x² - y²", lambda canvas: _draw_saddle(canvas, ways), (4.6, 4.2)),
    ]  # fmt: skip
    return Outcome(tables, [*_checks(kappas, found), *_other_checks(left, noise, ways)], figures)


Found = Mapping[tuple[str, float], Sequence[Result]]


def _rates(options: Options, kappas: Sequence[float], found: Found, left: Mapping[float, float]) -> Table:
    rows: list[list[Cell]] = []
    for name, method in METHODS.items():
        row: list[Cell] = [name, method.formula]
        for kappa in kappas:
            row += [seeds_interval([each["rate"] for each in found[name, kappa]]), method.rate(kappa)]
        rows.append(row)
    newton_row: list[Cell] = ["Newton, undamped", "0"]
    for kappa in kappas:
        newton_row += [f"{left[kappa]:.0e}", 0.0]
    rows.append(newton_row)
    columns = [Column("method"), Column("theory's factor")]
    for kappa in kappas:
        columns += [Column(f"κ = {kappa:,g}: measured", ".4f"), Column("theory", ".4f")]
    return Table(
        "Factor of the error ‖θ - θ*‖ an iteration",
        columns,
        rows,
        f"Quadratics of {DIMENSIONS} dimensions, eigenvalues from µ = 1 to L = κ evenly on a logarithmic scale, turned "
        f"at random; float64; {options.seeds} seeds, in brackets Student's 95 % interval. Measured over the later half "
        f"(on a logarithmic scale) of the way to an error of {LEAST:g} of the first; f - f* falls with the square of "
        "the factor. Of Newton's method: the error after its first step, greatest over seeds.",
    )


def _power(name: str, kappas: Sequence[float], found: Found) -> Estimate:
    seeds = range(len(found[name, kappas[0]]))
    return seeds_interval(
        [log_slope(list(kappas), [found[name, kappa][seed]["iterations"] for kappa in kappas]) for seed in seeds]
    )


def _powers(kappas: Sequence[float], found: Found) -> Table:
    rows: list[list[Cell]] = [
        [
            name,
            *(fmean(each["iterations"] for each in found[name, kappa]) for kappa in kappas),
            _power(name, kappas, found),
            f"κ^{method.power:g}" if name != _CONJUGATE else f"at most κ^{method.power:g}",
        ]
        for name, method in METHODS.items()
    ]
    return Table(
        f"Iterations until the error is {LEAST:g} of the first, and the power of κ with which they grow",
        [Column("method"), *(Column(f"κ = {kappa:,g}", ",.0f") for kappa in kappas), Column("power", ".3f"),
         Column("theory")],
        rows,
    )  # fmt: skip


def _noise(found: Mapping[str, Sequence[Result]]) -> Table:
    rows: list[list[Cell]] = [
        [name, fmean(each["gaps"][-1] for each in some), seeds_interval([each["power"] for each in some]), power]
        for (name, some), (_, power) in zip(found.items(), SCHEDULES.values(), strict=True)
    ]
    steps = next(iter(found.values()))[0]["steps"][-1]
    return Table(
        "Stochastic gradient descent: the power of k with which f - f* falls",
        [Column("learning rate"), Column(f"f - f* after {steps:,} steps", ".2g"), Column("power", ".3f"),
         Column("theory", "g")],
        rows,
        "κ = 10, 50 dimensions, noise N(0, 1) on each element of the gradient. With a constant rate f - f* stays where "
        "noise and rate balance. On a strongly convex function it follows the rate: 1/√k, the rate that is safe for "
        "every convex function, gives 1/√k; 1/k gives 1/k.",
    )  # fmt: skip


def _saddle(ways: Mapping[float, Sequence[Sequence[float]]]) -> Table:
    rows: list[list[Cell]] = [
        ["undamped" if damping == 0 else f"damped, λ = {damping:g}", f"({way[0][0]:g}, {way[0][1]:g})",
         f"({way[1][0]:.3g}, {way[1][1]:.3g})", f"({way[-1][0]:.3g}, {way[-1][1]:.3g})"]
        for damping, way in ways.items()
    ]  # fmt: skip
    return Table("Newton's method on x² - y²", [Column("method"), Column("start"), Column("after 1 step"),
                                                 Column(f"after {SADDLE_STEPS} steps")], rows)  # fmt: skip


def _checks(kappas: Sequence[float], found: Found) -> list[Check]:
    exact = [method for name, method in METHODS.items() if name != _CONJUGATE]

    def off(method: Method) -> float:
        return max(
            abs(fmean(math.log(each["rate"]) for each in found[method.name, kappa]) / math.log(method.rate(kappa)) - 1)
            for kappa in kappas
        )

    powers = {method.name: _power(method.name, kappas, found).value for method in exact}
    bounded = [name for name in METHODS if name.startswith("gradient descent") or name == _CONJUGATE]
    worst = {name: max(each["over"] for kappa in kappas for each in found[name, kappa]) for name in bounded}
    return [
        Check(f"log ρ is within {RATE_TOLERANCE:.0%} of the theory's for every method and κ",
              all(off(method) <= RATE_TOLERANCE for method in exact),
              "; ".join(f"{method.name}: off by {off(method):.1%} at most" for method in exact)),
        Check(f"the power of κ is within {POWER_TOLERANCE:g} of the theory's",
              all(abs(powers[method.name] - method.power) <= POWER_TOLERANCE for method in exact),
              "; ".join(f"{name}: {power:.2f}" for name, power in powers.items())),
        Check("f - f* is never above its bound, (L/2) ρ^2k ‖θ₀ - θ*‖² of gradient descent, 4 ρ^2k (f₀ - f*) of "
              "conjugate gradients", all(over <= 1 + 1e-9 for over in worst.values()),
              "; ".join(f"{name}: {over:.2f} of it at most" for name, over in worst.items())),
    ]  # fmt: skip


def _other_checks(
    left: Mapping[float, float], noise: Mapping[str, Sequence[Result]], ways: Mapping[float, Sequence[Sequence[float]]]
) -> list[Check]:
    powers = {name: fmean(each["power"] for each in some) for name, some in noise.items()}
    undamped, damped = ways[0.0], ways[DAMPING]
    return [
        Check("Newton's method is at the minimum after one step, whatever κ is", all(e < 1e-9 for e in left.values()),
              f"an error of {max(left.values()):.0e} of the first at most"),
        Check(f"with noise the power of k is within {POWER_TOLERANCE:g} of the theory's",
              all(abs(powers[name] - power) <= POWER_TOLERANCE for name, (_, power) in SCHEDULES.items()),
              "; ".join(f"{name}: {power:.2f}" for name, power in powers.items())),
        Check("Newton's method, undamped, is at the saddle (0, 0) of x² - y² after one step",
              all(abs(value) < 1e-9 for value in undamped[1]), f"({undamped[1][0]:.1g}, {undamped[1][1]:.1g})"),
        Check("damped it leaves the saddle: abs(y) grows in every step",
              all(abs(b[1]) > abs(a[1]) for a, b in pairwise(damped)),
              f"y from {damped[0][1]:.2g} to {damped[-1][1]:.2g}"),
    ]  # fmt: skip


def _draw_rates(canvas: Any, kappas: Sequence[float], found: Found) -> None:
    panels = canvas.subplots(math.ceil(len(kappas) / 2), 2, sharey=True, squeeze=False).flat
    for axes, kappa in zip(panels, kappas, strict=False):
        for name, method in METHODS.items():
            curve = found[name, kappa][0]["curve"]
            axes.loglog([max(k, 0.7) for k, _ in curve], [e for _, e in curve], color=_COLOURS[name], label=name)
            last = math.log(LEAST) / math.log(method.rate(kappa))
            places = [last * 10 ** (-3 * (1 - i / 100)) for i in range(101)]
            axes.loglog(places, [method.rate(kappa) ** k for k in places], color=_COLOURS[name], linestyle="--",
                        linewidth=0.9)  # fmt: skip
        axes.set_title(f"κ = {kappa:,g}", fontsize="medium")
        axes.set_ylim(LEAST, 20.0)
        axes.set_xlim(left=0.9)
    canvas.axes[0].legend(fontsize="small", loc="lower left")
    canvas.supxlabel("iteration", fontsize="medium")
    canvas.supylabel("‖θ - θ*‖ / ‖θ₀ - θ*‖", fontsize="medium")


def _draw_valley(canvas: Any, paths: Mapping[str, Sequence[Sequence[float]]]) -> None:
    x, y = torch.meshgrid(torch.linspace(-3.0, 6.0, 181), torch.linspace(-1.4, 1.4, 141), indexing="xy")
    height = 0.5 * (x.square() + VALLEY * y.square())
    names = [name for name in paths if name != "gradient descent, 1/L"]
    for axes, name in zip(canvas.subplots(2, 2, sharex=True, sharey=True).flat, names, strict=True):
        axes.contour(x, y, height, levels=[0.05 * 2.2**i for i in range(8)], colors="#cccccc", linewidths=0.8)
        path = paths[name]
        axes.plot([p[0] for p in path], [p[1] for p in path], marker="o", markersize=3, color=_COLOURS[name])
        axes.plot([0], [0], marker="+", color="black", markersize=9)
        axes.set_title(f"{name} ({len(path) - 1} iterations)", fontsize="medium")
        axes.grid(visible=False)


def _draw_noise(canvas: Any, found: Mapping[str, Sequence[Result]]) -> None:
    axes = canvas.add_subplot()
    for (name, some), (_, power), colour in zip(
        found.items(), SCHEDULES.values(), ("#4c78a8", "#f58518", "#54a24b"), strict=True
    ):
        steps, gaps = some[0]["steps"], some[0]["gaps"]
        axes.loglog(steps, gaps, color=colour, label=f"rate {name}")
        last = steps[-1]
        ends = [last / 30, last]
        axes.loglog(ends, [gaps[-1] * (k / last) ** power for k in ends], color="black", linestyle="--", linewidth=0.9)
    axes.legend(fontsize="small")
    axes.set_xlabel("step k")
    axes.set_ylabel("f - f*")


def _draw_saddle(canvas: Any, ways: Mapping[float, Sequence[Sequence[float]]]) -> None:
    axes = canvas.add_subplot()
    reach = 1.5
    x, y = torch.meshgrid(torch.linspace(-reach, reach, 121), torch.linspace(-reach, reach, 121), indexing="xy")
    axes.contour(x, y, x.square() - y.square(), levels=15, cmap="RdBu_r", linewidths=0.9)
    for (damping, way), colour in zip(ways.items(), ("#e45756", "#4c78a8"), strict=True):
        label = "undamped" if damping == 0 else f"damped, λ = {damping:g}"
        axes.plot([p[0] for p in way], [p[1] for p in way], marker="o", markersize=4, color=colour, label=label)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.grid(visible=False)
    axes.legend(fontsize="small", loc="lower right")


recipe = Recipe(plan, conclude)
