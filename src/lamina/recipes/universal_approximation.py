"""Universal approximation: the error of one hidden layer against its number of units, constructed and trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from lamina.nn.classics.universal_approximation import approximate, approximate_plane
from lamina.nn.mlp import MLP
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Column, Estimate, Table

SLOPE = 4.0
"""Steepness of the constructed sigmoids, in widths of a step."""


@dataclass(frozen=True, slots=True)
class Target:
    """A continuous function on [-1, 1] or its square.

    Attributes:
        dimensions: 1 or 2.
        formula: As shown.
        function: Of (N,) or (N, 2) float64 points, gives (N,).
        steepest: Greatest slope of a function of one number; 0 for two.
    """

    dimensions: int
    formula: str
    function: Callable[[Tensor], Tensor]
    steepest: float = 0.0


def _hills(x: Tensor) -> Tensor:
    first = (x[:, 0] - 0.4).square() + (x[:, 1] - 0.3).square()
    second = (x[:, 0] + 0.5).square() + (x[:, 1] + 0.2).square()
    return torch.exp(-4.0 * first) - 0.7 * torch.exp(-6.0 * second)


TARGETS = {
    "sines": Target(
        1,
        "sin 2πx + ½ sin 5πx",
        lambda x: torch.sin(2 * math.pi * x) + 0.5 * torch.sin(5 * math.pi * x),
        4.5 * math.pi,
    ),
    "kink": Target(1, "abs(x - 0.2)", lambda x: (x - 0.2).abs(), 1.0),
    "waves": Target(2, "sin πx cos πy", lambda x: torch.sin(math.pi * x[:, 0]) * torch.cos(math.pi * x[:, 1])),
    "hills": Target(2, "two Gaussian hills", _hills),
}


def constructed(target: str, units: int, slope: float | None) -> Result:
    """Measure the network that the construction writes down.

    Returns:
        ``rms`` and ``most``, the root mean squared and the greatest error on a fine grid, and ``units`` as built.
    """
    net = build(target, units, slope)
    return {**_errors(net, TARGETS[target]), "units": net[0].out_features}


def build(target: str, units: int, slope: float | None) -> nn.Sequential:
    """Return the constructed network in float64: steps, or sigmoids where a slope is given."""
    wanted = TARGETS[target]
    if wanted.dimensions == 1:
        return approximate(wanted.function, -1.0, 1.0, units, slope=slope).double()
    return approximate_plane(wanted.function, (-1.0, -1.0), (1.0, 1.0), units, slope=slope).double()


def trained(target: str, units: int, seed: int, iterations: int) -> Result:
    """Fit a network of sigmoid units by least squares with L-BFGS, and measure it between the points it saw.

    The sigmoids begin with slopes N(0, 6²) and their middles spread evenly over the domain at random.

    Returns:
        ``rms`` and ``most`` on a fine grid.
    """
    wanted = TARGETS[target]
    generator = torch.Generator().manual_seed(10_000 * seed + units)
    net = MLP(wanted.dimensions, 1, (units,), "sigmoid", generator=generator).double()
    layer = net[0]
    assert isinstance(layer, nn.Linear)
    weight, bias = layer.weight, layer.bias
    with torch.no_grad():
        weight.copy_(6.0 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
        middle = 2.0 * torch.rand(weight.shape, generator=generator, dtype=torch.float64) - 1.0
        bias.copy_(-(weight * middle).sum(1))
    inputs = _grid(wanted, 257 if wanted.dimensions == 1 else 33)
    values = _values(wanted, inputs)
    optimizer = torch.optim.LBFGS(
        net.parameters(),
        max_iter=iterations,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        error: Tensor = (net(inputs).squeeze(1) - values).square().mean()
        error.backward()  # type: ignore[no-untyped-call]
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return _errors(net, wanted)


def _grid(target: Target, points: int) -> Tensor:
    side = torch.linspace(-1.0, 1.0, points, dtype=torch.float64)
    return side.unsqueeze(1) if target.dimensions == 1 else torch.cartesian_prod(side, side)


def _values(target: Target, inputs: Tensor) -> Tensor:
    return target.function(inputs.squeeze(1) if target.dimensions == 1 else inputs)


def _errors(net: nn.Module, target: Target) -> Result:
    inputs = _grid(target, 2_001 if target.dimensions == 1 else 101)
    with torch.no_grad():
        error = net(inputs).squeeze(1) - _values(target, inputs)
    return {"rms": error.square().mean().sqrt().item(), "most": error.abs().max().item()}


def _sizes(options: Options) -> tuple[Sequence[int], Sequence[int]]:
    """Return the numbers of units of the constructed and of the trained networks."""
    return ((8, 32, 128), (2, 8)) if options.quick else ((8, 32, 128, 512, 2048), (2, 4, 8, 16, 32, 64))


Built = dict[tuple[str, int, float | None], Job]
Learnt = dict[tuple[str, int], list[Job]]


def _jobs(options: Options) -> tuple[Built, Learnt]:
    built, learnt = _sizes(options)
    iterations = 200 if options.quick else 1_000
    return {
        (name, units, slope): Job(constructed, {"target": name, "units": units, "slope": slope}, 0.1)
        for name in TARGETS
        for slope in (None, SLOPE)
        for units in built
    }, {
        (name, units): [
            Job(trained, {"target": name, "units": units, "seed": seed, "iterations": iterations})
            for seed in range(options.seeds)
        ]
        for name in TARGETS
        for units in learnt
    }


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs: constructions with steps and with sigmoids, and trained networks from several starts.

    Returns:
        All of them at once.
    """
    built, learnt = _jobs(options)
    return Plan([*built.values(), *(job for jobs in learnt.values() for job in jobs)])


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the two tables, the checks and the figures.

    Returns:
        What the rerun shows.
    """
    built, learnt = _jobs(options)
    sizes, widths = _sizes(options)
    found = {key: results[job.key] for key, job in built.items()}
    errors = {key: _spread([each["rms"] for each in results.of(jobs)]) for key, jobs in learnt.items()}
    shown = [f"{name}: {target.formula}" for name, target in TARGETS.items()]
    by_construction = Table(
        "Constructed: root mean squared error, with steps / with sigmoids",
        [Column("hidden units"), *(Column(text) for text in shown)],
        [
            (units, *(f"{found[name, units, None]['rms']:.2g} / {found[name, units, SLOPE]['rms']:.2g}"
                      for name in TARGETS))
            for units in sizes
        ],
        "On [-1, 1] or its square. One number: a step at each cell's edge. Two: the cosines of the function, each cut "
        f"into steps. Sigmoids of slope {SLOPE:g} in widths of a step round the stairs off.",
    )  # fmt: skip
    by_training = Table(
        "Trained: root mean squared error between the training points, median [least, greatest] over seeds",
        [Column("hidden units"), *(Column(text, ".2g") for text in shown)],
        [(units, *(errors[name, units] for name in TARGETS)) for units in widths],
        f"Sigmoid units, least squares on 257 points (33 × 33 on the square), L-BFGS, {options.seeds} starts.",
    )
    few, many = sizes[0], sizes[-1]
    falls = all(
        found[name, b, slope]["rms"] < found[name, a, slope]["rms"]
        for name in TARGETS
        for slope in (None, SLOPE)
        for a, b in pairwise(sizes)
    )
    bounds = [
        (found[name, units, None]["most"], target.steepest / (units + 1))  # half a cell is 1 / (units + 1)
        for name, target in TARGETS.items()
        if target.dimensions == 1
        for units in sizes
    ]
    least, greatest, share = widths[0], widths[-1], 1.0 if options.quick else 0.2
    checks = [
        Check("the constructed networks' error falls with every increase of the units", falls,
              "; ".join(f"{name}: {found[name, few, None]['rms']:.2g} to {found[name, many, None]['rms']:.2g}"
                        for name in TARGETS)),
        Check("in one dimension the steps err by at most half a cell times the steepest slope",
              all(most <= bound * (1 + 1e-4) for most, bound in bounds),
              f"{max(most / bound for most, bound in bounds):.2f} of the bound at most"),
        Check(f"trained networks of {greatest} units err less than {'' if options.quick else 'a fifth of '}those of "
              f"{least} units",
              all(errors[name, greatest].value < errors[name, least].value * share for name in TARGETS),
              "; ".join(f"{name}: {errors[name, least].value:.2g} to {errors[name, greatest].value:.2g}"
                        for name in TARGETS)),
    ]  # fmt: skip
    steps = {(name, slope): [found[name, units, slope]["rms"] for units in sizes] for name in TARGETS
             for slope in (None, SLOPE)}  # fmt: skip
    learned = {name: [errors[name, units] for units in widths] for name in TARGETS}
    figures = [
        Figure("errors", "Root mean squared error against hidden units",
               lambda canvas: _draw_errors(canvas, sizes, steps, widths, learned), (9.0, 6.0)),
        Figure("stairs", "sin 2πx + ½ sin 5πx, and the networks that the construction writes down", _draw_stairs,
               (9.0, 2.8)),
    ]  # fmt: skip
    return Outcome([by_construction, by_training], checks, figures)


def _spread(values: Sequence[float]) -> Estimate:
    return Estimate(median(values), min(values), max(values))


def _draw_errors(
    canvas: Any,
    sizes: Sequence[int],
    steps: dict[tuple[str, float | None], list[float]],
    widths: Sequence[int],
    learned: dict[str, list[Estimate]],
) -> None:
    for axes, (name, target) in zip(canvas.subplots(2, 2, sharex=True).flat, TARGETS.items(), strict=True):
        axes.set_title(target.formula, fontsize="medium")
        axes.loglog(sizes, steps[name, None], marker="s", color="#4c78a8", label="constructed, steps")
        axes.loglog(sizes, steps[name, SLOPE], marker="o", color="#f58518", label="constructed, sigmoids")
        found = learned[name]
        ends = [[e.value - e.low for e in found], [e.high - e.value for e in found]]
        axes.errorbar(widths, [e.value for e in found], yerr=ends, marker="^", capsize=3, color="#54a24b",
                      label="trained, sigmoids")  # fmt: skip
    canvas.axes[0].legend(fontsize="small")
    canvas.supxlabel("hidden units", fontsize="medium")
    canvas.supylabel("error", fontsize="medium")


def _draw_stairs(canvas: Any) -> None:
    target = TARGETS["sines"]
    inputs = _grid(target, 1_001)
    kinds = (("8 steps", 8, None), ("32 steps", 32, None), ("32 sigmoids", 32, SLOPE))
    for axes, (title, units, slope) in zip(canvas.subplots(1, 3, sharey=True), kinds, strict=True):
        with torch.no_grad():
            values = build("sines", units, slope)(inputs).squeeze(1)
        axes.plot(inputs.squeeze(1).numpy(), _values(target, inputs).numpy(), color="#bbbbbb", linewidth=3)
        axes.plot(inputs.squeeze(1).numpy(), values.numpy(), color="#4c78a8", linewidth=1.2)
        axes.set_title(title, fontsize="medium")


recipe = Recipe(plan, conclude)
