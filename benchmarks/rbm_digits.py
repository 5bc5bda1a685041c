"""Time to a pseudo-likelihood on 10,000 MNIST digits, 784-500: CD-1 beside scikit-learn's own machine.

    LAMINA_DATA=~/data python benchmarks/rbm_digits.py --epochs 12 --out rbm_digits.jsonl

Digits are black or white (threshold one half), and all learners see the same. One thread is pinned to one core and its
CPU seconds are counted; the learners take turns, an epoch each, in one process. Counted are the epochs alone, ours with
their shuffling and gathering. ``score`` is scikit-learn's pseudo-likelihood in nats, over all digits, of the same
``FLIPS`` flipped pixels a digit for every learner and epoch. ``batch:rate`` names a learner, ``batch:rate:momentum``
one of ours with momentum. A run that was cut off begins again.

Reached is the first epoch of ours whose score is at or above the best that scikit-learn had in any epoch at any of the
settings; its seconds are set beside those that scikit-learn took to its best.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.neural_network import BernoulliRBM
from sklearn.utils import check_random_state, gen_even_slices
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.images.imageset import TRAIN, ImageSet
from lamina.data.named import load_named
from lamina.data.stream import InMemory
from lamina.energy import RBM, ContrastiveDivergenceStep
from timing import environment, lap, pin, write_line

N, HIDDEN, FLIPS = 10000, 500, 2


def digits() -> Tensor:
    data = load_named("mnist", offline=True)
    assert isinstance(data, ImageSet) and data.part is not None
    pixels = torch.from_numpy(data.pixels[data.part == TRAIN][:N].reshape(N, -1))
    return (pixels >= 128).float()


class Ours:
    """``ContrastiveDivergenceStep``, an epoch at a time."""

    def __init__(self, x: Tensor, batch: float, rate: float, momentum: float = 0.0) -> None:
        self.rbm = RBM(x.shape[1], HIDDEN, generator=torch.Generator().manual_seed(1))
        self.rbm.set_visible_bias(x)
        self.step = ContrastiveDivergenceStep(
            self.rbm, rate, momentum=momentum, generator=torch.Generator().manual_seed(2)
        )
        self.data = InMemory(Batch(x), int(batch), seed=0)

    def epoch(self, number: int) -> None:  # noqa: D102
        for batch in self.data.batches(number):
            self.step(batch)

    def machine(self) -> RBM:  # noqa: D102
        return self.rbm


class Theirs:
    """What ``BernoulliRBM.fit`` does, an epoch at a time."""

    def __init__(self, x: Tensor, batch: float, rate: float) -> None:
        batch = int(batch)
        self.x, n = x.numpy(), -(-len(x) // batch)
        self.rbm = BernoulliRBM(HIDDEN, learning_rate=rate, batch_size=batch, n_iter=0, random_state=0).fit(self.x)
        self.slices = list(gen_even_slices(n * batch, n, n_samples=len(x)))
        self.random = check_random_state(0)

    def epoch(self, number: int) -> None:  # noqa: D102
        for rows in self.slices:
            self.rbm._fit(self.x[rows], self.random)

    def machine(self) -> RBM:  # noqa: D102
        rbm = RBM(self.x.shape[1], HIDDEN)
        with torch.no_grad():
            rbm.weight.copy_(torch.from_numpy(self.rbm.components_))
            rbm.visible_bias.copy_(torch.from_numpy(self.rbm.intercept_visible_))
            rbm.hidden_bias.copy_(torch.from_numpy(self.rbm.intercept_hidden_))
        return rbm


def score(rbm: RBM, x: Tensor, flips: Tensor) -> float:
    return float(torch.stack([rbm.pseudo_likelihood(x, one).mean() for one in flips]).mean())


def summary(lines: list[dict[str, Any]]) -> str:
    rows = ["", "| learner | best score | at epoch | CPU s to it |", "| --- | ---: | ---: | ---: |"]
    best = {}
    for name in dict.fromkeys(line["learner"] for line in lines):
        best[name] = max((line for line in lines if line["learner"] == name), key=lambda line: line["score"])
        at = best[name]
        rows.append(f"| {name} | {at['score']:.2f} | {at['epoch']} | {at['cpu_s']:.1f} |")
    theirs = max((at for name, at in best.items() if name.startswith("scikit-learn")), key=lambda at: at["score"])
    for name in best:
        if name.startswith("CD-1"):
            reached = [line for line in lines if line["learner"] == name and line["score"] >= theirs["score"]]
            if not reached:
                rows.append(f"{name}: {theirs['score']:.2f} not reached")
                continue
            ratio = reached[0]["cpu_s"] / theirs["cpu_s"]
            rows.append(
                f"{name}: {theirs['score']:.2f} in {reached[0]['cpu_s']:.2f} CPU s, {theirs['learner']} took "
                f"{theirs['cpu_s']:.2f}: ratio {ratio:.3f}"
            )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--ours", nargs="*", default=["100:0.1", "100:0.05:0.9", "20:0.05:0.5"])
    parser.add_argument("--theirs", nargs="*", default=["100:0.1", "10:0.05", "10:0.02"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    write_line(options.out, environment(["torch", "numpy", "scikit-learn"]))
    pin(1)
    x = digits()
    flips = torch.randint(x.shape[1], (FLIPS, len(x)), generator=torch.Generator().manual_seed(0))
    made: list[tuple[str, Callable[..., Any], list[str]]] = [
        ("scikit-learn", Theirs, options.theirs),
        ("CD-1", Ours, options.ours),
    ]
    learners: dict[str, Any] = {}
    for kind, make, settings in made:
        for setting in settings:
            learners[f"{kind} {setting}"] = make(x, *(float(part) for part in setting.split(":")))
    spent, lines = dict.fromkeys(learners, 0.0), []
    for epoch in range(1, options.epochs + 1):
        for name, learner in learners.items():
            _, taken = lap(lambda learner=learner, epoch=epoch: learner.epoch(epoch))  # type: ignore[misc]
            spent[name] += taken.cpu
            value = round(score(learner.machine(), x, flips), 3)
            lines.append({"learner": name, "epoch": epoch, "cpu_s": round(spent[name], 3), "score": value})
            write_line(options.out, lines[-1])
    print(summary(lines))


if __name__ == "__main__":
    main()
