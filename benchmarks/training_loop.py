"""The training loop beside its peers, in one process, round-robin: how much slower than the barest loop.

    python benchmarks/training_loop.py --case digits --rounds 5 --out digits.jsonl
    LAMINA_DATA=~/data python benchmarks/training_loop.py --case mnist --rounds 5 --out mnist.jsonl
    python benchmarks/training_loop.py --case digits --threads 2     (wall time)

The unit, ``bare``, is the barest in-memory PyTorch loop with fused Adam. One thread is pinned to one core and its CPU
seconds are counted, which a busy neighbour disturbs little; with ``--threads 2`` nothing is pinned and the wall counts.
A ratio is taken within each round; the table shows their median and range. Rounds already in ``--out`` are kept and
counted. Peers that are not installed are left out (``pip install "lamina[bench]"``).

Case mnist: 60000 x 784, 784-512-512-10, batch 128, Adam 1e-3, one epoch; without the files, made-up data of that shape.
Case digits: 1497 x 64, 64-64-10, batch 32, 20 epochs. lamina runs through ``fit`` with everything on: shuffling,
history, early stopping on the loss, progress on a timer.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import logging
import os
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods import Categorical
from lamina.training import GradientStep, Supervised, fit
from lamina.training.backprop import BackpropStep
from lamina.training.early_stopping import EarlyStopping
from lamina.training.progress import Progress
from timing import environment, lap, pin, ratios, read_lines, write_line

RATE = 1e-3
CLASSES = 10
Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """Data, network and length of one job."""

    name: str
    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    hidden: tuple[int, ...]
    batch: int
    epochs: int

    def small(self) -> Case:
        """The same job on two batches, to warm up with."""
        n = 2 * self.batch
        return Case(self.name, self.x[:n], self.y[:n], self.test_x, self.test_y, self.hidden, self.batch, 1)

    @property
    def steps(self) -> int:
        """Updates of the whole job."""
        return self.epochs * -(-len(self.x) // self.batch)

    def network(self, seed: int) -> nn.Sequential:
        """The network at its starting weights."""
        torch.manual_seed(seed)
        widths = [self.x.shape[1], *self.hidden]
        pairs = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
        return nn.Sequential(*itertools.chain(*pairs), nn.Linear(widths[-1], CLASSES))


def digits() -> Case:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    return Case("digits", x[:1497], y[:1497], x[1497:], y[1497:], (64,), 32, 20)


def mnist() -> Case:
    folder = Path(os.environ.get("LAMINA_DATA", "")) / "mnist"
    if (folder / "train-images-idx3-ubyte.gz").exists():

        def read(name: str, offset: int) -> Tensor:
            with gzip.open(folder / f"{name}-ubyte.gz") as file:
                return torch.tensor(np.frombuffer(file.read(), np.uint8, offset=offset))

        parts = []
        for part in ("train", "t10k"):
            parts += [
                read(f"{part}-images-idx3", 16).view(-1, 784).float() / 255,
                read(f"{part}-labels-idx1", 8).long(),
            ]
        return Case("mnist", *parts, (512, 512), 128, 1)
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, CLASSES, (70000,), generator=g)
    centres = torch.rand(CLASSES, 784, generator=g)
    x = (centres[y] + 0.8 * torch.randn(70000, 784, generator=g)).clamp_(0, 1)
    return Case("mnist (made up)", x[:60000], y[:60000], x[60000:], y[60000:], (512, 512), 128, 1)


def gemms(case: Case, seed: int) -> Predict | None:
    """Only the matrix products of the epochs: what no loop on this BLAS can undercut."""
    widths = [case.x.shape[1], *case.hidden, CLASSES]
    weights = [torch.randn(b, a) for a, b in itertools.pairwise(widths)]
    values, gradients = [torch.randn(case.batch, a) for a in widths], [torch.empty_like(w) for w in weights]
    for _ in range(case.steps):
        for i, w in enumerate(weights):
            torch.mm(values[i], w.T, out=values[i + 1])
        for i, w in reversed(list(enumerate(weights))):
            torch.mm(values[i + 1].T, values[i], out=gradients[i])
            if i:
                torch.mm(values[i + 1], w, out=values[i])
    return None


def bare(case: Case, seed: int, *, fused: bool | None = True) -> Predict:
    model = case.network(seed)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=fused)
    for _ in range(case.epochs):
        order = torch.randperm(len(case.x))
        for start in range(0, len(case.x), case.batch):
            rows = order[start : start + case.batch]
            optimizer.zero_grad()
            loss = cross_entropy(model(case.x[rows]), case.y[rows])
            loss.backward()
            optimizer.step()
    return model


def bare_default_adam(case: Case, seed: int) -> Predict:
    return bare(case, seed, fused=None)


def data_loader(case: Case, seed: int) -> Predict:
    model = case.network(seed)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    loader = DataLoader(TensorDataset(case.x, case.y), case.batch, shuffle=True)
    for _ in range(case.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def _lamina(case: Case, seed: int, step: GradientStep | BackpropStep) -> Predict:
    screen = io.StringIO()
    callbacks = [
        EarlyStopping("loss", patience=1000),
        Progress(lambda run, share, seconds, left: print(share, seconds, left, run.history.peek(), file=screen)),
    ]
    data = InMemory(Batch(case.x, case.y), case.batch, seed=seed)
    history = fit(step, data, max_epochs=case.epochs, callbacks=callbacks)
    assert len(history.records) == case.epochs
    return step.model


def lamina_gradient(case: Case, seed: int) -> Predict:
    model = case.network(seed)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    return _lamina(case, seed, GradientStep(model, Supervised(Categorical(CLASSES)), optimizer))


def lamina_backprop(case: Case, seed: int) -> Predict:
    step = BackpropStep(
        case.network(seed), Supervised(Categorical(CLASSES)), lambda groups: torch.optim.Adam(groups, RATE, fused=True)
    )
    return _lamina(case, seed, step)


def scikit_learn(case: Case, seed: int) -> Predict:
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        case.hidden,
        batch_size=case.batch,
        learning_rate_init=RATE,
        alpha=0.0,
        max_iter=case.epochs,
        tol=0.0,
        n_iter_no_change=10**6,
        random_state=seed,
    )
    network.fit(case.x.numpy(), case.y.numpy())
    return lambda x: torch.from_numpy(network.predict_proba(x.numpy()))


def skorch(case: Case, seed: int) -> Predict:
    from skorch import NeuralNetClassifier

    network = NeuralNetClassifier(
        case.network(seed),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=RATE,
        batch_size=case.batch,
        max_epochs=case.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    network.fit(case.x, case.y)
    return network.module_


def lightning(case: Case, seed: int) -> Predict:
    import lightning as pl

    class Plain(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = case.network(seed)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), RATE)

    module = Plain()
    trainer = pl.Trainer(
        max_epochs=case.epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(case.x, case.y), case.batch, shuffle=True))
    return module.network


PEERS: dict[str, Callable[[Case, int], Predict | None]] = {
    "gemms": gemms,
    "bare": bare,
    "bare default Adam": bare_default_adam,
    "DataLoader": data_loader,
    "lamina GradientStep": lamina_gradient,
    "lamina BackpropStep": lamina_backprop,
    "scikit-learn": scikit_learn,
    "skorch": skorch,
    "lightning": lightning,
}


def accuracy(predict: Predict, case: Case) -> float:
    with torch.no_grad():
        return float((predict(case.test_x).argmax(1) == case.test_y).double().mean())


def installed(peer: str, case: Case) -> bool:
    """Warm a peer up; False if its library is missing."""
    try:
        PEERS[peer](case.small(), 0)
    except ImportError as error:
        print(f"# {peer} left out: {error}", flush=True)
        return False
    return True


def summary(lines: list[dict[str, Any]], case: Case, clock: str) -> str:
    rounds: dict[int, dict[str, float]] = {}
    for line in lines:
        rounds.setdefault(line["round"], {})[line["peer"]] = line[clock]
    found = ratios(list(rounds.values()), "bare")
    text = [
        f"| peer | s | us / step | ratio to bare [range], n = {len(rounds)} | test accuracy |",
        "|---|---|---|---|---|",
    ]
    for peer, (middle, low, high) in found.items():
        seconds = statistics.median(one[peer] for one in rounds.values() if peer in one)
        scores = [line["accuracy"] for line in lines if line["peer"] == peer and line["accuracy"] is not None]
        score = f"{min(scores):.4f}-{max(scores):.4f}" if scores else "-"
        per_step = seconds / case.steps * 1e6
        text.append(f"| {peer} | {seconds:.3f} | {per_step:.1f} | {middle:.3f} [{low:.3f}-{high:.3f}] | {score} |")
    for peer in ("lamina GradientStep", "lamina BackpropStep"):
        extra = [
            (one[peer] - one["bare"]) / case.steps * 1e6 for one in rounds.values() if {peer, "bare"} <= one.keys()
        ]
        if extra:
            spread = f"{min(extra):+.1f} to {max(extra):+.1f}"
            text.append(f"\n{peer}: {statistics.median(extra):+.1f} us a step against bare (range {spread})")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--rounds", type=int, default=5, help="in all, those in --out included")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON lines, appended")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    pin(options.threads)
    case = {"digits": digits, "mnist": mnist}[options.case]()
    clock = "cpu_s" if options.threads == 1 else "wall_s"
    mine = {"case": case.name, "threads": options.threads}
    lines = [line for line in read_lines(options.out) if all(line.get(key) == value for key, value in mine.items())]
    peers = [peer for peer in options.peers.split(",") if installed(peer, case)]
    first = 1 + max((line["round"] for line in lines), default=0)
    for number in range(first, options.rounds + 1):
        shift = number % len(peers)
        for peer in peers[shift:] + peers[:shift]:
            predict, time = lap(lambda peer=peer, seed=number: PEERS[peer](case, seed))
            score = None if predict is None else accuracy(predict, case)
            line = {**mine, "round": number, "peer": peer, "cpu_s": time.cpu, "wall_s": time.wall, "accuracy": score}
            write_line(options.out, line)
            lines.append(line)
    order = {peer: i for i, peer in enumerate(PEERS)}
    lines.sort(key=lambda line: (line["round"], order[line["peer"]]))
    print(environment(["torch", "numpy", "scikit-learn", "skorch", "lightning"]))
    print(
        f"{case.name}, {case.steps} steps, {options.threads} thread(s), {'CPU' if clock == 'cpu_s' else 'wall'} seconds"
    )
    print(summary(lines, case, clock))


if __name__ == "__main__":
    main()
