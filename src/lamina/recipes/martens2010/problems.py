"""The deep autoencoders and their pictures: MNIST with a code of 30, CURVES with a code of 6."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from lamina.data.batch import Batch
from lamina.data.generated.curves import curves
from lamina.data.images.imageset import TEST, ImageSet
from lamina.data.named import load_named
from lamina.errors import MachineError
from lamina.initialisers import initialise, sparse
from lamina.training.evaluation import outputs_of

CURVES_SEED = 2_006
_BUNDLED_TEST = 360


@dataclass(frozen=True, slots=True)
class Problem:
    """An autoencoder's task.

    Attributes:
        name: How it is asked for.
        title: As in the tables.
        layers: Sizes from the picture down to the code; the decoder is the mirror image.
        components: Numbers of principal components that are compared with.
    """

    name: str
    title: str
    layers: tuple[int, ...]
    components: tuple[int, ...]

    @property
    def shape(self) -> str:
        """The sizes, as text."""
        return "-".join(map(str, self.layers))


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("mnist", "MNIST", (784, 1000, 500, 250, 30), (30,)),
        Problem("curves", "CURVES", (784, 400, 200, 100, 50, 25, 6), (6, 18)),
        Problem("digits", "the bundled digits, not MNIST", (64, 200, 100, 50, 10), (10,)),
    )
}


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is coded, and by what it is judged: (N, pixels) float32 in [0, 1].

    Attributes:
        train: What is learnt from; the targets are the inputs.
        watched: Some of it, looked at while training goes on.
        test: Not looked at before the end.
    """

    train: Batch
    watched: Tensor
    test: Tensor


def settle_pictures(data_dir: str | None, offline: bool, say: Callable[[str], None]) -> str:
    """Find out whether MNIST can be had.

    Args:
        data_dir: Where named data sets lie.
        offline: Never fetch.
        say: Told what was found.

    Returns:
        ``mnist``, or ``digits`` for those that come with scikit-learn.
    """
    try:
        load_named("mnist", data_dir=data_dir, offline=offline, say=say)
    except MachineError as error:
        say(f"MNIST cannot be had ({error.what}), so the bundled digits are used: 1,797 pictures of 8 x 8")
        return "digits"
    return "mnist"


@functools.lru_cache(maxsize=1)
def load_pictures(name: str, watched: int, data_dir: str | None = None) -> Pictures:
    """Read or draw the pictures of a problem.

    Args:
        name: ``mnist``, ``curves`` or ``digits``.
        watched: How many training pictures are looked at while training goes on.
        data_dir: Where named data sets lie.

    Returns:
        60,000 and 10,000 of MNIST, 20,000 and 10,000 of CURVES, 1,437 and 360 of the digits.
    """
    if name == "curves":
        drawn = curves(30_000, torch.Generator().manual_seed(CURVES_SEED)).images.flatten(1)
        train, test = drawn[:20_000], drawn[20_000:]
    else:
        found = load_named(name, data_dir=data_dir)
        assert isinstance(found, ImageSet)
        pixels = torch.from_numpy(found.pixels[:]).flatten(1).float().div_(255.0)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(CURVES_SEED))
        held_out = order < _BUNDLED_TEST if found.part is None else torch.from_numpy(found.part == TEST)
        train, test = pixels[~held_out], pixels[held_out]
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(CURVES_SEED))[:watched]
    return Pictures(Batch(train, train), train[chosen], test)


def autoencoder(layers: Sequence[int], generator: Generator) -> nn.Sequential:
    """Build a network of logistic units with a linear code, 15 starting weights ~ N(0, 1) a unit, biases 0.

    Args:
        layers: Sizes from the picture down to the code.
        generator: Source of the weights.

    Returns:
        A chain whose outputs are the logits of the pixels.
    """
    sizes = [*layers, *reversed(layers[:-1])]
    chain: OrderedDict[str, nn.Module] = OrderedDict()
    for k, (below, above) in enumerate(pairwise(sizes), start=1):
        last, code = k == len(sizes) - 1, k == len(layers) - 1
        chain["output" if last else "code" if code else f"linear{k}"] = nn.Linear(below, above)
        if not (last or code):
            chain[f"sigmoid{k}"] = nn.Sigmoid()
    network = nn.Sequential(chain)
    initialise(network, sparse(15), generator)
    return network


def picture_error(network: nn.Module, pictures: Tensor) -> tuple[float, float]:
    """Measure how well pictures are given back.

    Args:
        network: Gives logits.
        pictures: (N, pixels).

    Returns:
        The cross-entropy (nats a picture) and the squared error, summed over pixels, a picture.
    """
    loss = squared = 0.0
    for some in torch.split(pictures, 2_000):
        logits = outputs_of(network, some)
        loss += nn.functional.binary_cross_entropy_with_logits(logits, some, reduction="sum").item()
        squared += (logits.sigmoid() - some).square().sum().item()
    return loss / len(pictures), squared / len(pictures)


def component_error(train: Tensor, pictures: Tensor, components: int) -> float:
    """Return the squared error, summed over pixels, a picture, that the first principal components leave.

    Args:
        train: (N, pixels), what mean and components are computed from.
        pictures: (M, pixels), what is coded.
        components: How many.

    Returns:
        The mean over the pictures.
    """
    mean = train.mean(0, dtype=torch.float64).to(train.dtype)
    centred = train - mean
    _, directions = torch.linalg.eigh((centred.T @ centred).double())
    kept = directions[:, -components:]
    rest = (pictures - mean).double()
    return float((rest - rest @ kept @ kept.T).square().sum(1).mean())
