"""Four small problems: a table, pictures, a sequence, an autoencoder; all come with scikit-learn."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lamina.data.batch import Batch
from lamina.data.images.imageset import ImageSet
from lamina.data.named import load_named
from lamina.initialisers import initialise
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.nn.mlp import MLP

_ORDER = 20_260_101  # a seed
_CODE = 6


@dataclass(frozen=True, slots=True)
class Parts:
    """The examples of a problem, divided once and for all.

    Attributes:
        train: What is learnt from.
        valid: By which settings and epochs are chosen.
        test: Looked at once both are chosen.
    """

    train: Batch
    valid: Batch
    test: Batch


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be learnt.

    Attributes:
        name: How it is asked for.
        title: As in the tables.
        likelihood: What the outputs mean.
        network: Makes the network with its starting weights.
        load: Reads the examples.
        batch: Examples a mini-batch.
        cost: Seconds of an epoch of mini-batches, about.
    """

    name: str
    title: str
    likelihood: Likelihood
    network: Callable[[Generator], nn.Module]
    load: Callable[[], Parts]
    batch: int
    cost: float


class RowByRow(nn.Module):
    """Reads a picture row by row by gated recurrent units, and answers from the last state.

    Input (N, 1, H, W), output (N, classes).

    Args:
        width: W.
        units: Size of the state.
        classes: Outputs.
    """

    def __init__(self, width: int, units: int, classes: int) -> None:
        super().__init__()
        self.rows = nn.GRU(width, units, batch_first=True)
        self.output = nn.Linear(units, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        states, _ = self.rows(inputs.squeeze(1))
        found: Tensor = self.output(states[:, -1])
        return found


def _table(generator: Generator) -> nn.Module:
    return MLP(10, 1, (16,), "tanh", generator=generator)


def _pictures(generator: Generator) -> nn.Module:
    network = nn.Sequential(
        OrderedDict(
            convolution1=nn.Conv2d(1, 4, 3, padding=1),
            silu1=nn.SiLU(),
            pool1=nn.AvgPool2d(2),
            convolution2=nn.Conv2d(4, 8, 3, padding=1),
            silu2=nn.SiLU(),
            pool2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            output=nn.Linear(32, 10),
        )
    )
    initialise(network, "he", generator)
    return network


def _sequence(generator: Generator) -> nn.Module:
    network = RowByRow(8, 12, 10)
    initialise(network, "glorot", generator)
    return network


def _autoencoder(generator: Generator) -> nn.Module:
    sizes = {"linear1": (64, 24), "code": (24, _CODE), "linear2": (_CODE, 24), "output": (24, 64)}
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, (below, above) in sizes.items():
        layers[name] = nn.Linear(below, above)
        if name.startswith("linear"):
            layers[f"sigmoid{name[6:]}"] = nn.Sigmoid()
    network = nn.Sequential(layers)
    initialise(network, "glorot", generator)
    return network


def _diabetes() -> Parts:
    table = load_named("diabetes")
    assert not isinstance(table, ImageSet)
    names = [name for name in table.columns if name != table.target]
    columns = np.column_stack([table.columns[name].astype(np.float64) for name in [*names, table.target]])
    order = np.random.default_rng(_ORDER).permutation(len(columns))
    cuts = np.split(columns[order], [264, 353])
    mean, deviation = cuts[0].mean(0), cuts[0].std(0)
    parts = [torch.from_numpy((part - mean) / deviation).float() for part in cuts]
    return Parts(*(Batch(part[:, :-1].contiguous(), part[:, -1].contiguous()) for part in parts))


def _digits() -> Parts:
    pictures = load_named("digits")
    assert isinstance(pictures, ImageSet) and pictures.labels is not None
    pixels = torch.from_numpy(pictures.pixels[:]).float().div_(255.0)
    labels = torch.from_numpy(np.ascontiguousarray(pictures.labels))
    order = torch.from_numpy(np.random.default_rng(_ORDER).permutation(len(pixels)))
    return Parts(*(Batch(pixels[rows], labels[rows]) for rows in torch.split(order, [1_078, 359, 360])))


def _flat_digits() -> Parts:
    parts = _digits()
    flat = [part.inputs.flatten(1) for part in (parts.train, parts.valid, parts.test)]
    return Parts(*(Batch(pixels, pixels) for pixels in flat))


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("table", "diabetes, a table: 10-16-1, tanh units, squared error",
                Gaussian(1, scale=1.0), _table, _diabetes, 32, 0.01),
        Problem("pictures", "digits, pictures: two convolutions of 4 and 8 channels, SiLU units",
                Categorical(10), _pictures, _digits, 32, 0.04),
        Problem("sequence", "digits read row by row: 12 gated recurrent units",
                Categorical(10), _sequence, _digits, 32, 0.06),
        Problem("autoencoder", f"digits, an autoencoder: 64-24-{_CODE}-24-64, logistic units, linear code",
                Bernoulli(64), _autoencoder, _flat_digits, 32, 0.02),
    )
}  # fmt: skip


@functools.cache
def load_parts(name: str) -> Parts:
    """Read a problem's examples.

    Args:
        name: Of the problem.

    Returns:
        The three parts.
    """
    return PROBLEMS[name].load()
