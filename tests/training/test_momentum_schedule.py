"""Momentum that rises from update to update, for SGD and for Nesterov with and without closures."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.optim.nesterov import NesterovMomentum
from lamina.optim.schedules import sutskever_momentum
from lamina.training import Callback, GradientStep, Run, Supervised, fit
from lamina.training.closure_step import ClosureStep
from lamina.training.momentum_schedule import MomentumSchedule
from training.problems import blobs, make_step, network, stream


def rising(k: int) -> float:
    return 0.95 - 0.9 / (k + 1)


class Seen(Callback):
    def __init__(self) -> None:
        self.momenta: list[float] = []

    def on_step(self, run: Run) -> None:
        self.momenta.append(run.step.optimizer.param_groups[-1]["momentum"])


def test_every_group_has_the_momentum_of_the_next_update() -> None:
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.2}]
    step, seen = GradientStep(model, Supervised(Categorical(3)), torch.optim.SGD(groups, 0.1, 0.5)), Seen()
    fit(step, stream(), max_epochs=2, callbacks=[seen, MomentumSchedule(rising)])
    n = 2 * len(stream())
    assert seen.momenta == [rising(k) for k in range(n)]  # seen before the callback sets the next
    assert step.optimizer.param_groups[0]["momentum"] == rising(n)


def by_hand(n: int) -> torch.Tensor:
    """v <- a_k v - e grad(t + a_k v), t <- t + v, on the stream's batches, in float64."""
    model = network().double()
    theta = nn.utils.parameters_to_vector(model.parameters()).detach()
    v, k = torch.zeros_like(theta), 0
    while k < n:
        for batch in stream().batches(k // len(stream())):
            if k == n:
                break
            nn.utils.vector_to_parameters(theta + rising(k) * v, model.parameters())
            loss = nn.functional.cross_entropy(model(batch.inputs.double()), batch.targets)  # type: ignore[arg-type]
            g = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
            v = rising(k) * v - 0.05 * g
            theta = theta + v
            k += 1
    return theta


@pytest.mark.parametrize("kind", [GradientStep, ClosureStep])
def test_nesterov_in_the_loop_is_the_recursion_with_a_momentum_of_its_own_at_each_update(kind: type) -> None:
    model = network().double()
    optimizer = NesterovMomentum(model.parameters(), 0.05)
    data = blobs()
    double = data._replace(inputs=data.inputs.double())
    fit(
        kind(model, Supervised(Categorical(3)), optimizer),
        stream(double),
        max_epochs=2,
        callbacks=[MomentumSchedule(rising)],
    )
    with optimizer.at_rest():
        found = nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.testing.assert_close(found, by_hand(2 * len(stream())), rtol=1e-9, atol=1e-11)
    if kind is ClosureStep:  # the parameters are θ already
        assert torch.equal(found, nn.utils.parameters_to_vector(model.parameters()).detach())


def test_a_resumed_run_needs_no_state() -> None:
    def step() -> GradientStep:
        model = network()
        return GradientStep(model, Supervised(Categorical(3)), NesterovMomentum(model.parameters(), 0.05))

    class Stop(Callback):
        state: object = None

        def on_step(self, run: Run) -> None:
            if run.steps == 9:
                self.state = {"run": copy.deepcopy(run.state_dict()), "callbacks": [{}]}

    whole, stop = step(), Stop()
    fit(whole, stream(), max_epochs=2, callbacks=[MomentumSchedule(rising), stop])
    resumed = step()
    fit(resumed, stream(), max_epochs=2, callbacks=[MomentumSchedule(rising)], state=stop.state)  # type: ignore[arg-type]
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters, resumed.parameters, strict=True))


def test_the_default_is_sutskevers_and_optimizers_without_momentum_are_refused() -> None:
    assert MomentumSchedule().schedule is sutskever_momentum
    with pytest.raises(ConfigError, match="Adam has no momentum"):
        fit(make_step(), stream(), max_epochs=1, callbacks=[MomentumSchedule()])
