"""When does a second thread pay?  Wall time of a step on one and on two (or more) threads, by the work of the step.

    python benchmarks/threads.py                     (on a machine as quiet as can be)
    python benchmarks/threads.py --neighbours 1      (beside one busy process)

Square networks D-D-D-10 of growing width are trained by both steps; the two thread counts take turns, and the medians
of the steps' times are compared. ``FLOPS_PER_THREAD`` of ``lamina.training.threads`` is set from the crossing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time

import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.likelihoods import Categorical
from lamina.training import GradientStep, Supervised
from lamina.training.backprop import BackpropStep
from lamina.training.threads import choose_threads, flops_per_step, threads, weight_layers
from lamina.vision import small_resnet
from timing import environment

SIZES = ((32, 64), (32, 128), (128, 128), (128, 256), (128, 384), (128, 512), (128, 768), (256, 1024))
PICTURES = ((32, 8), (128, 8), (32, 28), (64, 28), (128, 28), (512, 28))


def spin() -> None:
    while True:
        pass


def step_for(kind: str, width: int) -> GradientStep | BackpropStep:
    torch.manual_seed(0)
    if kind == "convolutional":
        net = small_resnet(1, width, width, 10, filters=24)
        return GradientStep(net, Supervised(Categorical(10)), torch.optim.AdamW(net.parameters(), 1e-3, fused=True))
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    objective = Supervised(Categorical(10))
    if kind == "BackpropStep":
        return BackpropStep(model, objective, lambda groups: torch.optim.Adam(groups, 1e-3, fused=True))
    return GradientStep(model, objective, torch.optim.Adam(model.parameters(), 1e-3, fused=True))


def seconds_per_step(kind: str, width: int, batch: Batch, n: int, seconds: float) -> float:
    with threads(n):
        step = step_for(kind, width)
        step(batch)
        laps = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            for _ in range(5):
                step(batch)
            laps.append((time.perf_counter() - began) / 5)
    return statistics.mean(laps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--neighbours", type=int, default=0, help="busy processes beside")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the sizes, from 0")
    options = parser.parse_args()
    beside = [multiprocessing.Process(target=spin, daemon=True) for _ in range(options.neighbours)]
    for process in beside:
        process.start()
    print(environment(["torch", "numpy"]), f"neighbours={options.neighbours}")
    print(f"| MFLOP a step | step | 1 thread, us | {options.threads} threads, us | ratio [range] | chosen |")
    print("|---|---|---|---|---|---|")
    cases = [(rows, width, kind) for rows, width in SIZES for kind in ("GradientStep", "BackpropStep")]
    cases += [(rows, side, "convolutional") for rows, side in PICTURES]
    for rows, width, kind in cases if not options.only else [cases[i] for i in options.only]:
        shape = (rows, 1, width, width) if kind == "convolutional" else (rows, width)
        batch = Batch(torch.randn(*shape), torch.randint(0, 10, (rows,)))
        model = step_for(kind, width).model
        work = flops_per_step(model, batch.inputs)
        pairs = []
        for _ in range(options.rounds):
            one, many = (seconds_per_step(kind, width, batch, n, options.seconds) for n in (1, options.threads))
            pairs.append((one * 1e6, many * 1e6, many / one))
        one, many, ratio = (statistics.median(column) for column in zip(*pairs, strict=True))
        low, high = min(p[2] for p in pairs), max(p[2] for p in pairs)
        chosen = choose_threads(work / weight_layers(model), options.threads)
        times = f"{one:.0f} | {many:.0f} | {ratio:.2f} [{low:.2f}-{high:.2f}]"
        print(f"| {work / 1e6:.1f} | {kind} | {times} | {chosen} |", flush=True)
    for process in beside:
        process.terminate()


if __name__ == "__main__":
    main()
