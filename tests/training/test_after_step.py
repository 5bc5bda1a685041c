"""Projection and proximal step inside the loop: under every step, with schedules, and through a resume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, Gaussian
from lamina.training import BackpropStep, GradientStep, Supervised, fit, full_state
from lamina.training.after_step import NormConstraint, ProximalStep
from lamina.training.callback import Callback
from lamina.training.learning_rate import LearningRate
from lamina.training.run import Run
from lamina.training.state import copy_state
from lamina.training.step import Step
from training.problems import network, stream, weights_of


def steps(kind: str, lr: float = 0.1, weight_decay: float = 0.0) -> Step:
    model = network()
    if kind == "backprop":
        make = lambda groups: torch.optim.SGD(groups, lr=lr)  # noqa: E731
        return BackpropStep(model, Supervised(Categorical(3)), make, weight_decay=weight_decay)
    if kind == "fused":
        return GradientStep(model, Supervised(Categorical(3)), torch.optim.Adam(model.parameters(), lr=lr, fused=True))
    return GradientStep(model, Supervised(Categorical(3)), torch.optim.SGD(model.parameters(), lr=lr))


@pytest.mark.parametrize("kind", ["gradient", "backprop", "fused"])
def test_R05_constraint_holds_after_every_update(kind: str) -> None:
    step, seen = steps(kind), []

    class Look(Callback):
        def on_step(self, run: Run) -> None:
            rows = [p.detach().flatten(1).norm(dim=1) for p in run.step.model.parameters() if p.ndim == 2]
            seen.append(torch.cat(rows).max().item())

    fit(step, stream(), max_epochs=3, callbacks=[NormConstraint(0.4), Look()])
    assert max(seen) <= 0.4 * (1 + 1e-6)
    assert max(seen) == pytest.approx(0.4)
    free = steps(kind)
    fit(free, stream(), max_epochs=3)
    assert max(p.detach().norm(dim=1).max().item() for p in free.model.parameters() if p.ndim == 2) > 0.5


def test_R05_the_steps_agree_and_the_biases_are_free() -> None:
    after = []
    for kind in ("gradient", "backprop"):
        step = steps(kind)
        fit(step, stream(), max_epochs=3, callbacks=[NormConstraint(0.5, "whole"), ProximalStep(0.01)])
        after.append(weights_of(step.model))
        wide = torch.cat([p.detach().flatten() for p in step.model.parameters() if p.ndim == 2])
        assert wide.norm() <= 0.5 * (1 + 1e-6)
        assert (wide == 0).any()
        assert all((p != 0).all() for p in step.model.parameters() if p.ndim == 1)
    torch.testing.assert_close(after[0], after[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["gradient", "backprop"])
def test_R02_training_with_the_proximal_step_is_scikit_learns_lasso(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 6)) @ (np.eye(6) + 0.3 * rng.standard_normal((6, 6)))
    y = x @ np.array([2.0, 0, 0, -1, 0, 0.05]) + 0.1 * rng.standard_normal(64) + 3.0
    lasso = Lasso(0.2, tol=1e-13, max_iter=10**6).fit(x, y)
    model = nn.Sequential(nn.Linear(6, 1)).double()
    objective, lr = Supervised(Gaussian(scale=1.0)), 0.2
    step: Step
    if kind == "backprop":
        step = BackpropStep(model, objective, lambda groups: torch.optim.SGD(groups, lr=lr))
    else:
        step = GradientStep(model, objective, torch.optim.SGD(model.parameters(), lr=lr))
    data = InMemory(Batch(torch.tensor(x), torch.tensor(y)), 64, shuffle=False)
    fit(step, data, max_epochs=600, callbacks=[ProximalStep(0.2)])
    np.testing.assert_allclose(model[0].weight.detach().numpy()[0], lasso.coef_, atol=1e-9)
    assert model[0].bias.item() == pytest.approx(lasso.intercept_, abs=1e-9)
    assert np.array_equal(model[0].weight.detach().numpy()[0] == 0, lasso.coef_ == 0)
    assert (lasso.coef_ == 0).any()


def test_it_uses_the_rate_of_the_update_just_made() -> None:
    """With gradients of zero only the threshold moves the weights: the sum of the scheduled rates."""
    model = nn.Sequential(nn.Linear(1, 1)).double()
    with torch.no_grad():
        model[0].weight.fill_(5.0)
    step = GradientStep(model, Supervised(Gaussian(scale=1.0)), torch.optim.SGD(model.parameters(), lr=1.0))
    x = torch.zeros(4, 1, dtype=torch.float64)
    data = InMemory(Batch(x, model(x).detach()[:, 0]), 1, shuffle=False)
    rates: list[float] = []

    class Note(Callback):
        def on_step(self, run: Run) -> None:
            rates.append(run.step.optimizer.param_groups[0]["lr"])

    schedule = LearningRate(lambda progress: 1.0 - progress)
    fit(step, data, max_epochs=1, callbacks=[ProximalStep(0.5), Note(), schedule])
    assert rates == [1.0, 0.75, 0.5, 0.25]
    assert model[0].weight.item() == pytest.approx(5.0 - 0.5 * sum(rates))


def test_groups_with_rates_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters(), "lr": 0.1},
        {"params": model[1].parameters(), "lr": 0.3},
    ]

    class Nothing(GradientStep):
        def _apply(self) -> None: ...

    step = Nothing(model, Supervised(Gaussian(scale=1.0)), torch.optim.SGD(groups))
    data = InMemory(Batch(torch.ones(2, 1, dtype=torch.float64), torch.ones(2, dtype=torch.float64)), 1)
    fit(step, data, max_epochs=1, callbacks=[ProximalStep(1.0, parameters="*.weight")])
    assert model[0].weight.item() == pytest.approx(0.8)
    assert model[1].weight.item() == pytest.approx(0.4)
    assert model[1].bias.item() == 1.0


def test_resumed_is_uninterrupted() -> None:
    def made() -> tuple[Step, list[Callback]]:
        step = steps("fused", lr=0.05)
        return step, [NormConstraint(0.4, "column"), ProximalStep(0.02), LearningRate(lambda p: 1 - 0.9 * p)]

    states: list[dict[str, Any]] = []
    whole, callbacks = made()

    class Keep(Callback):
        def on_step(self, run: Run) -> None:
            if run.steps == 9:
                states.append(copy_state(full_state(run, callbacks)))

    fit(whole, stream(), max_epochs=4, callbacks=[*callbacks, Keep()])
    second, callbacks = made()
    fit(second, stream(), max_epochs=4, callbacks=callbacks, state=states[0])
    torch.testing.assert_close(weights_of(second.model), weights_of(whole.model), rtol=0, atol=0)


def test_a_state_loaded_in_the_run_does_not_part_it_from_the_rate() -> None:
    step = steps("gradient", lr=0.0)
    constraint = ProximalStep(1.0)
    run = Run(step, stream(), 1, None)
    constraint.on_start(run)
    step.load_state_dict({"model": step.model.state_dict(), "optimizer": step.optimizer.state_dict()})
    step.optimizer.param_groups[0]["lr"] = 100.0
    constraint.on_step(run)
    assert all((p == 0).all() for p in step.model.parameters() if p.ndim == 2)


def test_refusals() -> None:
    for bad in (lambda: NormConstraint(0.0), lambda: NormConstraint(1.0, "row"), lambda: ProximalStep(-1.0)):
        with pytest.raises(ConfigError):
            bad()
    with pytest.raises(ConfigError, match="no weights are named"):
        fit(steps("gradient"), stream(), max_epochs=1, callbacks=[NormConstraint(1.0, parameters="conv")])
