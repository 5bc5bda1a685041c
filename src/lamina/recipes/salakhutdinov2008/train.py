"""One machine or network: trained on binary digits, its partition function estimated, its digits scored."""

from __future__ import annotations

import functools
import math
from typing import cast

import torch
from torch import Generator, Tensor

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy.annealing_path import RBMPath
from lamina.energy.cd_step import ContrastiveDivergenceStep
from lamina.energy.deep_belief import DeepBeliefNetwork
from lamina.energy.deep_belief_greedy import pretrain_deep_belief
from lamina.energy.rbm import RBM
from lamina.recipes.martens2010.problems import load_pictures
from lamina.recipes.recipe import Result
from lamina.samplers.annealed_importance import PartitionEstimate, annealed_importance, temperatures
from lamina.training.callback import Callback
from lamina.training.fit import fit
from lamina.training.hidden_layers import HiddenLayer
from lamina.training.run import Run
from lamina.training.step import Step, set_learning_rate

RATE, MOMENTUM, DECAY, BATCH = 0.05, 0.5, 2e-4, 100
TOP_RATE = 0.01
"""Of the network's top: with 2,000 hidden units 0.05 ends below a top without weights."""

LEGS = ((0.5, 500), (0.9, 4_000), (1.0, 10_000))
CHAINS = 100
ENUMERATED = 20
"""Hidden units up to which the partition function is also computed exactly."""

_DRAW = 2_008  # a seed


@functools.lru_cache(maxsize=1)
def binary_digits(name: str, examples: int, data_dir: str | None = None) -> tuple[Tensor, Tensor]:
    """Read the digits and make them binary: each pixel is drawn once, with its grey value as the probability.

    Args:
        name: ``mnist`` or ``digits``.
        examples: Training digits at most, the first ones.
        data_dir: Where named data sets lie.

    Returns:
        Training and test digits, ``(N, pixels)`` of zeros and ones.
    """
    pictures = load_pictures(name, 1, data_dir)
    generator = Generator().manual_seed(_DRAW)
    return (
        torch.bernoulli(pictures.train.inputs[:examples], generator=generator),
        torch.bernoulli(pictures.test, generator=generator),
    )


class Schedule(Callback):
    """Raises k from 1 to its last value in equal shares of the epochs, and takes a fifth of the rate in the last third.

    Args:
        sweeps: The last k.
        epochs: How many there will be.
        rate: At first.
    """

    def __init__(self, sweeps: int, epochs: int, rate: float = RATE) -> None:
        self.sweeps, self.epochs, self.rate = sweeps, epochs, rate

    def on_epoch_start(self, run: Run) -> None:
        """Set k and the rate of an epoch."""
        step = getattr(run.step, "step", run.step)  # within a deep belief network it is wrapped
        assert isinstance(step, ContrastiveDivergenceStep)
        step.sweeps = 1 + (self.sweeps - 1) * run.epoch // max(1, self.epochs - 1)
        late = 3 * run.epoch >= 2 * self.epochs
        for group in step.optimizer.param_groups:
            set_learning_rate(group, 0.2 * self.rate if late else self.rate)


def _step(rbm: RBM, generator: Generator) -> Step:
    step = ContrastiveDivergenceStep(rbm, RATE, momentum=MOMENTUM, weight_decay=DECAY, generator=generator)
    return cast(Step, step)  # its model is of a narrower type


def machine(
    *, digits: str, hidden: int, sweeps: int, seed: int, epochs: int, examples: int, share: float,
    data_dir: str | None = None,
) -> Result:  # fmt: skip
    """Train a machine by contrastive divergence and estimate the likelihood of the digits under it.

    Args:
        digits: ``mnist`` or ``digits``.
        hidden: Hidden units.
        sweeps: k at the end of training; it rises from 1.
        seed: Decides the weights, the order and all draws.
        epochs: Passes over the training digits.
        examples: Training digits at most.
        share: Of the temperatures of the paper's ladder.
        data_dir: Where named data sets lie.

    Returns:
        ``log_z`` and what is known of it, ``train`` and ``test``, mean log-likelihoods in nats a digit, ``exact`` the
        enumerated log Z of small machines or None, ``pseudo`` the test digits' pseudo-likelihood.
    """
    train, test = binary_digits(digits, examples, data_dir)
    generator = Generator().manual_seed(seed)
    rbm = RBM(train.shape[1], hidden, generator=generator)
    rbm.set_visible_bias(train)
    data = InMemory(Batch(train), BATCH, seed=seed)
    fit(_step(rbm, generator), data, max_epochs=epochs, callbacks=[Schedule(sweeps, epochs)])
    estimate = _partition(rbm, train, share, generator)
    with torch.no_grad():
        return {
            **_told(estimate),
            "exact": float(rbm.log_partition()) if hidden <= ENUMERATED else None,
            "train": float(rbm.log_likelihood(train, estimate.log_z).mean()),
            "test": float(rbm.log_likelihood(test, estimate.log_z).mean()),
            "pseudo": float(rbm.pseudo_likelihood(test, "one", generator).mean()),
        }


def network(
    *, digits: str, first: int, second: int, sweeps: int, seed: int, epochs: int, examples: int, share: float,
    scored: int, samples: int, data_dir: str | None = None,
) -> Result:  # fmt: skip
    """Train a deep belief network of two hidden layers greedily, and bound the likelihood of the test digits under it.

    Args:
        digits: ``mnist`` or ``digits``.
        first: Units of h¹.
        second: Units of h².
        sweeps: k of each layer at the end of its training; it rises from 1.
        seed: Decides the weights, the order and all draws.
        epochs: Passes over the training digits for each layer.
        examples: Training digits at most.
        share: Of the temperatures of the paper's ladder.
        scored: Test digits that are scored, the first ones.
        samples: Draws of h¹ for each.
        data_dir: Where named data sets lie.

    Returns:
        ``log_z`` of the top and what is known of it; ``test``, the variational bound, and ``estimate``, that by
        importance sampling, in nats a digit.
    """
    train, test = binary_digits(digits, examples, data_dir)
    generator = Generator().manual_seed(seed)
    model = DeepBeliefNetwork((train.shape[1], first, second), generator=generator)
    data = InMemory(Batch(train), BATCH, seed=seed)

    def schedule(layer: HiddenLayer) -> list[Callback]:
        return [Schedule(sweeps, epochs, TOP_RATE if layer.number == 2 else RATE)]

    pretrain_deep_belief(model, data, _step, epochs=epochs, callbacks=schedule, generator=generator)
    inferred = model.layers.infer(train, generator)[-1]
    estimate = _partition(model.top, inferred, share, generator)
    with torch.no_grad():
        weights = model.log_weights(test[:scored], estimate.log_z, samples, generator)
    return {
        **_told(estimate),
        "test": float(weights.mean()),
        "estimate": float((weights.logsumexp(0) - math.log(samples)).mean()),
    }


def _partition(rbm: RBM, inputs: Tensor, share: float, generator: Generator) -> PartitionEstimate:
    ladder = temperatures(*((end, max(1, round(share * steps))) for end, steps in LEGS))
    return annealed_importance(RBMPath(rbm, inputs), ladder, CHAINS, generator)


def _told(estimate: PartitionEstimate) -> Result:
    return {
        "log_z": estimate.log_z,
        "standard_error": estimate.standard_error,
        "low": estimate.low,
        "high": estimate.high,
        "effective_chains": estimate.effective_chains,
    }
