"""Asynchronous descent: one worker is serial descent, several share the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.training import fit
from lamina.training.hogwild import _Job, _work, hogwild
from training.parallel_problems import own_memory, sgd_step, slow_step
from training.problems import blobs, network, stream, weights_of


def loss_of(model: nn.Module) -> float:
    data = blobs()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(data.inputs), data.targets))  # type: ignore[arg-type]


@pytest.mark.slow
def test_O30_one_worker_is_serial_descent_to_the_bit() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        serial, shared = network(), network()
        history = fit(sgd_step(serial), stream(), max_epochs=3)
        losses = hogwild(shared, sgd_step, blobs(), workers=1, epochs=3, batch_size=32)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(weights_of(serial), weights_of(shared))
    assert losses.tolist() == [pytest.approx(history.series("loss"), rel=1e-6)]
    assert all(p.is_shared() for p in shared.parameters()) and not shared.training


@pytest.mark.slow
def test_O30_two_workers_change_the_same_weights() -> None:
    """Each alone, on its half of the data, would end elsewhere; both losses fall.

    The one that begins later begins with what the other has learnt, so falls are counted from the first one's start.
    """
    model = network()
    before = loss_of(model)
    losses = hogwild(model, slow_step, blobs(), workers=2, epochs=8, batch_size=10)
    assert losses.shape == (2, 8)
    assert (losses[:, -1] < 0.5 * losses[:, 0].max()).all()
    assert loss_of(model) < 0.4 * before
    alone = network()
    one = slow_step(alone)
    for epoch in range(8):
        for batch in InMemory(blobs(), 10, rows=torch.arange(0, 200, 2), seed=0).batches(epoch):
            one(batch)
    moved = (weights_of(model) - weights_of(network())).norm() / (weights_of(alone) - weights_of(network())).norm()
    assert moved > 1.15  # the updates of both are in the weights


def test_a_step_that_leaves_the_shared_memory_is_refused() -> None:
    job = _Job(network().share_memory(), own_memory, blobs(), 1, 32, 0)
    with pytest.raises(ConfigError, match="out of the shared memory"):
        _work(0, job, torch.zeros(1, 1))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="workers"):
        hogwild(network(), sgd_step, blobs(), workers=0)
    with pytest.raises(ConfigError, match="cannot be dealt"):
        hogwild(network(), sgd_step, blobs(3), workers=4)
