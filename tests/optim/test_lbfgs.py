"""L-BFGS against PyTorch's, scipy's and dense BFGS; groups, damping, memory 1, and what happens in float32."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.optim.lbfgs import LBFGS
from lamina.optim.nonlinear_conjugate_gradient import NonlinearConjugateGradient
from optim.closure_problems import QuadraticProblem, classification, regression, rosenbrock, weights_of

EXACT = {"c1": 1e-7, "c2": 1e-6, "max_evaluations": 60}


def test_O19_without_search_every_iterate_is_pytorchs() -> None:
    ours, theirs = QuadraticProblem(6), QuadraticProblem(6)
    optimizer = LBFGS(ours.model.parameters(), lr=0.3, memory=4, line_search=None)
    peer = torch.optim.LBFGS(theirs.model.parameters(), lr=0.3, history_size=4, max_iter=1, tolerance_change=0.0)
    for _ in range(15):
        a, b = optimizer.step(ours.loss), peer.step(theirs.loss)
        assert a.item() == pytest.approx(float(b), rel=1e-12)
        np.testing.assert_allclose(ours.theta, theirs.theta, rtol=1e-9)
    assert optimizer.last is not None
    assert (optimizer.last.reason, optimizer.last.evaluations, optimizer.last.pairs) == ("fixed", 2, 4)


@pytest.mark.parametrize("memory", [1, 3, 20])
def test_O19_directions_are_those_of_dense_bfgs(memory: int) -> None:
    """Each step against the matrix of the last pairs, written out."""
    problem = QuadraticProblem(5, seed=2)
    optimizer = LBFGS(problem.model.parameters(), memory=memory)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(6):
        before = problem.theta
        g = problem.gradient(before)
        h = np.eye(5)
        if pairs:
            s, y = pairs[-1]
            h *= (s @ y) / (y @ y)
        for s, y in pairs[-memory:]:
            rho = 1 / (s @ y)
            h = (np.eye(5) - rho * np.outer(s, y)) @ h @ (np.eye(5) - rho * np.outer(y, s)) + rho * np.outer(s, s)
        optimizer.step(problem.loss)
        assert optimizer.last is not None
        step = problem.theta - before
        np.testing.assert_allclose(step, -optimizer.last.length * h @ g, rtol=1e-7, atol=1e-12)
        pairs.append((step, problem.hessian @ step))
    matrix = optimizer.inverse_curvature()
    assert matrix is not None
    torch.testing.assert_close(matrix.product(torch.tensor(pairs[-1][1])), torch.tensor(pairs[-1][0]))  # secant
    assert matrix.factors.shape == (5, 2 * min(memory, 6))


def test_O19_reaches_scipys_minimum() -> None:
    start = [-1.2, 1.0, -0.5, 0.8, 0.3, 2.0]
    model, loss = rosenbrock(start)
    optimizer = LBFGS(model.parameters())
    evaluations = 0
    for _ in range(100):
        optimizer.step(loss)
        assert optimizer.last is not None
        evaluations += optimizer.last.evaluations - 1
        if optimizer.last.reason == "zero-gradient":
            break

    def f(x: np.ndarray) -> float:
        return float(((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum())

    theirs = minimize(f, start, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    np.testing.assert_allclose(model.x.detach().numpy(), theirs.x, atol=1e-4)
    np.testing.assert_allclose(model.x.detach().numpy(), np.ones(6), atol=1e-8)
    assert evaluations < 150


def test_O19_memory_one_with_exact_searches_is_conjugate_gradients() -> None:
    """On a quadratic all the methods go through the same points, and are done after n steps."""
    first = QuadraticProblem(6, seed=4)
    memoryless = LBFGS(first.model.parameters(), memory=1, **EXACT)
    others = {}
    for beta in ("hestenes-stiefel", "polak-ribiere"):
        problem = QuadraticProblem(6, seed=4)
        others[beta] = (problem, NonlinearConjugateGradient(problem.model.parameters(), beta=beta, **EXACT))
    for k in range(6):
        memoryless.step(first.loss)
        for problem, optimizer in others.values():
            optimizer.step(problem.loss)
            np.testing.assert_allclose(problem.theta, first.theta, rtol=1e-4 if k < 5 else 1e-6, atol=1e-5)
    np.testing.assert_allclose(first.theta, first.minimum, atol=1e-5)


def test_iterations_are_steps_that_spare_the_first_evaluation() -> None:
    one, many = rosenbrock([-1.2, 1.0]), rosenbrock([-1.2, 1.0])
    single, block = LBFGS(one[0].parameters()), LBFGS(many[0].parameters(), iterations=5)
    spent = 0
    for _ in range(5):
        single.step(one[1])
        assert single.last is not None
        spent += single.last.evaluations
    block.step(many[1])
    assert block.last is not None
    torch.testing.assert_close(one[0].x, many[0].x)
    assert block.last.evaluations == spent - 4


def test_lr_is_the_groups_metric_and_the_first_step() -> None:
    """The first direction is -D g with D = lr / max lr, of a length of max lr / ‖g‖₁."""
    problem = QuadraticProblem(4)
    a, b = nn.Parameter(problem.model.x.detach()[:1].clone()), nn.Parameter(problem.model.x.detach()[1:].clone())
    h, minimum = torch.tensor(problem.hessian), torch.tensor(problem.minimum)

    def closure() -> Tensor:
        optimizer.zero_grad()
        away = torch.cat([a, b]) - minimum
        loss = 0.5 * away @ h @ away
        loss.backward()
        return loss

    g = problem.gradient(problem.start)
    optimizer = LBFGS([{"params": [a], "lr": 0.05}, {"params": [b], "lr": 0.2}], line_search=None)
    optimizer.step(closure)
    moved = torch.cat([a, b]).detach().numpy() - problem.start
    np.testing.assert_allclose(moved, -0.2 * np.array([0.25, 1, 1, 1]) * g / np.abs(g).sum())
    for _ in range(40):
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.5, 1.0
        optimizer.step(closure)
    np.testing.assert_allclose(torch.cat([a, b]).detach().numpy(), problem.minimum, rtol=1e-6)
    held = b.detach().clone()
    optimizer = LBFGS([{"params": [a], "lr": 1.0}, {"params": [b], "lr": 0.0}])
    a.data.add_(1.0)
    for _ in range(5):
        optimizer.step(closure)
    assert torch.equal(b, held)
    assert a.item() == pytest.approx(problem.minimum[0], rel=1e-6)


def test_parameters_without_gradient_stay_and_pairs_of_others_are_dropped() -> None:
    model, loss = regression()
    idle = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = LBFGS([idle, *model.parameters()])
    for _ in range(3):
        optimizer.step(loss)
    assert torch.equal(idle, torch.ones(3, dtype=torch.float64))
    assert optimizer.last is not None
    assert optimizer.last.pairs == 3
    model[0].bias.requires_grad_(False)
    model[0].bias.grad = None
    frozen = model[0].bias.clone()
    optimizer.step(lambda: type(loss)(model, loss.likelihood, loss.inputs, loss.targets)())
    assert optimizer.last.pairs == 1
    assert torch.equal(model[0].bias, frozen)


def test_damping_keeps_pairs_where_curvature_is_negative() -> None:
    """cos has negative curvature around 0: s·y < 0 there for steps of fixed length."""
    found = {}
    for damping in (0.0, 0.2):
        x = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

        def closure(x: nn.Parameter = x) -> Tensor:
            x.grad = None
            loss = torch.cos(x).sum()
            loss.backward()
            return loss

        optimizer = LBFGS([x], lr=0.5, line_search=None, damping=damping)
        optimizer.step(closure)
        assert optimizer.last is not None
        found[damping] = optimizer.last.pairs
        if damping:
            # B = I before the first pair, so that Bs = s, and s·y is drawn up to 0.2 s·s.
            state = optimizer.state[x]
            s, y = state["s"][0], state["y"][0]
            g = torch.sin(torch.tensor([0.3, -0.2], dtype=torch.float64)).neg()
            length = 0.5 * min(1.0, 1.0 / float(g.abs().sum()))
            torch.testing.assert_close(s, -length * g)
            assert float(s @ y) == pytest.approx(0.2 * float(s @ (-length * g)))
    assert found == {0.0: 0, 0.2: 1}


def test_float32_goes_on_where_the_loss_no_longer_shows_it() -> None:
    """To a gradient near rounding, beside a loss of about 1; PyTorch's own stops earlier."""
    size = {}
    for name in ("ours", "torch"):
        model, loss = classification()
        optimizer = LBFGS(model.parameters()) if name == "ours" else None
        peer = torch.optim.LBFGS(
            model.parameters(), max_iter=150, line_search_fn="strong_wolfe", tolerance_grad=0.0, tolerance_change=0.0
        )

        def closure(model: nn.Module = model, loss: object = loss) -> Tensor:
            value = loss() + 0.01 * weights_of(model).square().sum()  # type: ignore[operator]
            for p in model.parameters():
                p.grad.add_(p.detach(), alpha=0.02)  # type: ignore[union-attr]
            return value

        if optimizer is not None:
            for _ in range(150):
                optimizer.step(closure)
        else:
            peer.step(closure)
        closure()
        size[name] = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))  # type: ignore[union-attr]
    assert size["ours"] < 2e-6
    assert size["ours"] <= size["torch"] * 1.5


def test_pairs_are_given_up_where_they_point_nowhere() -> None:
    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = LBFGS(model.parameters())
    for _ in range(4):
        optimizer.step(loss)
    state = optimizer.state[model.x]
    for name in ("y", "along"):
        state[name] = [-v for v in state[name]]  # a matrix that is negative definite: no descent
    before = float(loss.value())
    optimizer.step(loss)
    assert optimizer.last is not None
    assert optimizer.last.restarted
    assert optimizer.last.pairs <= 1
    assert float(loss.value()) < before


def test_a_copy_goes_the_same_way() -> None:
    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = LBFGS(model.parameters(), memory=3, c2=0.5)
    optimizer.step(loss)
    both = copy.deepcopy((model, optimizer))
    assert (both[1].memory, both[1].c2) == (3, 0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1.0},
        {"memory": 0},
        {"iterations": 0},
        {"damping": 1.0},
        {"damping": -0.1},
        {"line_search": "armijo"},
        {"c1": 0.9},
        {"max_evaluations": 0},
    ],
)
def test_refusals(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="LBFGS"):
        LBFGS([nn.Parameter(torch.ones(1))], **options)  # type: ignore[arg-type]
