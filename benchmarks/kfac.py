"""What a step of K-FAC costs beside one of fused Adam, and the memory of both, in one process, round-robin.

    python benchmarks/kfac.py --batch 500 --rounds 7 --out kfac.jsonl
    python benchmarks/kfac.py --batch 2000 --rounds 7 --out kfac.jsonl
    python benchmarks/kfac.py --memory

The network is the autoencoder 784-1000-500-250-30-250-500-1000-784, P = 2.83 million weights, tanh, Bernoulli outputs,
made-up pixels in [0, 1]. A lap is 20 steps, with one inversion of all factors in it. One thread is pinned to one core
and its CPU seconds are counted; a ratio is taken within each round; the table shows their median and range. Rounds in
``--out`` are kept and counted. Peers that are not installed are left out; ``pip install --no-deps singd asdfghjkl``.
(The package ``kfac`` 0.2.4 of the Python index is for TensorFlow; the PyTorch one of that name is not on the index.)

The floor, in flops, B the batch, S = B/4 the rows that factors are measured on, M and N a layer's inputs (with the 1)
and outputs, Σ over the layers: ΣMN = P, ΣM² = 3.25 million, ΣN² = 3.24 million, first layer's weights Q = 0.78 million.

    Adam     forward 2BP, back to the layers 2B(P - Q), gradients 2BP
    K-FAC    the same, and
             inverses   2 Σ min(B, M) N² + 2 Σ min(B, N) M²    thin where B is less than the layer
             factors    every 5 steps: forward and back of S rows 2S(2P - Q), products 2S Σ(M² + N²)
             inversion  every 20 steps: Σ(M³ + N³)

    B = 500      Adam 7.7 Gflop;    K-FAC 7.7 + 6.1 + 0.6 + 0.5 = 14.9, 1.93 times as much
    B = 2000     Adam 30.8 Gflop;   K-FAC 30.8 + 9.0 + 2.2 + 0.5 = 42.5, 1.38 times

Adam's update moves 7 P numbers through memory, K-FAC's 5 P (with one running mean and no square).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.profiler import ProfilerActivity, profile

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker import packed
from lamina.likelihoods import Bernoulli
from lamina.nn import linear
from lamina.optim.kfac import KFAC
from timing import environment, keep_memory, lap, pin, ratios, read_lines, write_line

WIDTHS = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)
PIXELS, STEPS, UNIT = WIDTHS[0], 20, "adam, fused"
Steps = Callable[[int], None]


def autoencoder(seed: int = 0) -> nn.Sequential:
    """Tanh units, a linear code, logits; Glorot's rule."""
    g = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise(WIDTHS)):
        layers.append(linear(before, after, "glorot", g))
        if place not in {len(WIDTHS) // 2 - 1, len(WIDTHS) - 2}:
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def loss_sum(logits: Tensor, x: Tensor, reduction: str = "mean") -> Tensor:
    total = binary_cross_entropy_with_logits(logits, x, reduction="sum")
    return total / len(x) if reduction == "mean" else total


def adam(x: Tensor, fused: bool = True) -> Steps:
    net, likelihood = autoencoder(), Bernoulli(PIXELS)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=fused)

    def steps(number: int) -> None:
        for _ in range(number):
            optimizer.zero_grad()
            (-likelihood.log_prob(net(x), x).mean()).backward()
            optimizer.step()

    return steps


def kfac(x: Tensor, **options: Any) -> Steps:
    net, likelihood = autoencoder(), Bernoulli(PIXELS)
    optimizer = KFAC(net, generator=torch.Generator().manual_seed(0), **options)

    def steps(number: int) -> None:
        for _ in range(number):
            optimizer.step(BatchLoss(net, likelihood, x, x))

    return steps


def singd(x: Tensor) -> Steps:
    """Its form that is nearest to K-FAC, with dense factors; measured every 5 steps."""
    from singd.optim.optimizer import SINGD

    net = autoencoder()
    optimizer = SINGD(net, lr=1e-4, damping=1e-1, T=5, kfac_like=True, structures=("dense", "dense"))

    def steps(number: int) -> None:
        for _ in range(number):
            optimizer.zero_grad()
            loss_sum(net(x), x).backward()
            optimizer.step()

    return steps


def asdl(x: Tensor) -> Steps:
    """K-FAC of the empirical Fisher matrix with momentum; factors every 5 steps, inverses every 20."""
    import asdl

    torch.cuda.nvtx.range_push = torch.cuda.nvtx.range_pop = lambda *_: None  # it marks its work for a GPU's profiler
    net = autoencoder()
    config = asdl.PreconditioningConfig(
        data_size=len(x), damping=1e-1, curvature_upd_interval=5, preconditioner_upd_interval=20, ema_decay=0.05
    )
    maker = asdl.KfacGradientMaker(net, config, fisher_type="fisher_emp")
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)

    def steps(number: int) -> None:
        for _ in range(number):
            optimizer.zero_grad()
            dummy = maker.setup_model_call(net, x)
            maker.setup_loss_call(loss_sum, dummy, x)
            maker.forward_and_backward()
            optimizer.step()

    return steps


PEERS: dict[str, tuple[Callable[[Tensor], Steps], str | None]] = {
    UNIT: (adam, None),
    "K-FAC": (partial(kfac, lr=0.01, damping=10.0, adapt_every=0), None),
    "K-FAC, compact": (partial(kfac, lr=0.01, damping=10.0, adapt_every=0, compact=True), None),
    "K-FAC, damping adapted": (partial(kfac, lr=0.01, damping=10.0), None),
    "K-FAC, step bounded": (partial(kfac, lr=0.01, damping=10.0, adapt_every=0, kl_clip=1.0), None),
    "K-FAC, rate by the model": (partial(kfac, lr=None, damping=10.0), None),
    "singd": (singd, "singd"),
    "asdl": (asdl, "asdl"),
}


def present() -> list[str]:
    return [name for name, (_, needs) in PEERS.items() if needs is None or importlib.util.find_spec(needs)]


def one_round(jobs: dict[str, Steps], number: int, batch: int, out: Path | None) -> list[dict[str, Any]]:
    names, lines = list(jobs), []
    shift = number % len(names)
    for name in names[shift:] + names[:shift]:
        _, time = lap(partial(jobs[name], STEPS))
        lines.append({"round": number, "batch": batch, "peer": name, "cpu_ms": round(1e3 * time.cpu / STEPS, 3)})
        write_line(out, lines[-1])
    return lines


def summary(lines: list[dict[str, Any]]) -> str:
    rows = ["", "| batch | step | CPU ms | ratio | range |", "| ---: | --- | ---: | ---: | --- |"]
    for batch in sorted({line["batch"] for line in lines}):
        here = [line for line in lines if line["batch"] == batch]
        rounds = sorted({line["round"] for line in here})
        laps = [{line["peer"]: line["cpu_ms"] for line in here if line["round"] == number} for number in rounds]
        for name, (middle, low, high) in ratios(laps, UNIT).items():
            best = min(one[name] for one in laps if name in one)
            rows.append(f"| {batch} | {name} | {best:.1f} | {middle:.2f} | {low:.2f}-{high:.2f} |")
        rows.append(f"| | | | | n = {len(rounds)} |")
    return "\n".join(rows)


def held(*, compact: bool) -> dict[str, float]:
    """MiB of tensors that K-FAC holds between steps, counted, and what a step takes beside them for its inversions."""
    net, x = autoencoder(), torch.rand(64, PIXELS)
    optimizer = KFAC(net, lr=0.01, compact=compact)
    optimizer.step(BatchLoss(net, Bernoulli(PIXELS), x, x))
    factors, inverses = packed.held(optimizer.factors.factors), packed.held(optimizer.inverse.inverses)
    groups = {
        "parameters": list(net.parameters()),
        "last steps": [s["momentum_buffer"] for s in optimizer.state.values()],
        "factors": [f for pair in factors.values() for f in pair.values()],
        "inverses": [f for pair in inverses.values() for f in pair.values()],
    }
    found = {name: sum(t.numel() * t.element_size() for t in tensors) / 2**20 for name, tensors in groups.items()}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        optimizer.inverse.update(optimizer.factors.factors, 0.1)
    now, most = 0, 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return {name: round(size, 1) for name, size in (found | {"workspace of an inversion": most / 2**20}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", nargs="*", help="of: " + ", ".join(PEERS))
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.peak:
        torch.set_num_threads(1)
        PEERS[options.peak][0](torch.rand(options.batch, PIXELS))(25)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(environment(["torch", "singd", "asdfghjkl"]))
    if options.memory:
        for compact in (False, True):
            print("compact" if compact else "whole", held(compact=compact))
        for name in (UNIT, "K-FAC", "K-FAC, compact"):
            command = [sys.executable, __file__, "--peak", name, "--batch", str(options.batch)]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            write_line(options.out, {"peer": name, "batch": options.batch, "peak_mib": round(float(done.stdout), 1)})
        return
    pin(1)
    keep_memory()
    lines = [line for line in read_lines(options.out) if "cpu_ms" in line]
    x = torch.rand(options.batch, PIXELS, generator=torch.Generator().manual_seed(0))
    jobs = {name: PEERS[name][0](x) for name in present() if not options.peers or name in options.peers}
    for steps in jobs.values():
        steps(STEPS)
    done = 1 + max((line["round"] for line in lines if line["batch"] == options.batch), default=-1)
    for number in range(done, done + options.rounds):
        lines += one_round(jobs, number, options.batch, options.out)
    print(summary(lines))


if __name__ == "__main__":
    main()
