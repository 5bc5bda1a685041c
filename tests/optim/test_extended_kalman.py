"""The extended Kalman filter: recursive least squares written out, ridge regression, forgetting, a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, Gaussian
from lamina.optim.extended_kalman import ExtendedKalman
from optim.closure_problems import regression, weights_of


def data(n: int = 30, d: int = 4, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    return x, x @ rng.standard_normal((d, k)) + 0.3 * rng.standard_normal((n, k))


def linear(d: int = 4, k: int = 1) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(d, k, bias=False).double()


def batch(model: nn.Module, x: np.ndarray, y: np.ndarray, scale: float = 1.0, **more: object) -> BatchLoss:
    return BatchLoss(model, Gaussian(y.shape[1], scale=scale), torch.tensor(x), torch.tensor(y), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("forgetting", [1.0, 0.9])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_O24_a_linear_unit_is_recursive_least_squares(forgetting: float, noise: float) -> None:
    """The recursion of one example a step: gain P x / (λ + xᵀPx), in its textbook form with noise of variance s²."""
    x, y = data()
    s2 = 0.25
    model = linear()
    optimizer = ExtendedKalman(model.parameters(), variance=3.0, forgetting=forgetting, process_noise=noise)
    w, p = model.weight.detach().numpy()[0].copy(), 3.0 * np.eye(4)
    for row, target in zip(x, y[:, 0], strict=True):
        p = p / forgetting + noise * np.eye(4)
        gain = p @ row / (s2 + row @ p @ row)
        error = target - w @ row
        w = w + gain * error
        surprise = error**2 / (s2 + row @ p @ row)
        p = p - np.outer(gain, row @ p)
        optimizer.step(batch(model, row[None], np.array([[target]]), 0.5))
        np.testing.assert_allclose(model.weight.detach().numpy()[0], w, rtol=1e-9)
        np.testing.assert_allclose(optimizer.state[model.weight]["covariance"].numpy(), p, rtol=1e-8, atol=1e-12)
        assert optimizer.last is not None
        assert optimizer.last.surprise == pytest.approx(surprise, rel=1e-8)


@pytest.mark.parametrize("size", [1, 7, 30])
@pytest.mark.parametrize("k", [1, 3])
def test_O24_batches_of_any_size_end_at_ridge_regression(size: int, k: int) -> None:
    x, y = data(k=k)
    model = linear(k=k)
    start = model.weight.detach().numpy().copy()
    optimizer = ExtendedKalman(model.parameters(), variance=0.5)
    order = np.random.default_rng(1).permutation(30)
    for first in range(0, 30, size):
        rows = order[first : first + size]
        optimizer.step(batch(model, x[rows], y[rows], 0.7))
    a = x.T @ x / 0.49 + np.eye(4) / 0.5
    ridge = np.linalg.solve(a, x.T @ y / 0.49 + start.T / 0.5)
    np.testing.assert_allclose(model.weight.detach().numpy(), ridge.T, rtol=1e-9)
    covariance = optimizer.state[model.weight]["covariance"].numpy()
    np.testing.assert_allclose(covariance, np.kron(np.eye(k), np.linalg.inv(a)), atol=1e-10)


def test_O15_forgetting_weighs_examples_down_step_by_step() -> None:
    x, y = data()
    model = linear()
    start = model.weight.detach().numpy().copy()
    optimizer = ExtendedKalman(model.parameters(), variance=2.0, forgetting=0.8)
    for row, target in zip(x, y, strict=True):
        optimizer.step(batch(model, row[None], target[None]))
    w = 0.8 ** np.arange(29, -1, -1)
    a = (x.T * w) @ x + 0.8**30 * np.eye(4) / 2.0
    np.testing.assert_allclose(
        model.weight.detach().numpy(), np.linalg.solve(a, (x.T * w) @ y + 0.8**30 * start.T / 2.0).T, rtol=1e-8
    )


def test_weights_of_examples_are_their_precision() -> None:
    x, y = data()
    w = np.random.default_rng(2).uniform(0, 2, 30)
    w[3] = 0.0
    model = linear()
    start = model.weight.detach().numpy().copy()
    optimizer = ExtendedKalman(model.parameters(), variance=0.5)
    loss = batch(model, x, y, weights=torch.tensor(w))
    expected = 0.5 * np.mean(w * ((x @ start.T - y)[:, 0] ** 2 + np.log(2 * np.pi)))
    assert float(optimizer.step(loss)) == pytest.approx(expected)
    ridge = np.linalg.solve((x.T * w) @ x + np.eye(4) / 0.5, (x.T * w) @ y + start.T / 0.5)
    np.testing.assert_allclose(model.weight.detach().numpy(), ridge.T, rtol=1e-9)


def test_O15_a_step_of_a_net_is_gauss_newtons_from_where_it_stands() -> None:
    """With P = vI before: (JᵀJ/s² + I/v)⁻¹ Jᵀe/s², by an explicit Jacobian; P after is that inverse."""
    model, loss = regression(n=15)
    before = weights_of(model).numpy()
    outputs = loss.outputs()
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(z, list(model.parameters()), retain_graph=True)])
        for z in outputs[:, 0]
    ]
    j, e = torch.stack(rows).numpy(), (loss.targets - outputs.detach()).numpy()[:, 0]
    optimizer = ExtendedKalman(model.parameters(), variance=0.1)
    optimizer.step(loss)
    precision = j.T @ j + np.eye(len(before)) / 0.1
    np.testing.assert_allclose(weights_of(model).numpy(), before + np.linalg.solve(precision, j.T @ e), rtol=1e-8)
    covariance = optimizer.state[next(model.parameters())]["covariance"].numpy()
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), atol=1e-10)


def test_one_pass_over_a_stream_learns_a_net() -> None:
    model, loss = regression(n=200, dtype=torch.float32)
    optimizer = ExtendedKalman(model.parameters(), variance=1.0)
    sharp = BatchLoss(model, Gaussian(scale=0.1), loss.inputs, loss.targets)
    before = float((loss.outputs().detach() - loss.targets).square().mean())
    for i in range(200):
        optimizer.step(sharp.rows(i, i + 1))
    after = float((loss.outputs().detach() - loss.targets).square().mean())
    assert after < 0.15 * before
    assert after < 0.1


def test_groups_have_their_variance_noise_and_share() -> None:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 1)).double()
    weight, bias = model[0].weight, model[0].bias
    w0, b0 = weight.detach().numpy().copy(), bias.detach().numpy().copy()
    groups = [
        {"params": [bias], "variance": 4.0, "process_noise": 0.3},
        {"params": [weight], "variance": 0.5, "lr": 0.5},
    ]
    optimizer = ExtendedKalman(groups)
    optimizer.step(batch(model, x, y))
    a = np.concatenate([np.ones((30, 1)), x], axis=1)
    p0 = np.diag([4.3] + [0.5] * 4)
    e = y - (x @ w0.T + b0)
    step = np.linalg.solve(a.T @ a + np.linalg.inv(p0), a.T @ e)[:, 0]
    np.testing.assert_allclose(bias.detach().numpy(), b0 + step[:1], rtol=1e-8)
    np.testing.assert_allclose(weight.detach().numpy()[0], w0[0] + 0.5 * step[1:], rtol=1e-8)
    optimizer.param_groups[1]["lr"] = 0.0
    held = weight.detach().clone()
    optimizer.step(batch(model, x, y))
    assert torch.equal(weight, held)


def test_targets_of_one_number_may_lie_flat() -> None:
    x, y = data()
    one, other = linear(), linear()
    ExtendedKalman(one.parameters()).step(batch(one, x, y))
    flat = BatchLoss(other, Gaussian(scale=1.0), torch.tensor(x), torch.tensor(y[:, 0]))
    ExtendedKalman(other.parameters()).step(flat)
    assert torch.equal(one.weight, other.weight)


def test_refusals() -> None:
    x, y = data()
    model = linear()
    optimizer = ExtendedKalman(model.parameters())
    classes = BatchLoss(nn.Linear(4, 3), Categorical(3), torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64))
    learnt = BatchLoss(linear(k=2), Gaussian(1), torch.tensor(x), torch.tensor(y))
    for wrong in (classes, learnt):
        with pytest.raises(ConfigError, match="Gaussian"):
            ExtendedKalman(wrong.model.parameters()).step(wrong)
    with pytest.raises(ConfigError, match="without penalty"):
        optimizer.step(batch(model, x, y, penalty=lambda outputs: outputs.sum()))
    for options in ({"lr": -1.0}, {"variance": 0.0}, {"forgetting": 0.0}, {"forgetting": 1.1}, {"process_noise": -1.0}):
        with pytest.raises(ConfigError, match="ExtendedKalman"):
            ExtendedKalman(model.parameters(), **options)


def test_a_group_that_is_held_is_known_and_what_the_others_know_is_kept() -> None:
    """Held weights count as constants; covariances of the rest go on, those of a new group begin."""
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 1)).double()
    weight, bias = model[0].weight, model[0].bias
    optimizer = ExtendedKalman([{"params": [bias], "variance": 4.0}, {"params": [weight], "variance": 0.5}])
    optimizer.step(batch(model, x[:10], y[:10]))
    both = optimizer.state[bias]["covariance"].numpy().copy()
    optimizer.param_groups[0]["lr"] = 0.0
    w = weight.detach().numpy().copy()
    b = bias.item()
    optimizer.step(batch(model, x[10:], y[10:]))
    p = np.linalg.inv(np.linalg.inv(both[1:, 1:]) + x[10:].T @ x[10:])
    np.testing.assert_allclose(optimizer.state[bias]["covariance"].numpy(), p, atol=1e-12)
    np.testing.assert_allclose(weight.detach().numpy(), w + (p @ x[10:].T @ (y[10:] - x[10:] @ w.T - b)).T, rtol=1e-8)
    assert bias.item() == b
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step(batch(model, x[:1] * 0.0, y[:1]))  # says something of the bias alone
    covariance = optimizer.state[bias]["covariance"].numpy()
    np.testing.assert_allclose(covariance[1:, 1:], p, atol=1e-12)
    assert covariance[0, 0] == pytest.approx(1 / (1 / 4.0 + 1))
