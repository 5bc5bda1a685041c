"""One autoencoder, deep or linear, and what it leaves of the test pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lamina.autoencoders.autoencoder import Autoencoder, autoencoder
from lamina.autoencoders.deep import pretrain_rbms, unroll_rbms
from lamina.autoencoders.pca import PCA
from lamina.autoencoders.reconstruction import Reconstruction
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.optim.schedules import cosine
from lamina.recipes.recipe import Result
from lamina.recipes.regularisation.digits import load_digits
from lamina.training.evaluation import outputs_of
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.learning_rate import LearningRate

MAPPED = 2_000
"""Test pictures whose codes are drawn, and by whose codes neighbours are sought."""

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Pictures:
    """(N, pixels) float32 in [0, 1], and the digits they show.

    Attributes:
        train: What is learnt from.
        test: By what it is judged.
        digits: Of the test pictures.
    """

    train: Tensor
    test: Tensor
    digits: Tensor


def load_pictures(data: str, data_dir: str | None = None) -> Pictures:
    """Read the pictures; all that are not for the test are for training.

    Args:
        data: ``mnist`` or ``digits``.
        data_dir: Where named data sets lie.

    Returns:
        60,000 and 10,000 of MNIST, 1,347 and 450 of the digits.
    """
    parts = load_digits(data, data_dir)
    assert parts.test.targets is not None
    train = torch.cat([parts.pool.inputs, parts.valid.inputs]).flatten(1)
    return Pictures(train, parts.test.inputs.flatten(1), parts.test.targets)


def deep(
    *,
    data: str,
    hidden: Sequence[int],
    code: int,
    start: str,
    seed: int,
    pretraining: int,
    epochs: int,
    batch: int = _BATCH,
    data_dir: str | None = None,
) -> Result:
    """Train a deep autoencoder with a linear code: a start, then back-propagation of the cross-entropy by Adam.

    Args:
        data: ``mnist`` or ``digits``.
        hidden: Sizes of the layers between picture and code.
        code: Numbers of the code.
        start: "machines" unrolls restricted Boltzmann machines trained one on the other, "random" draws Glorot's
            weights.
        seed: Decides all that is drawn.
        pretraining: Epochs of each machine; without effect on a random start.
        epochs: Of the fine-tuning; the rate falls from 0.001 along half a cosine.
        batch: Pictures an update.
        data_dir: Where named data sets lie.

    Returns:
        See ``measured``; with machines also ``start_error``, that of the unrolled machines before fine-tuning.
    """
    pictures = load_pictures(data, data_dir)
    stream = InMemory(Batch(pictures.train), batch, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    before: dict[str, float] = {}
    if start == "machines":
        rbms = pretrain_rbms(stream, [*hidden, code], epochs=pretraining, generator=generator)
        network = unroll_rbms(rbms)
        before["start_error"] = float(errors(network, pictures.test).mean())
    else:
        sizes = [pictures.train.shape[1], *hidden, code]
        network = autoencoder(sizes, code="identity", tied=False, generator=generator)
    objective = Reconstruction(Bernoulli(pictures.train.shape[1]))
    step = GradientStep(network, objective, torch.optim.Adam(network.parameters(), lr=1e-3, fused=True))
    fit(step, stream, max_epochs=epochs, callbacks=[LearningRate(partial(cosine, floor=0.01))])
    return {**measured(network, pictures), **before}


def linear(*, data: str, code: int, data_dir: str | None = None) -> Result:
    """Compute as many principal components.

    Args:
        data: ``mnist`` or ``digits``.
        code: How many.
        data_dir: Where named data sets lie.

    Returns:
        See ``measured``.
    """
    pictures = load_pictures(data, data_dir)
    return measured(PCA(pictures.train, code).autoencoder(), pictures)


def measured(network: Autoencoder, pictures: Pictures) -> Result:
    """Measure what an autoencoder leaves.

    Returns:
        ``train_error`` and ``test_error``, squared error summed over pixels, mean over the pictures; ``test_low`` and
        ``test_high``, the ends of the latter's 95 % interval; ``shown``, ten test pictures given back, in 256 steps
        of grey; and for codes of two numbers ``map``, those of test pictures, and ``neighbour_error``, the share of
        these whose nearest neighbour in the code is another digit.
    """
    test = errors(network, pictures.test)
    mean, half = float(test.mean()), 1.96 * float(test.std()) / len(test) ** 0.5
    result: Result = {
        "train_error": float(errors(network, pictures.train).mean()),
        "test_error": mean,
        "test_low": mean - half,
        "test_high": mean + half,
        "shown": grey(reconstructed(network, pictures.test[examples(pictures.digits)])),
    }
    codes = outputs_of(network.encoder, pictures.test[:MAPPED]).double()
    if codes.shape[1] == 2:
        result["map"] = [[round(value, 4) for value in pair] for pair in codes.tolist()]
        result["neighbour_error"] = neighbour_error(codes, pictures.digits[:MAPPED])
    return result


def reconstructed(network: Autoencoder, x: Tensor) -> Tensor:
    """Return pictures given back, pixel for pixel the mean."""
    assert network.likelihood is not None
    return network.likelihood.mean(outputs_of(network, x))


def errors(network: Autoencoder, x: Tensor) -> Tensor:
    """Return the squared error of each picture, summed over pixels, float64 ``(N,)``."""
    return torch.cat([(reconstructed(network, some) - some).double().square().sum(1) for some in torch.split(x, 2_000)])


def examples(digits: Tensor) -> Tensor:
    """Return the rows of the first picture of each digit."""
    return torch.stack([(digits == digit).nonzero()[0, 0] for digit in torch.unique(digits)])


def grey(x: Tensor) -> list[list[int]]:
    """Return pictures in 256 steps of grey."""
    steps: list[list[int]] = (x.clamp(0.0, 1.0) * 255.0).round().int().tolist()
    return steps


def neighbour_error(codes: Tensor, digits: Tensor) -> float:
    """Return the share of pictures whose nearest other one in the code shows another digit."""
    distances = torch.cdist(codes, codes).fill_diagonal_(torch.inf)
    return float((digits[distances.argmin(1)] != digits).double().mean())


def originals(*, data: str, data_dir: str | None = None) -> Result:
    """Take from the data what the figures show.

    Returns:
        ``shown``, the ten test pictures; ``digits``, what those on the maps show; ``side``, pixels a side.
    """
    pictures = load_pictures(data, data_dir)
    return {
        "shown": grey(pictures.test[examples(pictures.digits)]),
        "digits": pictures.digits[:MAPPED].tolist(),
        "side": round(pictures.test.shape[1] ** 0.5),
    }
