"""The comparison: as many numbers a picture, from a deep network or from principal components."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from lamina.recipes.hinton2006.train import MAPPED, deep, linear, originals
from lamina.recipes.martens2010.published import RECALLED, REPORTED, Reported
from lamina.recipes.recipe import Check, Facts, Figure, Job, Options, Outcome, Plan, Recipe, Result, Results
from lamina.recipes.regularisation.digits import settle as settle_digits
from lamina.recipes.table import Cell, Column, Estimate, Table

_SCIENCE = "Hinton & Salakhutdinov 2006"

PUBLISHED = (
    *(each for each in REPORTED if each.problem == "mnist" and each.source == _SCIENCE),
    Reported("mnist", "logistic principal components, 30", "test", 8.01, _SCIENCE, RECALLED),
)

_PCA_OF_MNIST = 13.87
_MACHINES, _RANDOM = "deep, unrolled machines", "deep, random start"
_LINEAR = "principal components"


@dataclass(frozen=True, slots=True)
class _Size:
    """A network and its training.

    Attributes:
        hidden: Layers between picture and code.
        code: Numbers of the code; 2 for the map.
        pretraining: Epochs of each machine.
        epochs: Of fine-tuning.
        batch: Pictures an update.
    """

    hidden: tuple[int, ...]
    code: int
    pretraining: int
    epochs: int
    batch: int


SIZES = {
    "mnist": _Size((1000, 500, 250), 30, 10, 20, 100),
    "digits": _Size((100, 50, 25), 6, 10, 40, 20),
}


def settle(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Find out which digits there are.

    Returns:
        ``data``.
    """
    return {"data": settle_digits(options.quick, options.data_dir, options.offline, say)}


@dataclass(frozen=True, slots=True)
class _Jobs:
    originals: Job
    linear: Mapping[int, Job]
    deep: Mapping[tuple[str, int], Sequence[Job]]

    @property
    def all(self) -> list[Job]:
        return [self.originals, *self.linear.values(), *(job for jobs in self.deep.values() for job in jobs)]


def _jobs(options: Options, facts: Facts) -> _Jobs:
    data = facts["data"]
    size, place = SIZES[data], {"data_dir": options.data_dir}
    tried = ((_MACHINES, "machines", size.code), (_RANDOM, "random", size.code), (_MACHINES, "machines", 2))
    return _Jobs(
        Job(originals, {"data": data}, 0.1, place),
        {code: Job(linear, {"data": data, "code": code}, 0.5, place) for code in (size.code, 2)},
        {
            (name, code): [
                Job(
                    deep,
                    {
                        "data": data,
                        "hidden": list(size.hidden),
                        "code": code,
                        "start": start,
                        "seed": seed,
                        "pretraining": size.pretraining if start == "machines" else 0,
                        "epochs": size.epochs,
                        "batch": size.batch,
                    },
                    10.0 if start == "machines" else 7.0,
                    place,
                )
                for seed in range(options.seeds)
            ]
            for name, start, code in tried
        },
    )


def plan(options: Options, facts: Facts, results: Results) -> Plan:
    """Name the jobs.

    Returns:
        All of them at once.
    """
    return Plan(_jobs(options, facts).all)


def conclude(options: Options, facts: Facts, results: Results) -> Outcome:
    """Make the tables, the checks and the figures.

    Returns:
        What the rerun shows.
    """
    jobs, data = _jobs(options, facts), facts["data"]
    size = SIZES[data]
    straight = {code: results[job.key] for code, job in jobs.linear.items()}
    found = {key: results.of(of) for key, of in jobs.deep.items()}
    unrolled, mapped = found[_MACHINES, size.code], found[_MACHINES, 2]
    start_error = fmean(each["start_error"] for each in unrolled)
    rows: list[Sequence[Cell]] = []
    for (name, code), of in found.items():
        shape = "-".join(map(str, [*size.hidden, code]))
        rows.append((f"{name}, {shape}", code, _train(of), _test(of), _neighbours(of)))
    rows += [(_LINEAR, code, _train([each]), _test([each]), _neighbours([each])) for code, each in straight.items()]
    ours = Table(
        f"Squared error, summed over pixels, a picture ({'MNIST' if data == 'mnist' else 'the bundled digits'})",
        [Column("autoencoder"), Column("numbers a picture"), Column("training", ".2f"), Column("test [95 %]", ".2f"),
         Column("nearest neighbour in the code is another digit, %", ".1f")],
        rows,
        f"Pixels in [0, 1]. Mean of {options.seeds} seed{'s' * (options.seeds > 1)}; the interval is that of the test "
        f"pictures. Neighbours among {MAPPED:,} test pictures at most, codes of two numbers alone.",
    )  # fmt: skip
    tables = [ours]
    if data == "mnist":
        tables.append(_beside(unrolled, straight[size.code]))
    half = 0.5 if data == "mnist" else 1.0
    checks = [
        Check(f"with {size.code} numbers the unrolled network leaves less than {'half of ' * (half < 1)}what principal "
              "components leave", _mean(unrolled, "test_error") < half * straight[size.code]["test_error"],
              f"{_mean(unrolled, 'test_error'):.2f} and {straight[size.code]['test_error']:.2f}"),
        Check("with 2 numbers it leaves less too",
              _mean(mapped, "test_error") < straight[2]["test_error"],
              f"{_mean(mapped, 'test_error'):.2f} and {straight[2]['test_error']:.2f}"),
        Check("on the deep map fewer pictures have a neighbour of another digit",
              _mean(mapped, "neighbour_error") < straight[2]["neighbour_error"],
              f"{_mean(mapped, 'neighbour_error'):.1%} and {straight[2]['neighbour_error']:.1%}"),
        Check("fine-tuning lowers what the machines alone leave", _mean(unrolled, "test_error") < start_error,
              f"{start_error:.2f} to {_mean(unrolled, 'test_error'):.2f}"),
    ]  # fmt: skip
    if data == "mnist":
        error = straight[size.code]["test_error"]
        checks.append(Check("30 principal components leave the published 13.87", abs(error - _PCA_OF_MNIST) < 0.01,
                            f"{error:.3f}"))  # fmt: skip
    seen = results[jobs.originals.key]
    shown = {
        "test pictures": seen["shown"],
        f"deep, {size.code}": unrolled[0]["shown"],
        f"linear, {size.code}": straight[size.code]["shown"],
        "deep, 2": mapped[0]["shown"],
        "linear, 2": straight[2]["shown"],
    }
    maps = {f"{size.hidden[0]}-…-2": mapped[0]["map"], "two principal components": straight[2]["map"]}
    figures = [
        Figure("reconstructions", "Test pictures, and what is left of them",
               lambda canvas: _draw_pictures(canvas, shown, seen["side"]), (8.0, 4.4)),
        Figure("maps", "Test pictures on the plane of their codes",
               lambda canvas: _draw_maps(canvas, maps, seen["digits"]), (9.0, 4.6)),
    ]  # fmt: skip
    notes = [
        f"Machines: CD-1, {size.pretraining} epochs each, rate 0.1 (code: 0.001, Gaussian units), momentum 0.9, decay "
        f"2e-4. Fine-tuning: cross-entropy, Adam, batches of {size.batch}, {size.epochs} epochs, rate from 0.001 along "
        "half a cosine; the reference has 50 epochs each and conjugate gradients. The random start has the same "
        "fine-tuning and Glorot's weights."
    ]
    return Outcome(tables, checks, figures, notes)


def _beside(unrolled: Sequence[Result], straight: Result) -> Table:
    ours = {"pre-training": _mean(unrolled, "test_error"), "principal components, 30": straight["test_error"]}
    rows: list[Sequence[Cell]] = []
    for each in PUBLISHED:
        here = next((value for name, value in ours.items() if each.what.startswith(name)), None)
        verdict = "not run" if here is None else "lower" if here < each.error - 0.01 else "higher"
        if here is not None and abs(here - each.error) <= 0.01:
            verdict = "the same"
        rows.append((each.what, each.error, here, verdict, each.status))
    return Table(
        "Beside what was published, test",
        [Column("method"), Column("published", ".2f"), Column("here", ".2f"), Column("ours is"), Column("the figure")],
        rows,
        f"{_SCIENCE}; the same in the test part and the measure, not in the epochs and the optimiser.",
    )


def _mean(of: Sequence[Result], name: str) -> float:
    return fmean(each[name] for each in of)


def _train(of: Sequence[Result]) -> float:
    return _mean(of, "train_error")


def _test(of: Sequence[Result]) -> Estimate:
    return Estimate(_mean(of, "test_error"), _mean(of, "test_low"), _mean(of, "test_high"))


def _neighbours(of: Sequence[Result]) -> float | None:
    return 100.0 * _mean(of, "neighbour_error") if "neighbour_error" in of[0] else None


def _draw_pictures(canvas: Any, shown: Mapping[str, Sequence[Sequence[int]]], side: int) -> None:
    grid = canvas.subplots(len(shown), 1)
    for axes, (title, pictures) in zip(grid, shown.items(), strict=True):
        strip = np.hstack([np.reshape(picture, (side, side)) for picture in pictures])
        axes.imshow(strip, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize="small")
        axes.set(xticks=[], yticks=[])
        axes.grid(False)


def _draw_maps(canvas: Any, maps: Mapping[str, Sequence[Sequence[float]]], digits: Sequence[int]) -> None:
    from matplotlib import colormaps

    colours = colormaps["tab10"]
    for axes, (title, codes) in zip(canvas.subplots(1, 2), maps.items(), strict=True):
        places, kinds = np.asarray(codes), np.asarray(digits)
        for digit in np.unique(kinds):
            some = places[kinds == digit]
            axes.scatter(some[:, 0], some[:, 1], s=4, color=colours(int(digit)), label=str(digit), linewidths=0)
        axes.set_title(title, fontsize="medium")
        axes.set(xticks=[], yticks=[])
    canvas.legend(*canvas.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=10, markerscale=3,
                  fontsize="small")  # fmt: skip


recipe = Recipe(plan, conclude, settle)
