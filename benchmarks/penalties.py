"""What a step costs with each penalty of derivatives, beside the plain step, in one process, round-robin.

    python benchmarks/penalties.py --rounds 9 --out penalties.jsonl
    python benchmarks/penalties.py --memory --out penalties-memory.jsonl

The unit, ``plain``, is ``GradientStep`` with the mean negative log-likelihood and fused Adam: D-512-512-10, batch 128,
made-up data. One thread is pinned to one core and its CPU seconds are counted. Every ratio is taken within a round;
the table shows their median and range. Curvature needs a network that bends: its rows and their unit have tanh units,
the others rectified linear ones. Rounds already in ``--out`` are kept and counted.

``--memory`` prints the peak of the resident memory of a process of its own after 10 and after 1000 steps of each, at
the smallest input.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lamina.data.batch import Batch
from lamina.likelihoods import Categorical
from lamina.nn import MLP
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Penalty
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from lamina.penalties.double_backprop import DoubleBackprop
from lamina.penalties.tangent_prop import TangentProp
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from lamina.training import GradientStep, Supervised
from timing import environment, lap, pin, ratios, read_lines, write_line

BATCH, CLASSES, STEPS = 128, 10, 30
WIDTHS = (64, 784, 3072)
Make = Callable[[int], Penalty | None]


def tangents(size: int) -> torch.Tensor:
    return torch.randn(6, size, generator=torch.Generator().manual_seed(2))


# name: (the unit's activation, the penalty at an input size, the sizes it is measured at)
PEERS: dict[str, tuple[str, Make, tuple[int, ...]]] = {
    "plain": ("relu", lambda size: None, WIDTHS),
    "virtual adversarial": ("relu", lambda size: VirtualAdversarial(), (784,)),
    "virtual adversarial, exact product": ("relu", lambda size: VirtualAdversarial(xi=0.0), (784,)),
    "double back-propagation": ("relu", lambda size: 0.1 * DoubleBackprop(), (784,)),
    "double back-propagation, outputs": ("relu", lambda size: 0.1 * DoubleBackprop("outputs"), (784,)),
    "adversarial": ("relu", lambda size: Adversarial(), (784,)),
    "tangent prop, six combined": ("relu", lambda size: 0.1 * TangentProp(tangents(size)), (784,)),
    "tangent prop, each of six": ("relu", lambda size: 0.1 * TangentProp(tangents(size), draws=0), (784,)),
    "plain, tanh": ("tanh", lambda size: None, WIDTHS),
    "curvature, one axis": ("tanh", lambda size: 0.1 * CurvatureSmoothing(), WIDTHS),
    "curvature, signs": ("tanh", lambda size: 0.1 * CurvatureSmoothing("signs"), WIDTHS),
    "double back-propagation, tanh": ("tanh", lambda size: 0.1 * DoubleBackprop(), (784,)),
}
UNITS = {"relu": "plain", "tanh": "plain, tanh"}


def job(name: str, size: int) -> Callable[[int], None]:
    """A step with a penalty, ready to be made so many times."""
    activation, make, _ = PEERS[name]
    g = torch.Generator().manual_seed(0)
    model = MLP(size, CLASSES, (512, 512), activation, generator=g)
    data = Batch(torch.rand(BATCH, size, generator=g), torch.randint(0, CLASSES, (BATCH,), generator=g))
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    step = GradientStep(model, Supervised(Categorical(CLASSES), make(size)), optimizer)

    def steps(number: int) -> None:
        for _ in range(number):
            step(data)

    return steps


def one_round(number: int, out: Path | None) -> list[dict[str, Any]]:
    lines = []
    for size in WIDTHS:
        names = [name for name, (_, _, sizes) in PEERS.items() if size in sizes]
        jobs = {name: job(name, size) for name in names}
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            jobs[name](3)
            _, time = lap(partial(jobs[name], STEPS))
            lines.append({"round": number, "size": size, "peer": name, "cpu_ms": round(1e3 * time.cpu / STEPS, 4)})
            write_line(out, lines[-1])
    return lines


def summary(lines: list[dict[str, Any]]) -> str:
    rows = ["", "| input | step | CPU ms | ratio | range |", "| ---: | --- | ---: | ---: | --- |"]
    for size in WIDTHS:
        here = [line for line in lines if line["size"] == size]
        rounds = sorted({line["round"] for line in here})
        laps = [{line["peer"]: line["cpu_ms"] for line in here if line["round"] == number} for number in rounds]
        for unit in UNITS.values():
            for name, (middle, low, high) in ratios(laps, unit).items():
                if UNITS[PEERS[name][0]] == unit:
                    best = min(one[name] for one in laps)
                    rows.append(f"| {size} | {name} | {best:.2f} | {middle:.2f} | {low:.2f}-{high:.2f} |")
        rows.append(f"| | | | | n = {len(rounds)} |")
    return "\n".join(rows)


def peaks(name: str) -> list[float]:
    """Peak resident memory, MiB, of a process of its own after 10 and after 1000 steps."""
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--peak", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", choices=list(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.peak:
        torch.set_num_threads(1)
        steps = job(options.peak, WIDTHS[0])
        for number in (10, 990):
            steps(number)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(environment(["torch", "numpy"]))
    if options.memory:
        for name in PEERS:
            early, late = peaks(name)
            write_line(options.out, {"peer": name, "mib_10": round(early, 1), "mib_1000": round(late, 1)})
        return
    pin(1)
    lines = read_lines(options.out)
    first = 1 + max((line["round"] for line in lines), default=0)
    for number in range(first, options.rounds + 1):
        lines += one_round(number, options.out)
    print(summary(lines))


if __name__ == "__main__":
    main()
