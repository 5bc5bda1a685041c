"""The deep autoencoder of MNIST: how far each optimiser gets, by seconds. Needs LAMINA_DATA.

    python benchmarks/autoencoder_race.py --out race.jsonl
    python benchmarks/autoencoder_race.py --optimisers "adam 1e-3" K-FAC --states folder --out race.jsonl

784-1000-500-250-30-250-500-1000-784, tanh, a linear code, Glorot's start, Bernoulli outputs, the 60,000 training
pictures in [0, 1]. One thread is pinned to one core; the clocks (CPU and wall) stand still while the loss is measured,
on the first 10,000 of those pictures: cross-entropy in nats a picture, and the squared error summed over the pixels,
averaged over pictures, which is what published tables print. A line is one measurement.

The question: when does an optimiser reach what Adam, at the best of its constant rates, has after 20 epochs (2,400
steps of 500 pictures)? Runs stop at their number of steps. With ``--states`` each measurement leaves a state to go on
from, to the same bits; without, what is in ``--out`` and finished is kept and the rest begun again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.data.images.imageset import TRAIN, ImageSet
from lamina.data.named import load_named
from lamina.likelihoods import Bernoulli
from lamina.nn import linear
from lamina.optim.hessian_free import HessianFree
from lamina.optim.kfac import KFAC
from lamina.optim.lbfgs import LBFGS
from timing import environment, pin, read_lines, write_line

WIDTHS = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)
PIXELS, MEASURED, TARGET = WIDTHS[0], 10_000, "adam"
LIKELIHOOD = Bernoulli(PIXELS)
Make = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True)
class Entrant:
    """An optimiser with its batch, its number of steps, and how often the loss is measured."""

    make: Make
    batch: int
    steps: int
    every: int


def adam(rate: float) -> Entrant:
    return Entrant(lambda net: torch.optim.Adam(net.parameters(), rate, fused=True), 500, 2400, 120)


def kfac(batch: int, steps: int, **options: Any) -> Entrant:
    def make(net: nn.Module) -> KFAC:
        return KFAC(net, generator=torch.Generator().manual_seed(1), **options)

    return Entrant(make, batch, steps, 20)


def hessian_free(net: nn.Module) -> HessianFree:
    """Few steps of conjugate gradients, well preconditioned; the least λ holds off the noise of the batch."""
    return HessianFree(
        net.parameters(),
        damping=10.0,
        bounds=(0.2, 1e8),
        share=0.125,
        judge="part",
        max_steps=3,
        preconditioner="kronecker",
        precondition_every=2,
        generator=torch.Generator().manual_seed(1),
    )


def torch_lbfgs(net: nn.Module) -> torch.optim.LBFGS:
    """PyTorch's own, with as many iterations a batch and pairs as ours."""
    return torch.optim.LBFGS(net.parameters(), max_iter=10, history_size=20, line_search_fn="strong_wolfe")


ENTRANTS: dict[str, Entrant] = {
    "adam 5e-4": adam(5e-4),
    "adam 1e-3": adam(1e-3),
    "adam 2e-3": adam(2e-3),
    "K-FAC": kfac(500, 600, damping=10.0),
    "K-FAC, lambda from 1e-8": kfac(500, 600, damping=10.0, bounds=(1e-8, 1e8)),
    "K-FAC, batch 2000": kfac(2000, 300, damping=10.0),
    "torch.optim.LBFGS": Entrant(torch_lbfgs, 4000, 36, 2),
    "L-BFGS": Entrant(lambda net: LBFGS(net.parameters(), memory=20, iterations=10), 4000, 36, 2),
    "torch.optim.LBFGS, batch 1000": Entrant(torch_lbfgs, 1000, 40, 10),
    "L-BFGS, batch 1000": Entrant(lambda net: LBFGS(net.parameters(), memory=20, iterations=10), 1000, 40, 10),
    "Hessian-free": Entrant(hessian_free, 4000, 100, 4),
}


def training_pictures() -> Tensor:
    """(60000, 784), pixels from 0 to 1."""
    data = load_named("mnist", offline=True)
    assert isinstance(data, ImageSet) and data.part is not None
    return torch.from_numpy(data.pixels[data.part == TRAIN]).reshape(-1, PIXELS).float() / 255


def autoencoder(seed: int) -> nn.Sequential:
    """At its starting weights."""
    g = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise(WIDTHS)):
        layers.append(linear(before, after, "glorot", g))
        if place not in {len(WIDTHS) // 2 - 1, len(WIDTHS) - 2}:
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def measure(net: nn.Module, x: Tensor) -> tuple[float, float]:
    """Cross-entropy and summed squared error, each a mean over pictures."""
    with torch.no_grad():
        outputs = torch.cat([net(part) for part in x.split(2000)])
        squares = (LIKELIHOOD.mean(outputs) - x).square().sum(1).mean()
        return float(-LIKELIHOOD.log_prob(outputs, x).mean()), float(squares)


class Race:
    """One run of one entrant, which can be put down and taken up."""

    def __init__(self, name: str, x: Tensor, seed: int) -> None:
        self.name, self.entrant, self.x, self.seed = name, ENTRANTS[name], x, seed
        self.net = autoencoder(seed)
        self.optimizer = self.entrant.make(self.net)
        self.order, self.place = torch.empty(0, dtype=torch.int64), 0
        self.draws = torch.Generator().manual_seed(2 + seed)
        self.steps, self.cpu, self.wall = 0, 0.0, 0.0

    def batch(self) -> Tensor:
        """The next pictures; an epoch's remainder is left out."""
        if self.place + self.entrant.batch > len(self.order):
            self.order, self.place = torch.randperm(len(self.x), generator=self.draws), 0
        self.place += self.entrant.batch
        return self.x[self.order[self.place - self.entrant.batch : self.place]]

    def step(self) -> None:
        """Make one update, on the clock."""
        cpu, wall = time.process_time(), time.perf_counter()
        x = self.batch()
        self.optimizer.step(BatchLoss(self.net, LIKELIHOOD, x, x))  # type: ignore[arg-type]
        self.steps += 1
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall

    def line(self) -> dict[str, Any]:
        """What is measured now."""
        entropy, squares = measure(self.net, self.x[:MEASURED])
        return {
            "optimiser": self.name,
            "seed": self.seed,
            "steps": self.steps,
            "epochs": round(self.steps * self.entrant.batch / len(self.x), 3),
            "cpu": round(self.cpu, 3),
            "wall": round(self.wall, 3),
            "cross_entropy": round(entropy, 4),
            "squared_error": round(squares, 4),
            "last": str(getattr(self.optimizer, "last", "")),
        }

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        own = {name: getattr(self, name) for name in ("order", "place", "steps", "cpu", "wall")}
        return own | {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draws": self.draws.get_state(),
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave."""
        for name in ("order", "place", "steps", "cpu", "wall"):
            setattr(self, name, state[name])
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.draws.set_state(state["draws"])


def run(name: str, x: Tensor, seed: int, lines: list[dict[str, Any]], out: Path | None, states: Path | None) -> None:
    race = Race(name, x, seed)
    kept = None if states is None else states / f"{name.replace(' ', '_').replace(',', '')}_{seed}.pt"
    if kept is not None and kept.exists():
        race.go_on_from(torch.load(kept, weights_only=True))
    while race.steps < race.entrant.steps:
        race.step()
        if race.steps % race.entrant.every == 0:
            lines.append(race.line())
            write_line(out, lines[-1])
            if kept is not None:
                fresh = kept.with_suffix(".new")
                torch.save(race.state(), fresh)
                os.replace(fresh, kept)


def summary(lines: list[dict[str, Any]]) -> str:
    """When each first had what Adam's best run ended with, in squared error and in cross-entropy."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for line in lines:
        by_name.setdefault(line["optimiser"], {})[line["steps"]] = line
    runs = {name: [found[steps] for steps in sorted(found)] for name, found in by_name.items()}
    rows = [
        "",
        "| optimiser | steps | CPU s | wall s | squared error | cross-entropy |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in runs.items():
        end = found[-1]
        rows.append(
            f"| {name} | {end['steps']} | {end['cpu']:.0f} | {end['wall']:.0f} | {end['squared_error']:.3f} | "
            f"{end['cross_entropy']:.2f} |"
        )
    ends = [found[-1] for name, found in runs.items() if name.startswith(TARGET)]
    for measured in ("squared_error", "cross_entropy") if ends else ():
        best = min(ends, key=lambda line: line[measured])
        rows.append(f"\n{measured} of {best['optimiser']} at its end, {best[measured]:.3f}, is reached")
        for name, found in runs.items():
            first = next((line for line in found if line[measured] <= best[measured]), None)
            if first is not None:
                cpu, wall = (f"{first[clock]:.0f} s ({first[clock] / best[clock]:.2f})" for clock in ("cpu", "wall"))
                rows.append(f"  by {name} after {first['steps']} steps, CPU {cpu}, wall {wall} of what Adam took")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimisers", nargs="*", default=list(ENTRANTS), help="of: " + "; ".join(ENTRANTS))
    parser.add_argument("--seed", type=int, default=0, help="of the starting weights and of the batches")
    parser.add_argument("--states", type=Path, help="a folder for states to go on from")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(environment(["torch"]))
    pin(1)
    lines = [line for line in read_lines(options.out) if "optimiser" in line and line.get("seed", 0) == options.seed]
    x = training_pictures()
    if options.states is not None:
        options.states.mkdir(parents=True, exist_ok=True)
    for name in options.optimisers:
        if not any(line["optimiser"] == name and line["steps"] >= ENTRANTS[name].steps for line in lines):
            run(name, x, options.seed, lines, options.out, options.states)
    print(summary(lines))


if __name__ == "__main__":
    main()
