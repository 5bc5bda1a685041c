"""The delta rule: gradient against differences, steps against Python's numbers, end against least squares."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import SingleLayerPerceptron, delta_rule


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(n: int = 12, d: int = 3, k: int = 2) -> tuple[Tensor, Tensor]:
    g = seeded(1)
    return torch.randn(n, d, generator=g, dtype=torch.float64), torch.rand(n, k, generator=g, dtype=torch.float64)


def squared_error(w: np.ndarray, x: np.ndarray, t: np.ndarray, activation: str) -> float:
    """½ Σ ‖g(W x + b) - t‖², the bias in w's last column."""
    z = x @ w[:, :-1].T + w[:, -1]
    y = 1 / (1 + np.exp(-z)) if activation == "sigmoid" else z
    return float(0.5 * ((y - t) ** 2).sum())


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_C36_gradient_is_that_of_central_differences(activation: str) -> None:
    x, t = problem()
    unit = SingleLayerPerceptron(3, 2, activation, seeded(0)).double()
    w = torch.cat([unit.affine.weight, unit.affine.bias.unsqueeze(1)], dim=1).detach().numpy()
    expected = np.empty_like(w)
    for i in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[i] = 1e-6
        ahead, behind = (squared_error(w + s * step, x.numpy(), t.numpy(), activation) for s in (1, -1))
        expected[i] = (ahead - behind) / 2e-6
    by_weight, by_bias = unit.gradients(x, t)
    found = torch.cat([by_weight, by_bias.unsqueeze(1)], dim=1).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8)


def test_C36_one_example_is_the_courses_formula() -> None:
    unit = SingleLayerPerceptron(2).double()
    with torch.no_grad():
        unit.affine.weight.copy_(torch.tensor([[0.3, -0.4]], dtype=torch.float64))
        unit.affine.bias.fill_(0.1)
    y = 1 / (1 + math.exp(-(0.3 * 2 - 0.4 * 5 + 0.1)))
    by_weight, by_bias = unit.gradients(
        torch.tensor([[2.0, 5.0]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)
    )
    slope = (y - 1) * y * (1 - y)
    assert by_weight[0].tolist() == pytest.approx([slope * 2, slope * 5], rel=1e-12)
    assert by_bias.item() == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_C36_steps_are_those_of_a_plain_loop(activation: str, batch_size: int) -> None:
    x, t = problem()
    unit = SingleLayerPerceptron(3, 2, activation, seeded(0)).double()
    w, b = unit.affine.weight.detach().numpy().copy(), unit.affine.bias.detach().numpy().copy()
    errors = delta_rule(unit, x, t, rate=0.2, epochs=2, batch_size=batch_size, shuffle=False)
    for _ in range(2):
        for start in range(0, 12, batch_size):
            xs, ts = x.numpy()[start : start + batch_size], t.numpy()[start : start + batch_size]
            step_w, step_b = np.zeros_like(w), np.zeros_like(b)
            for row, wanted in zip(xs, ts, strict=True):
                z = w @ row + b
                y = 1 / (1 + np.exp(-z)) if activation == "sigmoid" else z
                delta = (y - wanted) * (y * (1 - y) if activation == "sigmoid" else 1.0)
                step_w += np.outer(delta, row) / len(xs)
                step_b += delta / len(xs)
            w, b = w - 0.2 * step_w, b - 0.2 * step_b
    np.testing.assert_allclose(unit.affine.weight.detach().numpy(), w, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(unit.affine.bias.detach().numpy(), b, rtol=1e-12, atol=1e-14)
    last = squared_error(np.column_stack([w, b]), x.numpy(), t.numpy(), activation) / 12
    assert errors[-1].item() == pytest.approx(last, rel=1e-12)


def test_C36_C39_whole_batches_of_a_linear_unit_end_at_least_squares() -> None:
    x, t = problem(n=40)
    unit = SingleLayerPerceptron(3, 2, "identity", seeded(0)).double()
    delta_rule(unit, x, t, rate=0.5, epochs=400, batch_size=40)
    extended = np.column_stack([x.numpy(), np.ones(40)])
    expected = np.linalg.lstsq(extended, t.numpy(), rcond=None)[0].T
    np.testing.assert_allclose(unit.affine.weight.detach().numpy(), expected[:, :-1], atol=1e-10)
    np.testing.assert_allclose(unit.affine.bias.detach().numpy(), expected[:, -1], atol=1e-10)


def test_C36_widrow_hoff_settles_near_least_squares_and_finds_an_exact_plane() -> None:
    g = seeded(3)
    x = torch.randn(200, 3, generator=g)
    target = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.25
    unit = SingleLayerPerceptron(3, 1, "identity", g)
    errors = delta_rule(unit, x, target, rate=0.05, epochs=20, generator=g)
    assert errors[-1] < 1e-10 < errors[0]  # without noise, one example at a time suffices
    again = SingleLayerPerceptron(3, 1, "identity", seeded(3))
    delta_rule(again, x, target, rate=0.05, epochs=1, generator=seeded(5))
    other = SingleLayerPerceptron(3, 1, "identity", seeded(3))
    delta_rule(other, x, target, rate=0.05, epochs=1, generator=seeded(5))
    assert torch.equal(again.affine.weight, other.affine.weight)


def test_refusals() -> None:
    x, t = problem()
    unit = SingleLayerPerceptron(3, 2).double()
    with pytest.raises(ConfigError, match="activation"):
        # Unwrapped: the annotations, checked in test runs, would refuse it before.
        inspect.unwrap(SingleLayerPerceptron.__init__)(
            SingleLayerPerceptron.__new__(SingleLayerPerceptron), 3, 2, "Tanh"
        )
    with pytest.raises(ConfigError, match="rate"):
        delta_rule(unit, x, t, rate=-1.0)
    with pytest.raises(ConfigError, match="batch_size"):
        delta_rule(unit, x, t, rate=0.1, batch_size=0)
