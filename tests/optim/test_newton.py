"""Newton's method: one step on a quadratic, the dense formula, saddles with damping and without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.optim.newton import Newton
from optim.closure_problems import QuadraticProblem, classification, regression, saddle, weights_of


def dense_hessian(model: nn.Module, loss: BatchLoss) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian by PyTorch's functional differentiation of a vector."""
    sizes = [p.numel() for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]

    def f(vector: torch.Tensor) -> torch.Tensor:
        values = dict(zip(names, (v.view(s) for v, s in zip(vector.split(sizes), shapes, strict=True)), strict=True))
        outputs = torch.func.functional_call(model, values, (loss.inputs,))
        return -loss.likelihood.log_prob(outputs, loss.targets).mean()

    theta = weights_of(model)
    return (
        torch.autograd.functional.jacobian(f, theta).numpy(),
        torch.autograd.functional.hessian(f, theta).numpy(),
    )


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("n", range(1, 9))
def test_O14_one_step_on_a_quadratic(n: int, dense: bool) -> None:
    problem = QuadraticProblem(n, seed=n)
    optimizer = Newton(problem.model.parameters(), dense=dense, tolerance=1e-11)
    loss = optimizer.step(problem.loss)
    away = problem.start - problem.minimum
    assert float(loss) == pytest.approx(0.5 * away @ problem.hessian @ away + 0.5 * n * np.log(2 * np.pi))
    np.testing.assert_allclose(problem.theta, problem.minimum, rtol=1e-8)
    assert optimizer.last is not None
    assert optimizer.last.reason == "solved"
    assert optimizer.last.products == n
    assert optimizer.last.length == pytest.approx(np.linalg.norm(away))


@pytest.mark.parametrize("dense", [True, False])
def test_O14_the_damped_step_of_a_net_is_the_dense_formula(dense: bool) -> None:
    model, loss = regression()
    g, h = dense_hessian(model, loss)
    before = weights_of(model).numpy()
    damping = 1.0 - np.linalg.eigvalsh(h)[0]
    optimizer = Newton(model.parameters(), lr=0.7, damping=damping, dense=dense, tolerance=1e-12)
    optimizer.step(loss)
    expected = before - 0.7 * np.linalg.solve(h + damping * np.eye(len(g)), g)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-7, atol=1e-9)


def test_O14_each_group_has_its_damping_and_share() -> None:
    model, loss = regression()
    g, h = dense_hessian(model, loss)
    before = weights_of(model).numpy()
    groups = [
        {"params": list(model[2].parameters()), "damping": 5.0, "lr": 0.5},
        {"params": list(model[0].parameters()), "damping": 2.0},
    ]
    Newton(groups).step(loss)
    first = sum(p.numel() for p in model[0].parameters())
    damping = np.where(np.arange(len(g)) < first, 2.0, 5.0)
    step = -np.linalg.solve(h + np.diag(damping), g) * np.where(np.arange(len(g)) < first, 1.0, 0.5)
    np.testing.assert_allclose(weights_of(model).numpy(), before + step, rtol=1e-7, atol=1e-9)


def test_O14_gauss_newton_of_a_linear_layer_is_its_hessian_and_of_a_net_is_jtj() -> None:
    model, loss = regression()
    before, parameters = weights_of(model).numpy(), list(model.parameters())
    rows = []
    for output in loss.outputs()[:, 0]:
        rows.append(
            np.concatenate([g.numpy().ravel() for g in torch.autograd.grad(output, parameters, retain_graph=True)])
        )
    j = np.stack(rows)
    g, _ = dense_hessian(model, loss)
    Newton(model.parameters(), damping=0.1, curvature="gauss-newton").step(loss)
    expected = before - np.linalg.solve(j.T @ j / len(j) + 0.1 * np.eye(len(g)), g)
    np.testing.assert_allclose(weights_of(model).numpy(), expected, rtol=1e-7, atol=1e-9)


def test_O14_undamped_it_is_drawn_to_the_saddle_and_damped_it_leaves() -> None:
    model, loss = saddle(0.8, 1e-3)
    Newton(model.parameters()).step(loss)
    np.testing.assert_allclose(model.x.detach().numpy(), [0.0, 0.0], atol=1e-12)  # x² - y²: the saddle, in one step
    model, loss = saddle(0.8, 1e-3)
    optimizer = Newton(model.parameters(), damping=3.0)
    values = []
    for _ in range(12):
        values.append(float(optimizer.step(loss)))
    x, y = model.x.detach().tolist()
    # (2 + 3) and (-2 + 3) divide: x shrinks by 3/5 and y grows by 3 a step
    assert x == pytest.approx(0.8 * 0.6**12)
    assert y == pytest.approx(1e-3 * 3.0**12)
    assert values == sorted(values, reverse=True)


def test_conjugate_gradients_stop_at_negative_curvature() -> None:
    model, loss = saddle(0.0, 0.5)
    optimizer = Newton(model.parameters(), dense=False)
    optimizer.step(loss)
    assert optimizer.last is not None
    assert (optimizer.last.reason, optimizer.last.length) == ("negative-curvature", 0.0)
    assert model.x.tolist() == [0.0, 0.5]


def test_conjugate_gradients_go_as_far_as_they_are_let() -> None:
    problem = QuadraticProblem(8)
    optimizer = Newton(problem.model.parameters(), dense=False, max_steps=1)
    g = problem.gradient(problem.start)
    optimizer.step(problem.loss)
    assert optimizer.last is not None
    assert (optimizer.last.reason, optimizer.last.products) == ("steps", 1)
    np.testing.assert_allclose(problem.theta, problem.start - (g @ g) / (g @ problem.hessian @ g) * g)


def test_a_singular_matrix_makes_no_step() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    loss = BatchLoss(model, Gaussian(scale=1.0), x, torch.ones(2, 1, dtype=torch.float64))
    before = model.weight.detach().clone()
    optimizer = Newton(model.parameters())
    optimizer.step(loss)
    assert optimizer.last is not None
    assert (optimizer.last.reason, optimizer.last.length) == ("singular", 0.0)
    assert torch.equal(model.weight, before)
    optimizer.param_groups[0]["damping"] = 1e-6
    optimizer.step(loss)
    assert float(model.weight.detach()[0, 0]) == pytest.approx(3 / 5, rel=1e-4)
    assert model.weight[0, 1] == before[0, 1]


def test_dense_is_for_small_nets_where_nothing_is_said() -> None:
    model, loss = classification()
    optimizer = Newton(model.parameters(), damping=1.0)
    optimizer.step(loss)
    assert optimizer.last is not None
    assert optimizer.last.products == 57
    wide = nn.Linear(5, 300)
    few = BatchLoss(wide, Gaussian(300, scale=1.0), loss.inputs[:4], torch.zeros(4, 300))
    optimizer = Newton(wide.parameters(), damping=1.0)
    optimizer.step(few)
    assert optimizer.last is not None
    assert optimizer.last.products < 50


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"damping": -1.0}, {"curvature": "fisher"}, {"max_steps": 0}, {"tolerance": -1.0}]
)
def test_refusals(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Newton"):
        Newton([nn.Parameter(torch.ones(1))], **options)  # type: ignore[arg-type]
