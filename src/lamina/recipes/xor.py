"""XOR: nets wired by hand, the linear fit that cannot, and sigmoid nets 2-H-1 trained from many starts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from lamina.data.generated.parity import all_bits, parity
from lamina.nn.classics.linear_regression import linear_regression
from lamina.nn.classics.threshold_networks import xor_network
from lamina.recipes.boolean_nets import logits, train_many
from lamina.recipes.intervals import share_interval
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.table import Column, Table

WIDTHS = (1, 2, 4, 8, 12)
"""H = 1 stands for what cannot work; 2, 4, 8 and 12 are those of the course."""

FORMS = ("difference", "sum", "relu")
_EXPECTED = {  # hidden outputs for the inputs 00, 01, 10, 11; from the course's tables
    "difference": [[0, 1], [1, 1], [0, 0], [0, 1]],
    "sum": [[0, 0], [0, 1], [0, 1], [1, 1]],
    "relu": [[0, 0], [1, 0], [1, 0], [2, 1]],
}
_XOR = [0, 1, 1, 0]


def wired(form: str) -> Result:
    """Run a hand-wired net on the four inputs.

    Returns:
        ``hidden`` (4 rows of 2) and ``output`` (4).
    """
    net = xor_network(form)  # type: ignore[arg-type]
    with torch.no_grad():
        hidden = net[:2](all_bits(2))
        return {"hidden": hidden.tolist(), "output": net(all_bits(2)).squeeze(-1).tolist()}


def line() -> Result:
    """Fit w · x + b to XOR by least squares.

    Returns:
        ``weight``, ``bias``, ``output`` of the four inputs and the mean squared error ``mse``.
    """
    inputs = all_bits(2).double()
    target = parity(inputs)
    fitted = linear_regression(inputs, target)
    with torch.no_grad():
        output = fitted(inputs).squeeze(-1)
    return {
        "weight": fitted.weight[0].tolist(),
        "bias": fitted.bias.item(),
        "output": output.tolist(),
        "mse": (output - target).square().mean().item(),
    }


def starts(units: int, seed: int, count: int, updates: int, rate: float) -> Result:
    """Train ``count`` sigmoid nets 2-H-1 from random starts.

    Returns:
        ``solved`` (how many end with all four rows right), ``first`` (updates until they were, of the solved),
        ``stuck`` (wrong rows of the others) and ``net``, the first that solved it, or None.
    """
    inputs = all_bits(2)
    generator = torch.Generator().manual_seed(1_000 * seed + units)
    found = train_many(
        inputs, parity(inputs), units=units, starts=count, updates=updates, rate=rate, generator=generator
    )
    good = found.wrong == 0
    chosen = int(good.int().argmax())
    return {
        "count": count,
        "solved": int(good.sum()),
        "first": found.first[good].tolist(),
        "stuck": found.wrong[~good].tolist(),
        "net": [part[chosen].tolist() for part in found.weights] if bool(good.any()) else None,
    }


def _jobs(options: Options) -> tuple[list[Job], list[list[Job]]]:
    count, updates = (50, 600) if options.quick else (200, 2_000)
    exact = [*(Job(wired, {"form": form}, 0.01) for form in FORMS), Job(line, {}, 0.01)]
    trained = [
        [
            Job(starts, {"units": units, "seed": seed, "count": count, "updates": updates, "rate": 0.03})
            for seed in range(options.seeds)
        ]
        for units in WIDTHS
    ]
    return exact, trained


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs: three wirings, the line, and for each width as many blocks of starts as seeds.

    Returns:
        All of them at once.
    """
    exact, trained = _jobs(options)
    return Plan([*exact, *(job for jobs in trained for job in jobs)])


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the two tables, the checks and the figures.

    Returns:
        What the rerun shows.
    """
    exact, trained = _jobs(options)
    *wirings, fit = results.of(exact)
    rows: list[tuple[Any, ...]] = [
        (f"hand-wired, {form}", "2-2-1", *(_bits(value) for value in found["output"]))
        for form, found in zip(FORMS, wirings, strict=True)
    ]
    rows.append(("linear, least squares", "2-1", *(f"{value:.2f}" for value in fit["output"])))
    outputs = Table("Outputs for the four inputs", [Column(n) for n in ("net", "sizes", "00", "01", "10", "11")], rows)

    blocks = [results.of(jobs) for jobs in trained]
    solved = [sum(block["solved"] for block in some) for some in blocks]
    counts = [sum(block["count"] for block in some) for some in blocks]
    shares = [share_interval(s, n) for s, n in zip(solved, counts, strict=True)]
    firsts = [[update for block in some for update in block["first"]] for some in blocks]
    arguments = trained[0][0].arguments
    tried = Table(
        f"Sigmoid nets 2-H-1 after {arguments['updates']:,} updates on all four rows",
        [
            Column("net"),
            Column("starts"),
            Column("share with zero error [95 %]", ".3f"),
            Column("median updates", ".0f"),
        ],
        [
            (f"2-{units}-1", count, share, float(median(first)) if first else None)
            for units, count, share, first in zip(WIDTHS, counts, shares, firsts, strict=True)
        ],
        "Zero error: all four outputs on the right side of ½. Interval: Wilson's, over starts. Median updates: until "
        f"the error was zero for the first time, of those that solved it. Cross-entropy, Adam at {arguments['rate']}, "
        "starting weights N(0, 1).",
    )
    wrong = [form for form, found in zip(FORMS, wirings, strict=True)
             if found["hidden"] != _EXPECTED[form] or found["output"] != _XOR]  # fmt: skip
    checks = [
        Check("the hand-wired nets have the hidden and output values of the course's tables", not wrong,
              f"wrong: {', '.join(wrong) or 'none'}"),
        Check("the least-squares line gives ½ everywhere, mean squared error ¼",
              abs(fit["mse"] - 0.25) < 1e-9 and max(abs(v - 0.5) for v in fit["output"]) < 1e-9, f"{fit['mse']:.4f}"),
        Check("one hidden unit never suffices", solved[0] == 0, f"{solved[0]} of {counts[0]} starts"),
        Check("2-2-1, 2-4-1, 2-8-1 and 2-12-1 reach zero error from some start", all(solved[1:]),
              ", ".join(f"{s} of {n}" for s, n in zip(solved[1:], counts[1:], strict=True))),
        Check("2-12-1 does so from more starts than 2-2-1", shares[-1].low > shares[1].high,
              f"{shares[-1].value:.3f} against {shares[1].value:.3f}"),
    ]  # fmt: skip
    nets = [next((block["net"] for block in some if block["net"]), None) for some in blocks]
    figures = [
        Figure("starts", "XOR: share of starts that reach zero error, 95 % interval", lambda c: _bars(c, shares)),
        Figure("surfaces", "XOR: output of the first trained net that solved it", lambda c: _surfaces(c, nets[1:]),
               (9.0, 2.8)),
    ]  # fmt: skip
    return Outcome([outputs, tried], checks, figures)


def _bits(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value}"


def _bars(canvas: Any, shares: Sequence[Any]) -> None:
    axes = canvas.add_subplot()
    heights = [share.value for share in shares]
    errors = [[s.value - s.low for s in shares], [s.high - s.value for s in shares]]
    axes.bar([f"2-{units}-1" for units in WIDTHS], heights, yerr=errors, capsize=4, color="#4c78a8")
    axes.set_ylabel("share of starts")
    axes.set_ylim(0, 1.05)


def _surfaces(canvas: Any, nets: Sequence[Any]) -> None:
    """Draw σ(z) over the square for one net of each width, with the four inputs."""
    steps = torch.linspace(-0.5, 1.5, 121)
    down, right = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([right.reshape(-1), down.reshape(-1)], dim=1)
    for axes, net, units in zip(canvas.subplots(1, len(nets), sharey=True), nets, WIDTHS[1:], strict=True):
        axes.set_title(f"2-{units}-1", fontsize="medium")
        axes.grid(visible=False)
        if net is not None:
            one = tuple(torch.tensor(part).unsqueeze(0) for part in net)
            surface = torch.sigmoid(logits(one, points)).reshape(down.shape)  # type: ignore[arg-type]
            axes.contourf(steps.numpy(), steps.numpy(), surface.numpy(), levels=20, vmin=0, vmax=1, cmap="RdBu_r")
            axes.contour(steps.numpy(), steps.numpy(), surface.numpy(), levels=[0.5], colors="black", linewidths=1)
        axes.scatter([0, 1], [0, 1], marker="o", facecolor="white", edgecolor="black", zorder=3)
        axes.scatter([0, 1], [1, 0], marker="x", color="black", zorder=3)
        axes.set_aspect("equal")
        axes.set_xlabel("x₁")
    canvas.axes[0].set_ylabel("x₂")


recipe = Recipe(plan, conclude)
