"""Labels that are noisy while training: how often, which, and the same again after a break."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from lamina.data.batch import Batch
from lamina.data.noisy_labels import NoisyLabels
from lamina.data.stream import InMemory
from lamina.errors import ConfigError

N, K = 6000, 4
INPUTS = torch.arange(N, dtype=torch.float32)[:, None]
LABELS = torch.arange(N) % K


def stream(rate: float, size: int = 100, seed: int = 0, classes: int = K) -> NoisyLabels:
    return NoisyLabels(InMemory(Batch(INPUTS, LABELS % classes), size, seed=7), rate, classes, seed=seed)


def epoch(data: NoisyLabels, number: int, start: int = 0) -> Batch:
    """All rows of an epoch, in the order of the examples where it is whole."""
    parts = list(data.batches(number, start))
    inputs, labels = torch.cat([b.inputs for b in parts])[:, 0], torch.cat([b.targets for b in parts])
    order = inputs.argsort()
    return Batch(inputs[order], labels[order])


def test_a_label_is_another_with_the_given_probability_and_each_other_one_alike() -> None:
    noisy = epoch(stream(0.3), 0).targets
    assert noisy.dtype == LABELS.dtype and int(noisy.min()) == 0 and int(noisy.max()) == K - 1
    changed = int((noisy != LABELS).sum())
    assert scipy.stats.binomtest(changed, N, 0.3).pvalue > 1e-3
    steps = np.bincount(((noisy - LABELS) % K).numpy(), minlength=K)[1:]
    assert scipy.stats.chisquare(steps).pvalue > 1e-3


def test_the_ends_of_the_range() -> None:
    assert torch.equal(epoch(stream(0.0), 0).targets, LABELS)
    assert (epoch(stream(1.0), 0).targets != LABELS).all()
    assert torch.equal(epoch(stream(1.0, classes=2), 0).targets, 1 - LABELS % 2)


def test_draws_are_of_seed_epoch_and_position_and_nothing_else_changes() -> None:
    data, state = stream(0.3), torch.get_rng_state()
    first, other, seeded = epoch(data, 0).targets, epoch(data, 1).targets, epoch(stream(0.3, seed=1), 0).targets
    assert torch.equal(first, epoch(stream(0.3), 0).targets) and torch.equal(torch.get_rng_state(), state)
    for one in (other, seeded):  # independent: a label is changed in both as often as chance has it
        both = int(((first != LABELS) & (one != LABELS)).sum())
        assert scipy.stats.binomtest(both, N, 0.09).pvalue > 1e-3
    for begun, whole in zip(data.batches(3, 17), list(data.batches(3))[17:], strict=True):
        assert torch.equal(begun.targets, whole.targets) and torch.equal(begun.inputs, whole.inputs)
    batches = [next(iter(source.batches(2))) for source in (data, data.data)]
    assert torch.equal(batches[0].inputs, batches[1].inputs)
    assert len(data) == data.steps(0) == 60 and data.n_examples == N


@pytest.mark.parametrize(("rate", "classes"), [(-0.1, 3), (1.1, 3), (float("nan"), 3), (0.1, 1)])
def test_what_cannot_be_is_refused(rate: float, classes: int) -> None:
    with pytest.raises(ConfigError, match="two classes or more and a rate from 0 to 1"):
        stream(rate, classes=classes)


def test_batches_without_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="no labels"):
        next(NoisyLabels(InMemory(Batch(INPUTS), 10), 0.1, 3).batches(0))
