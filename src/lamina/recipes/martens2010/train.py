"""One training of a deep autoencoder with an optimiser, for so many processor seconds."""

from __future__ import annotations

import torch
from torch import Tensor

from lamina.data.stream import InMemory
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.recipes.martens2010.contestants import contestant
from lamina.recipes.martens2010.problems import (
    PROBLEMS,
    autoencoder,
    component_error,
    load_pictures,
    picture_error,
)
from lamina.recipes.martens2010.stopwatch import Stopwatch
from lamina.recipes.recipe import Result
from lamina.training.closure_step import ClosureStep
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.objective import Supervised

_WITHOUT_END = 10**9


def training(
    *, optimiser: str, problem: str, seed: int, seconds: float, looks: int, watched: int, data_dir: str | None = None
) -> Result:
    """Train from a sparse random start and note how the loss falls.

    Its result depends on how fast the machine is, for the budget is time.

    Args:
        optimiser: Name of a contestant.
        problem: ``mnist``, ``curves`` or ``digits``.
        seed: Decides the starting weights, the same for every optimiser, and the order of the pictures.
        seconds: Processor seconds of training.
        looks: How many times the watched pictures are looked at, start and end included.
        watched: How many training pictures those are.
        data_dir: Where named data sets lie.

    Returns:
        ``curve``, rows of seconds, updates, cross-entropy and squared error on the watched training pictures;
        ``least``, the cross-entropy of a perfect reconstruction of those; ``updates`` and ``seconds``; at the end, on
        all pictures of a part, ``train_loss`` and ``test_loss`` (nats a picture), ``train_error`` and ``test_error``
        (squared error summed over pixels, a picture).
    """
    one, task = contestant(optimiser), PROBLEMS[problem]
    pictures = load_pictures(problem, watched, data_dir)
    network = autoencoder(task.layers, torch.Generator().manual_seed(seed))
    optimizer = one.build(network, problem, torch.Generator().manual_seed(seed))
    objective = Supervised(Bernoulli(task.layers[0]))
    step = (ClosureStep if one.closure else GradientStep)(network, objective, optimizer)
    watch = Stopwatch(seconds, looks, lambda model: picture_error(model, pictures.watched))
    callbacks = [watch] if one.schedule is None else [watch, one.schedule(watch)]
    stream = InMemory(pictures.train, one.batch[problem], seed=seed)
    fit(step, stream, max_epochs=_WITHOUT_END, callbacks=callbacks)
    train_loss, train_error = picture_error(network, pictures.train.inputs)
    test_loss, test_error = picture_error(network, pictures.test)
    return {
        "curve": [list(row) for row in watch.curve],
        "least": entropy(pictures.watched),
        "updates": int(watch.curve[-1][1]),
        "seconds": watch.curve[-1][0],
        "train_loss": train_loss,
        "train_error": train_error,
        "test_loss": test_loss,
        "test_error": test_error,
    }


def entropy(pictures: Tensor) -> float:
    """Return the least cross-entropy there can be, Σ -x log x - (1 - x) log(1 - x), nats a picture.

    Args:
        pictures: (N, pixels), in [0, 1].

    Returns:
        The mean over the pictures.
    """
    x = pictures.double()
    return float(-(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum(1).mean())


def components(*, problem: str, watched: int, data_dir: str | None = None) -> Result:
    """Code the pictures by principal components.

    Args:
        problem: ``mnist``, ``curves`` or ``digits``.
        watched: As for ``training``, so that the pictures are read once.
        data_dir: Where named data sets lie.

    Returns:
        ``rows``: the number of components, the squared error on the training part and on the test part.
    """
    pictures = load_pictures(problem, watched, data_dir)
    train = pictures.train.inputs
    return {
        "rows": [
            [count, component_error(train, train, count), component_error(train, pictures.test, count)]
            for count in PROBLEMS[problem].components
        ]
    }
