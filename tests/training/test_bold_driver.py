"""The bold driver in the loop: scripted errors, an epoch that is taken back, and a resumed run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch

from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.training import Callback, GradientStep, Run, Supervised, fit, full_state
from lamina.training.bold_driver import BoldDriverByEpoch
from lamina.training.evaluation import Validation
from lamina.training.state import copy_state, flatten_state, unflatten_state
from training.problems import blobs, network, stream, weights_of


class Script(Callback):
    """Records a figure from a list."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = values

    def on_epoch(self, run: Run) -> None:
        run.history.current["error"] = self.values[run.epoch - 1]


class Keep(Callback):
    """Weights after every epoch, and the full state after one of them."""

    def __init__(self, callbacks: list[Callback], at: int = 0) -> None:
        self.callbacks, self.at, self.weights, self.state = callbacks, at, [], None

    def on_epoch(self, run: Run) -> None:
        self.weights.append(weights_of(run.step.model))
        if run.epoch == self.at:
            self.state = copy_state(full_state(run, self.callbacks))


def sgd(rate: float = 0.1, seed: int = 0) -> GradientStep:
    model = network(seed)
    return GradientStep(model, Supervised(Categorical(3)), torch.optim.SGD(model.parameters(), rate, momentum=0.9))


def test_W22_epochs_are_compared() -> None:
    step = sgd(1.0)
    history = fit(
        step,
        stream(),
        max_epochs=6,
        callbacks=[Script([5.0, 4.0, 3.5, 3.6, 3.6, 9.0]), BoldDriverByEpoch("error")],
    )
    assert history.series("learning_rate")[1:] == pytest.approx([1.0, 1.1, 1.21, 0.605, 0.605])
    assert step.optimizer.param_groups[0]["lr"] == pytest.approx(0.3025)


def test_O05_an_epoch_that_made_the_error_rise_is_taken_back() -> None:
    step, callbacks = sgd(), [Script([5.0, 4.0, 6.0, 3.0]), BoldDriverByEpoch("error", take_back=True)]
    keep = Keep(callbacks)
    fit(step, stream(), max_epochs=4, callbacks=[*callbacks, keep])
    assert torch.equal(keep.weights[2], keep.weights[1])
    assert not torch.equal(keep.weights[3], keep.weights[1])
    assert step.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 1.1 * 0.5 * 1.1)


def test_O05_resumed_is_uninterrupted() -> None:
    def callbacks() -> list[Callback]:
        return [Validation(blobs(50, 1), Categorical(3)), BoldDriverByEpoch("valid_loss", take_back=True)]

    watched = callbacks()
    whole, keep = sgd(1.0), Keep(watched, at=4)
    history = fit(whole, stream(), max_epochs=10, callbacks=[*watched, keep])
    rates = history.series("learning_rate")
    assert any(b < a for a, b in pairwise(rates))  # something was taken back
    resumed = sgd(1.0, seed=3)
    state = unflatten_state(*flatten_state(keep.state), where="test")
    fit(resumed, stream(), max_epochs=10, callbacks=callbacks(), state=state)
    assert torch.equal(weights_of(whole.model), weights_of(resumed.model))


def test_taking_back_wants_the_error_of_the_weights_as_they_are() -> None:
    with pytest.raises(ConfigError, match="take_back"):
        BoldDriverByEpoch(take_back=True)
