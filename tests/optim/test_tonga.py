"""TONGA against dense natural-gradient steps with the same covariance."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.optim.tonga import TONGA
from lamina.training.closure_step import ClosureStep
from lamina.training.fit import fit
from lamina.training.objective import Supervised
from optim.closure_problems import classification, regression, weights_of


def blocks(by: str) -> list[list[int]]:
    """Of Linear(2, 4), Tanh, Linear(4, 1), element by element."""
    if by == "unit":
        return [[2 * u, 2 * u + 1, 8 + u] for u in range(4)] + [[12, 13, 14, 15, 16]]
    if by == "parameter":
        return [list(range(8)), list(range(8, 12)), list(range(12, 16)), [16]]
    return [list(range(12)), list(range(12, 17))]


def batches(loss: BatchLoss, steps: int, size: int = 10) -> list[BatchLoss]:
    n = loss.size // size
    return [loss.rows(size * (i % n), size * (i % n + 1)) for i in range(steps)]


def gradient(model: nn.Module, loss: BatchLoss) -> np.ndarray:
    error = model(loss.inputs) - loss.targets
    parts = torch.autograd.grad(0.5 * error.square().sum() / len(error), list(model.parameters()))
    return np.concatenate([g.numpy().ravel() for g in parts])


@pytest.mark.parametrize("by", ["unit", "parameter", "layer"])
def test_O21_steps_are_the_dense_natural_gradient_with_the_same_covariance(by: str) -> None:
    model, loss = regression()
    decay, damping, lr = 0.9, 0.05, 0.02
    optimizer = TONGA(model.parameters(), lr, damping=damping, decay=decay, rank=1, every=50, by=by)  # type: ignore[arg-type]
    covariance, total = np.zeros((17, 17)), 0.0
    for batch in batches(loss, 20):
        g, before = gradient(model, batch), weights_of(model).numpy()
        covariance, total = decay * covariance + np.outer(g, g), decay * total + 1.0
        expected = before.copy()
        for block in blocks(by):
            part = covariance[np.ix_(block, block)] / total + damping * np.eye(len(block))
            expected[block] -= lr * np.linalg.solve(part, g[block])
        optimizer.step(batch)
        np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-8, atol=1e-11)
    assert optimizer.last is not None and optimizer.last.rows == 20


@pytest.mark.parametrize("by", ["unit", "layer"])
def test_O21_every_b_steps_the_covariance_keeps_its_greatest_directions(by: str) -> None:
    model, loss = regression()
    decay, damping, lr, rank, every = 0.9, 0.05, 0.02, 2, 3
    optimizer = TONGA(model.parameters(), lr, damping=damping, decay=decay, rank=rank, every=every, by=by)  # type: ignore[arg-type]
    parts = {i: np.zeros((len(b), len(b))) for i, b in enumerate(blocks(by))}
    total, rows = 0.0, 0
    for batch in batches(loss, 14):
        g, before = gradient(model, batch), weights_of(model).numpy()
        expected, total, rows = before.copy(), decay * total + 1.0, rows + 1
        for i, block in enumerate(blocks(by)):
            parts[i] = decay * parts[i] + np.outer(g[block], g[block])
            damped = parts[i] / total + damping * np.eye(len(block))
            expected[block] -= lr * np.linalg.solve(damped, g[block])
            if rows == rank + every:
                values, vectors = np.linalg.eigh(parts[i])
                parts[i] = (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T
        rows = rank if rows == rank + every else rows
        optimizer.step(batch)
        np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-7, atol=1e-10)


def test_O21_groups_have_their_rates() -> None:
    model, loss = regression()
    groups = [{"params": list(model[0].parameters()), "lr": 0.0}, {"params": list(model[2].parameters())}]
    optimizer = TONGA(groups, lr=0.1)
    before = weights_of(model)
    optimizer.step(loss)
    after = weights_of(model)
    assert torch.equal(after[:12], before[:12]) and not torch.equal(after[12:], before[12:])


def test_O21_trains_and_memory_is_bounded() -> None:
    model, loss = classification()
    before = float(loss.value())
    optimizer = TONGA(model.parameters(), lr=0.02, rank=3, every=5)
    fit(
        ClosureStep(model, Supervised(loss.likelihood), optimizer),
        InMemory(Batch(loss.inputs, loss.targets), batch_size=15, seed=0),
        max_epochs=30,
    )
    assert float(loss.value()) < 0.4 * before
    state = optimizer.state[next(model.parameters())]
    size = len(weights_of(model))
    assert sum(rows.numel() for rows in state["rows"]) == 8 * size and len(state["weights"]) <= 8


def test_resumed_run_is_the_uninterrupted_one_to_the_bit() -> None:
    model, loss = classification()
    other = copy.deepcopy(model)
    optimizer = TONGA(model.parameters(), rank=2, every=3)
    for batch in batches(loss, 7):
        optimizer.step(batch)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    other.load_state_dict(saved[0])
    again = TONGA(other.parameters(), rank=2, every=3)
    again.load_state_dict(saved[1])
    rest = BatchLoss(other, loss.likelihood, loss.inputs, loss.targets)
    for one, two in zip(batches(loss, 8), batches(rest, 8), strict=True):
        optimizer.step(one)
        again.step(two)
    assert torch.equal(weights_of(model), weights_of(other))


def test_stays_where_it_cannot_move_and_refuses_misfits() -> None:
    model, loss = regression()
    before = weights_of(model)
    optimizer = TONGA(model.parameters())
    optimizer.step(BatchLoss(model, loss.likelihood, loss.inputs, loss.targets * float("nan")))
    assert optimizer.last is not None and optimizer.last.reason == "non-finite"
    assert torch.equal(weights_of(model), before)
    for wrong in ({"lr": -1.0}, {"damping": 0.0}, {"decay": 0.0}, {"rank": 0}, {"every": 0}):
        with pytest.raises(ConfigError):
            TONGA(model.parameters(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="loss of a batch"):
        TONGA(model.parameters()).step(lambda: torch.zeros(()))
