"""Extreme learning machine: its output weights against scikit-learn's on the same random features."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import ExtremeLearningMachine


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(n: int = 120) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3, generator=seeded(0), dtype=torch.float64)
    return x, torch.stack([torch.sin(2 * x[:, 0]) + x[:, 1], x[:, 2] ** 2], dim=1)


def features(machine: ExtremeLearningMachine, x: Tensor) -> np.ndarray:
    """The random units, from the formula."""
    z = x.numpy() @ machine.hidden.weight.numpy().T + machine.hidden.bias.numpy()
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("hidden", [40, 300])  # fewer and more units than examples
def test_C42_scikit_learns_ridge_on_the_same_features(hidden: int) -> None:
    x, y = problem()
    machine = ExtremeLearningMachine(3, 2, hidden, generator=seeded(1)).double().solve(x, y, decay=0.3)
    h = features(machine, x)
    theirs = Ridge(alpha=0.3, fit_intercept=False, solver="svd").fit(h, y.numpy())
    np.testing.assert_allclose(machine.output.weight.detach().numpy(), theirs.coef_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(machine(x).detach().numpy(), theirs.predict(h), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_C42_lasso_and_elastic_net_on_the_same_features(l1_ratio: float) -> None:
    x, y = problem()
    machine = (
        ExtremeLearningMachine(3, 1, 60, generator=seeded(1)).double().solve(x, y[:, 0], decay=1.0, l1_ratio=l1_ratio)
    )
    h = features(machine, x)
    settings = {"alpha": 1.0 / len(x), "fit_intercept": False, "tol": 1e-12, "max_iter": 1_000_000}
    model = Lasso(**settings) if l1_ratio == 1.0 else ElasticNet(l1_ratio=l1_ratio, **settings)
    model.fit(h, y[:, 0].numpy())
    np.testing.assert_allclose(machine.output.weight[0].detach().numpy(), model.coef_, atol=1e-5)
    assert 0 < (machine.output.weight == 0).sum() < 60


def test_C42_learns_without_a_gradient_step() -> None:
    x, y = problem(600)
    machine = ExtremeLearningMachine(3, 2, 400, "tanh", scale=1.5, generator=seeded(2)).double()
    machine.solve(x[:400], y[:400], decay=1e-3)
    residual = (machine(x[400:]) - y[400:]).square().mean(0)
    assert (residual < 0.02 * y[400:].var(0)).all()


def test_C42_hidden_weights_are_drawn_as_said_and_never_learnt() -> None:
    machine = ExtremeLearningMachine(16, 2, 20_000, scale=2.0, generator=seeded(3))
    assert machine.hidden.weight.std().item() == pytest.approx(2.0 / math.sqrt(16), rel=0.02)
    assert machine.hidden.bias.std().item() == pytest.approx(2.0, rel=0.02)
    assert [name for name, _ in machine.named_parameters()] == ["output.weight"]
    before = machine.hidden.weight.clone()
    x = torch.randn(30, 16, generator=seeded(4))
    machine.solve(x, torch.randn(30, 2, generator=seeded(5)))
    assert torch.equal(machine.hidden.weight, before)
    assert machine.output.weight.dtype == torch.float32
    same = ExtremeLearningMachine(16, 2, 20_000, scale=2.0, generator=seeded(3))
    assert torch.equal(same.hidden.weight, before)


def test_C42_without_decay_more_units_than_examples_fit_exactly() -> None:
    x, y = problem(30)
    machine = ExtremeLearningMachine(3, 2, 100, generator=seeded(1)).double().solve(x, y, decay=0.0)
    torch.testing.assert_close(machine(x), y, rtol=1e-6, atol=1e-6)


def test_refusals() -> None:
    x, y = problem(30)
    with pytest.raises(ConfigError, match='did you mean "tanh"'):
        ExtremeLearningMachine(3, activation="tahn")
    with pytest.raises(ConfigError, match="2 columns for 1"):
        ExtremeLearningMachine(3, 1, 10).double().solve(x, y)
    with pytest.raises(ConfigError, match="hidden"):
        ExtremeLearningMachine(3, 1, 0)
    with pytest.raises(ConfigError, match="scale"):
        ExtremeLearningMachine(3, 1, 5, scale=-1.0)
