"""Averaged stochastic gradient descent against the plain mean, PyTorch's, and what it is for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.training import Callback, GradientStep, Run, Supervised, fit, full_state
from lamina.training.averaged_weights import AveragedWeights
from lamina.training.state import copy_state, flatten_state, unflatten_state
from training.problems import make_step, stream, weights_of


class Watch(Callback):
    """Weights after every update, PyTorch's mean, and a state in the middle."""

    def __init__(self, first: int, at: int, callbacks: list[Callback]) -> None:
        self.first, self.at, self.callbacks = first, at, callbacks
        self.weights: list[torch.Tensor] = []
        self.torchs: AveragedModel | None = None
        self.state: object = None

    def on_step(self, run: Run) -> None:
        self.weights.append(weights_of(run.step.model).double())
        if run.steps >= self.first:
            self.torchs = self.torchs or AveragedModel(run.step.model)
            self.torchs.update_parameters(run.step.model)
        if run.steps == self.at:
            self.state = copy_state(full_state(run, self.callbacks))


def test_the_mean_is_that_of_the_weights_and_of_pytorch_and_survives_a_stop() -> None:
    average = AveragedWeights(start=0.5)
    step, n = make_step(), 3 * len(stream())  # 21 updates: the mean begins with the 11th
    watch = Watch(n // 2 + 1, 15, [average])
    fit(step, stream(), max_epochs=3, callbacks=[average, watch])
    expected = torch.stack(watch.weights[n // 2 :]).mean(0)
    assert average.count == n - n // 2
    torch.testing.assert_close(weights_of(step.model).double(), expected, rtol=1e-5, atol=1e-7)
    assert watch.torchs is not None
    torch.testing.assert_close(weights_of(step.model), weights_of(watch.torchs.module), rtol=1e-5, atol=1e-7)
    assert not torch.allclose(weights_of(step.model).double(), watch.weights[-1])
    resumed = make_step(seed=4)
    state = unflatten_state(*flatten_state(watch.state), where="test")
    fit(resumed, stream(), max_epochs=3, callbacks=[AveragedWeights(start=0.5)], state=state)
    assert torch.equal(weights_of(resumed.model), weights_of(step.model))


def test_an_interrupted_run_keeps_its_last_weights() -> None:
    class Interrupt(Callback):
        def on_step(self, run: Run) -> None:
            if run.steps == 18:
                run.stopping, run.interrupted = "asked", True

    average, step = AveragedWeights(0.2), make_step()
    watch = Watch(99, 99, [])
    fit(step, stream(), max_epochs=3, callbacks=[average, watch, Interrupt()])
    assert torch.equal(weights_of(step.model).double(), watch.weights[-1]) and average.count > 0


def test_averaging_brings_a_wandering_regression_to_its_solution() -> None:
    """Least squares with noise and a constant rate: the mean is many times nearer to the solution than the last."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator).double()
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]).double() + torch.randn(400, 1, generator=generator).double()
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(400, 1).double()], 1), y).solution
    errors = []
    for callbacks in ([], [AveragedWeights(0.2)]):
        model = nn.Linear(3, 1).double()
        nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
        step = GradientStep(model, Supervised(Gaussian(scale=1.0)), torch.optim.SGD(model.parameters(), 0.1))
        fit(step, InMemory(Batch(x, y), 4, seed=1), max_epochs=10, callbacks=callbacks)
        found = torch.cat([model.weight.detach().T, model.bias.detach()[None]])
        errors.append(float((found - solution).norm()))
    assert errors[1] < 0.2 * errors[0]


def test_bad_start_is_named() -> None:
    with pytest.raises(ConfigError, match="start"):
        AveragedWeights(1.0)
