"""The step-cost check against the measured change of the loss, and the warning of the monitor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.training import GradientStep, Supervised, fit
from lamina.training.step_cost import StepCostMonitor, step_cost
from training.problems import blobs, network, stream


def loss_of(seed: int = 0) -> tuple[nn.Sequential, BatchLoss]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    data = blobs(50)
    assert data.targets is not None
    return model, BatchLoss(model, Categorical(3), data.inputs.double(), data.targets)


def explicit(model: nn.Sequential, batch: BatchLoss) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the loss as a vector and a matrix, by autograd twice."""
    shapes = [p.shape for p in model.parameters()]

    def loss(theta: Tensor) -> Tensor:
        w1, b1, w2, b2 = (
            part.view(s) for part, s in zip(theta.split([s.numel() for s in shapes]), shapes, strict=True)
        )
        return nn.functional.cross_entropy(torch.tanh(batch.inputs @ w1.T + b1) @ w2.T + b2, batch.targets)

    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    return torch.func.grad(loss)(theta), torch.func.jacrev(torch.func.grad(loss))(theta)


def test_O29_gain_and_cost_by_the_explicit_hessian() -> None:
    model, batch = loss_of()
    g, hessian = explicit(model, batch)
    found = step_cost(batch, 0.3)
    assert found.gain == pytest.approx(0.3 * float(g @ g), rel=1e-9)
    assert found.cost == pytest.approx(0.5 * 0.09 * float(g @ hessian @ g), rel=1e-9)
    assert found.sharpness == pytest.approx(float(g @ hessian @ g / (g @ g)), rel=1e-9)
    assert found.change == found.cost - found.gain


def test_O29_predicted_is_the_measured_change_up_to_third_order() -> None:
    """Halving the rate divides what the prediction misses by eight."""
    misses = []
    for rate in (0.02, 0.01, 0.005):
        model, batch = loss_of()
        predicted, before = step_cost(batch, rate).change, float(batch())
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(rate * p.grad)
        measured = float(batch.value()) - before
        assert measured == pytest.approx(predicted, rel=1e-2)
        misses.append(measured - predicted)
    assert misses[0] / misses[1] == pytest.approx(8.0, rel=0.1)
    assert misses[1] / misses[2] == pytest.approx(8.0, rel=0.1)


def test_O29_on_a_parabola_it_is_exact_and_curvature_wins_above_two_over_it() -> None:
    class Parabola(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.w

    model = Parabola()
    x = torch.zeros(1, 1, dtype=torch.float64)
    batch = BatchLoss(
        model, Categorical(2), x.expand(1, 2), torch.zeros(1).long(), penalty=lambda z: 2 * model.w.sum() ** 2
    )
    for rate, wins in ((0.4999, False), (0.5001, True)):  # L = 2 w², curvature 4
        found = step_cost(batch, rate)
        assert found.sharpness == pytest.approx(4.0)
        assert found.change == pytest.approx(2 * (2 - rate * 8) ** 2 - 8, rel=1e-9)
        assert found.curvature_wins is wins


def test_O29_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, 3))
    data = blobs(50)
    assert data.targets is not None
    batch = BatchLoss(model, Categorical(3), data.inputs, data.targets)
    before, random = {n: v.clone() for n, v in model.state_dict().items()}, torch.get_rng_state()
    step_cost(batch, 0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("rate", "warns"), [(0.01, False), (1000.0, True)])
def test_O29_monitor_records_and_warns(rate: float, warns: bool) -> None:
    data, said = blobs(), []
    model = network()
    step = GradientStep(model, Supervised(Categorical(3)), torch.optim.SGD(model.parameters(), rate))
    if warns:  # the rate is shown to the monitor alone: the training stands still
        step.optimizer.step = lambda closure=None: None  # type: ignore[method-assign, assignment]
    history = fit(step, stream(data), max_epochs=2, callbacks=[StepCostMonitor(data, Categorical(3), 2, said.append)])
    assert "sharpness" not in history.records[0]
    record = history.records[1]
    assert (record["step_cost"] > record["step_gain"]) is warns
    assert bool(said) is warns
    if warns:
        assert f"{2 / record['sharpness']:.3g}" in said[0]


def test_monitor_changes_nothing_in_the_training() -> None:
    data, ends = blobs(), []
    for callbacks in ([], [StepCostMonitor(data, Categorical(3))]):
        model = network(dropout=0.5)
        step = GradientStep(model, Supervised(Categorical(3)), torch.optim.SGD(model.parameters(), 0.1))
        fit(step, stream(data), max_epochs=3, callbacks=callbacks)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ends)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="rate"):
        step_cost(loss_of()[1], -1.0)
    with pytest.raises(ConfigError, match="every"):
        StepCostMonitor(blobs(), Categorical(3), every=0)
