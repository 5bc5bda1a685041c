"""Semi-supervised MNIST: 100 labels, a fully connected network, virtual adversarial training.

    LAMINA_DATA=~/data python benchmarks/vat_mnist.py --steps 20000 --out vat.jsonl --state vat-state

Ten labelled digits a class, fixed by ``--seed``; all other training digits are unlabelled. The labels of 500 further
training digits are looked at for the validation error alone, by which settings were chosen (``--no-test``); their
pixels are among the unlabelled ones. The test part is looked at once, after the last update.

One line an epoch goes to ``--out``; run again with the same arguments, it goes on from ``--state``, with the same bits.
CPU seconds are those of the process, all starts added up.

Reference: Miyato et al., IEEE TPAMI 2018, table 2: 1.36 +- 0.03 % with 100 labels and 784-1200-600-300-150-10, chosen
with 1,000 validation labels.
"""

from __future__ import annotations

import argparse
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.images.imageset import TEST, TRAIN, ImageSet
from lamina.data.named import load_named
from lamina.data.semi_supervised import LabelledAndUnlabelled
from lamina.io import Generations
from lamina.likelihoods import Categorical
from lamina.nn import MLP
from lamina.penalties.conditional_entropy import ConditionalEntropy
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from lamina.training import GradientStep, Supervised, fit
from lamina.training.callback import Callback
from lamina.training.checkpoint import Checkpoint, read_checkpoint
from lamina.training.evaluation import outputs_of
from lamina.training.learning_rate import LearningRate
from lamina.training.run import Run
from timing import environment, read_lines, write_line

LABELS_A_CLASS, VALIDATION = 10, 500


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test part, pixels from 0 to 1."""
    data = load_named("mnist", offline=True)
    assert isinstance(data, ImageSet) and data.labels is not None and data.part is not None
    x = torch.from_numpy(data.pixels.reshape(len(data.pixels), -1)).float() / 255
    y = torch.from_numpy(data.labels)
    train, test = (torch.from_numpy(data.part == part) for part in (TRAIN, TEST))
    return x[train], y[train], x[test], y[test]


def divided(y: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the labelled, the unlabelled and the validation digits; the last are among the second."""
    order = np.random.default_rng(seed).permutation(len(y))
    codes = y.numpy()[order]
    labelled = np.concatenate([order[codes == k][:LABELS_A_CLASS] for k in range(10)])
    others = order[~np.isin(order, labelled)]
    return torch.from_numpy(labelled), torch.from_numpy(others), torch.from_numpy(others[:VALIDATION])


def network(hidden: list[int], generator: torch.Generator) -> nn.Sequential:
    """Rectified linear units under batch normalisation, which also stands behind the output layer.

    There it keeps every class in use: without it the unlabelled digits drift into few classes, away from the labels.
    """
    chain = MLP(784, 10, hidden, normalisation="batch", generator=generator)
    return nn.Sequential(OrderedDict([*chain.named_children(), ("norm", nn.BatchNorm1d(10))]))


def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of wrong digits, in per cent."""
    return 100 * (outputs_of(model, x).argmax(1) != y).double().mean().item()


class Report(Callback):
    """One line an epoch."""

    def __init__(self, x: Tensor, y: Tensor, out: Path | None, settings: dict[str, object], spent: float) -> None:
        self.x, self.y, self.out, self.settings, self.spent = x, y, out, settings, spent

    def on_epoch(self, run: Run) -> None:
        """Write it."""
        record = run.history.records[-1]
        figures = {name: round(record[name], 4) for name in ("loss", "nll", "penalty")}
        line = {"epoch": run.epoch, "made": run.steps, **figures, "valid_error": error(run.step.model, self.x, self.y)}
        write_line(self.out, {**self.settings, **line, "cpu_s": round(self.spent + time.process_time(), 1)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--hidden", default="512,256")
    parser.add_argument("--labelled", type=int, default=100, help="labelled digits a batch")
    parser.add_argument("--unlabelled", type=int, default=250, help="unlabelled digits a batch")
    parser.add_argument("--epsilon", type=float, default=2.0)
    parser.add_argument("--coefficient", type=float, default=1.0)
    parser.add_argument("--entropy", type=float, default=1.0, help="coefficient of the predictions' entropy")
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-test", action="store_true", help="leave the test part alone: for choosing settings")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--state", type=Path, help="folder of checkpoints")
    o = parser.parse_args()
    torch.set_num_threads(1)
    settings = {name: value for name, value in vars(o).items() if name not in {"out", "state", "no_test", "steps"}}
    settings["updates"] = o.steps
    x, y, test_x, test_y = digits()
    labelled, unlabelled, validation = divided(y, o.seed)
    generator = torch.Generator().manual_seed(o.seed)
    torch.manual_seed(o.seed)
    model = network([int(width) for width in o.hidden.split(",")], generator)
    penalty = o.coefficient * VirtualAdversarial(o.epsilon, o.iterations) + o.entropy * ConditionalEntropy()
    objective = Supervised(Categorical(10), penalty)
    step = GradientStep(model, objective, torch.optim.Adam(model.parameters(), o.rate, fused=True))
    stream = LabelledAndUnlabelled(
        Batch(x[labelled], y[labelled]),
        x[unlabelled],
        n_labelled=o.labelled,
        n_unlabelled=o.unlabelled,
        seed=o.seed,
    )
    mine = [line for line in read_lines(o.out) if all(line.get(key) == value for key, value in settings.items())]
    spent = max((line["cpu_s"] for line in mine), default=0.0)
    callbacks: list[Callback] = [
        # Constant for the first half, then down to nothing in a straight line.
        LearningRate(lambda progress: min(1.0, 2.0 - 2.0 * progress)),
        Report(x[validation], y[validation], o.out, settings, spent),
    ]
    state = None
    if o.state is not None:
        generations = Generations(o.state)
        callbacks.append(Checkpoint(generations, callbacks, settings, seconds=60))
        if (latest := generations.latest()) is not None:
            assert all(latest.meta[key] == value for key, value in settings.items()), "another run's state"
            state = read_checkpoint(latest, callbacks)
    print(environment(["torch", "numpy"]), f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    epochs = -(-o.steps // len(stream))
    fit(step, stream, max_epochs=epochs, max_steps=o.steps, callbacks=callbacks, state=state)
    end = {**settings, "made": o.steps, "valid_error": error(model, x[validation], y[validation])}
    if not o.no_test:
        end["test_error"] = error(model, test_x, test_y)
    write_line(o.out, {**end, "cpu_s": round(spent + time.process_time(), 1)})


if __name__ == "__main__":
    main()
