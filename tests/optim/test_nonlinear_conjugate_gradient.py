"""Non-linear conjugate gradients: n steps on a quadratic, the formulas by hand, scipy's, restarts and groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import fmin_cg
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.optim.nonlinear_conjugate_gradient import BETAS, NonlinearConjugateGradient
from optim.closure_problems import QuadraticProblem, rosenbrock

EXACT = {"c1": 1e-9, "c2": 1e-8, "max_evaluations": 60}


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n", range(1, 9))
def test_O20_n_steps_on_a_quadratic_of_n_dimensions(n: int, beta: str) -> None:
    problem = QuadraticProblem(n, seed=n)
    optimizer = NonlinearConjugateGradient(problem.model.parameters(), beta=beta, **EXACT)
    for k in range(n):
        if k == n - 1 and n > 2:
            assert np.abs(problem.theta - problem.minimum).max() > 1e-3  # and not before
        optimizer.step(problem.loss)
    np.testing.assert_allclose(problem.theta, problem.minimum, atol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_O20_the_recursion_written_out(beta: str) -> None:
    """On Rosenbrock's function, with the length that each search found: direction and restart by hand."""

    def gradient(x: np.ndarray) -> np.ndarray:
        return np.array([-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])

    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = NonlinearConjugateGradient(model.parameters(), beta=beta, restart=0.8)
    d, restarts = np.zeros(2), 0
    g = gradient(np.array([-1.2, 1.0]))
    b = 0.0
    for _ in range(12):
        before = model.x.detach().numpy().copy()
        d = -g + b * d
        optimizer.step(loss)
        assert optimizer.last is not None
        assert not optimizer.last.restarted
        now = model.x.detach().numpy().copy()
        np.testing.assert_allclose(now - before, optimizer.last.length * d, rtol=1e-6, atol=1e-10)
        new = gradient(now)
        if abs(new @ g) >= 0.8 * new @ new:
            b, restarts = 0.0, restarts + 1
        elif beta == "fletcher-reeves":
            b = new @ new / (g @ g)
        elif beta == "polak-ribiere":
            b = max(0.0, new @ (new - g) / (g @ g))
        else:
            b = max(0.0, new @ (new - g) / (d @ (new - g)))
        assert optimizer.last.beta == pytest.approx(b, rel=1e-6, abs=1e-12)
        g = new
    assert 0 < restarts < 12


def test_O20_scipys_minimum_at_no_more_gradients() -> None:
    start = np.array([-1.2, 1.0, -0.5, 0.8])

    def f(x: np.ndarray) -> float:
        return float(((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum())

    def grad(x: np.ndarray) -> np.ndarray:
        out = np.zeros_like(x)
        out[:-1] = -2 * (1 - x[:-1]) - 400 * x[:-1] * (x[1:] - x[:-1] ** 2)
        out[1:] += 200 * (x[1:] - x[:-1] ** 2)
        return out

    best, _, _, gradients, _ = fmin_cg(f, start, grad, gtol=1e-6, full_output=True, disp=False)
    model, loss = rosenbrock(list(start))
    optimizer = NonlinearConjugateGradient(model.parameters())
    spent = 0
    while np.abs(grad(model.x.detach().numpy())).max() > 1e-6:
        optimizer.step(loss)
        assert optimizer.last is not None
        spent += optimizer.last.evaluations - 1
        assert spent < 2 * gradients
    np.testing.assert_allclose(model.x.detach().numpy(), best, atol=1e-4)


def test_the_first_step_tried_promises_what_the_last_one_won() -> None:
    problem = QuadraticProblem(4)
    optimizer = NonlinearConjugateGradient(problem.model.parameters(), lr=0.5, max_evaluations=1)
    g = problem.gradient(problem.start)
    optimizer.step(problem.loss)
    assert optimizer.last is not None
    assert optimizer.last.length == pytest.approx(0.5 / np.abs(g).sum())
    won = optimizer.last.length * -(g @ g)
    now = problem.gradient(problem.theta)
    optimizer.step(problem.loss)
    assert optimizer.last.length == pytest.approx(0.5 * won / -(now @ now))  # |now·g| is large: a restart


def test_groups_shape_the_metric_and_a_rate_of_zero_holds_one() -> None:
    """With D the method is the one in θ / √D: n steps there too."""
    problem = QuadraticProblem(4, seed=1)
    a, b = (nn.Parameter(part.clone()) for part in problem.model.x.detach().split([2, 2]))
    h, minimum = torch.tensor(problem.hessian), torch.tensor(problem.minimum)

    def closure() -> Tensor:
        optimizer.zero_grad()
        away = torch.cat([a, b]) - minimum
        loss = 0.5 * away @ h @ away
        loss.backward()
        return loss

    optimizer = NonlinearConjugateGradient([{"params": [a], "lr": 0.25}, {"params": [b], "lr": 1.0}], **EXACT)
    g = problem.gradient(problem.start)
    optimizer.step(closure)
    moved = torch.cat([a, b]).detach().numpy() - problem.start
    d = -np.array([0.25, 0.25, 1, 1]) * g
    np.testing.assert_allclose(moved / np.linalg.norm(moved), d / np.linalg.norm(d), rtol=1e-9)
    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(torch.cat([a, b]).detach().numpy(), problem.minimum, atol=1e-6)
    optimizer = NonlinearConjugateGradient([{"params": [a], "lr": 0.0}, {"params": [b], "lr": 1.0}])
    b.data.add_(1.0)
    held = a.detach().clone()
    for _ in range(3):
        optimizer.step(closure)
    assert torch.equal(a, held)
    torch.testing.assert_close(b.detach(), minimum[2:], atol=1e-2, rtol=0)


def test_a_direction_that_does_not_descend_gives_way_to_steepest_descent() -> None:
    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = NonlinearConjugateGradient(model.parameters())
    optimizer.step(loss)
    state = optimizer.state[model.x]
    loss()
    assert model.x.grad is not None
    state.update(direction=model.x.grad.clone(), beta=5.0)
    before = float(loss.value())
    optimizer.step(loss)
    assert optimizer.last is not None
    assert optimizer.last.restarted
    assert float(loss.value()) < before


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"beta": "dai-yuan"}, {"restart": 0.0}, {"c2": 0.0}])
def test_refusals(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="NonlinearConjugateGradient"):
        NonlinearConjugateGradient([nn.Parameter(torch.ones(1))], **options)  # type: ignore[arg-type]
