"""Newton in a trust region: scipy's, the radius by hand, the multiplier, saddles, rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.optim.trust_region import TrustRegionNewton
from optim.closure_problems import LOG_2PI, QuadraticProblem, classification, rosenbrock, saddle

SUBPROBLEMS = ("steihaug", "exact")


def f(x: np.ndarray) -> float:
    """Rosenbrock's function."""
    return float(((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum())


def gradient(x: np.ndarray) -> np.ndarray:
    """In two dimensions."""
    return np.array([-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])


def hessian(x: np.ndarray) -> np.ndarray:
    """In two dimensions."""
    return np.array([[2 - 400 * (x[1] - 3 * x[0] ** 2), -400 * x[0]], [-400 * x[0], 200.0]])


@pytest.mark.parametrize("subproblem", SUBPROBLEMS)
def test_O14_scipys_minimum_of_rosenbrock_in_as_many_steps(subproblem: str) -> None:
    start = np.array([-1.2, 1.0])
    method = {"steihaug": "trust-ncg", "exact": "trust-exact"}[subproblem]
    theirs = minimize(f, start, jac=gradient, hess=hessian, method=method, options={"gtol": 1e-8})
    model, loss = rosenbrock(list(start))
    optimizer = TrustRegionNewton(model.parameters(), subproblem=subproblem)
    steps = 0
    while np.abs(gradient(model.x.detach().numpy())).max() > 1e-8:
        optimizer.step(loss)
        steps += 1
        assert steps <= 1.5 * theirs.nit
    np.testing.assert_allclose(model.x.detach().numpy(), theirs.x, atol=1e-6)
    np.testing.assert_allclose(model.x.detach().numpy(), [1.0, 1.0], atol=1e-8)


@pytest.mark.parametrize("subproblem", SUBPROBLEMS)
def test_O14_ratio_radius_and_acceptance_by_hand(subproblem: str) -> None:
    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = TrustRegionNewton(model.parameters(), subproblem=subproblem, radius=2.0, largest=3.0, accept=0.2)
    radius, seen = 2.0, set()
    for _ in range(25):
        x = model.x.detach().numpy().copy()
        value = optimizer.step(loss)
        last = optimizer.last
        assert last is not None
        assert float(value) == pytest.approx(f(x) + LOG_2PI)
        assert last.radius == pytest.approx(radius, rel=1e-12)
        p = model.x.detach().numpy() - x
        if last.accepted:
            assert np.linalg.norm(p) == pytest.approx(last.length, rel=1e-9)
            promised = -(gradient(x) @ p + 0.5 * p @ hessian(x) @ p)
            assert last.ratio == pytest.approx((f(x) - f(x + p)) / promised, rel=1e-5)
            assert last.loss == pytest.approx(f(x + p) + LOG_2PI)
        else:
            assert (p == 0).all()
            assert last.loss == pytest.approx(f(x) + LOG_2PI)
            assert last.reason == "rejected"
        assert last.accepted == (last.ratio > 0.2)
        boundary = last.length > 0.999999 * radius
        if last.ratio < 0.25:
            radius = last.length / 4
            seen.add("down")
        elif last.ratio > 0.75 and boundary:
            radius = min(2 * radius, 3.0)
            seen.add("up")
        else:
            seen.add("same")
    assert seen == {"down", "up", "same"}


def test_E32_the_step_is_newtons_with_the_multiplier_that_the_radius_asks_for() -> None:
    for radius in (1e-3, 1e-2, 0.1, 0.5):
        model, loss = rosenbrock([-1.2, 1.0])
        x = model.x.detach().numpy().copy()
        optimizer = TrustRegionNewton(model.parameters(), subproblem="exact", radius=radius)
        optimizer.step(loss)
        last = optimizer.last
        assert last is not None
        multiplier = last.multiplier
        p = np.linalg.solve(hessian(x) + multiplier * np.eye(2), -gradient(x))
        assert multiplier >= 0
        assert multiplier * (radius - np.linalg.norm(p)) == pytest.approx(0.0, abs=1e-6)
        if last.accepted:
            np.testing.assert_allclose(model.x.detach().numpy() - x, p, rtol=1e-6)
        if radius == 1e-3:
            assert multiplier == pytest.approx(np.linalg.norm(gradient(x)) / radius, rel=0.02)


@pytest.mark.parametrize("n", [1, 4, 8])
@pytest.mark.parametrize("subproblem", SUBPROBLEMS)
def test_O14_one_step_on_a_quadratic_that_fits_into_the_region(subproblem: str, n: int) -> None:
    problem = QuadraticProblem(n)
    optimizer = TrustRegionNewton(problem.model.parameters(), radius=50.0, subproblem=subproblem, tolerance=1e-12)
    optimizer.step(problem.loss)
    np.testing.assert_allclose(problem.theta, problem.minimum, rtol=1e-8)
    assert optimizer.last is not None
    assert (optimizer.last.reason, optimizer.last.multiplier) == ("inside", 0.0)
    assert optimizer.last.ratio == pytest.approx(1.0)


@pytest.mark.parametrize("subproblem", SUBPROBLEMS)
def test_O14_a_saddle_is_left_downhill(subproblem: str) -> None:
    model, loss = saddle(0.8, 1e-3)
    optimizer = TrustRegionNewton(model.parameters(), subproblem=subproblem)
    values = [float(optimizer.step(loss)) for _ in range(8)]
    assert values == sorted(values, reverse=True)
    assert abs(float(model.x.detach()[1])) > 10.0
    assert optimizer.state[model.x]["radius"] == 100.0
    model, loss = saddle(0.8, 0.0)  # on the ridge, where the gradient does not show the way: the hard case
    optimizer = TrustRegionNewton(model.parameters(), subproblem="exact")
    optimizer.step(loss)
    assert abs(float(model.x.detach()[1])) > 0.5


def test_lr_scales_the_region_of_each_group() -> None:
    """The step is the exact one in θ / √lr, and a group of 0 stays."""
    rates = np.array([0.01, 4.0])
    model, loss = rosenbrock([-1.2, 1.0])

    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (-1.2, 1.0))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(model, {"x": torch.cat([self.a, self.b])}, (inputs,))

    split = Split()
    both = BatchLoss(split, loss.likelihood, loss.inputs, loss.targets)
    groups = [{"params": [split.a], "lr": 0.01}, {"params": [split.b], "lr": 4.0}]
    optimizer = TrustRegionNewton(groups, radius=0.05, subproblem="exact")
    x = np.array([-1.2, 1.0])
    optimizer.step(both)
    last = optimizer.last
    assert last is not None
    assert last.accepted
    p = np.array([split.a.item(), split.b.item()]) - x
    assert np.sqrt((p**2 / rates).sum()) == pytest.approx(0.05)
    np.testing.assert_allclose((hessian(x) + last.multiplier * np.diag(1 / rates)) @ p, -gradient(x), rtol=1e-6)
    optimizer.param_groups[0]["lr"] = 0.0
    held = split.a.item()
    for subproblem in SUBPROBLEMS:
        optimizer.subproblem = subproblem
        for _ in range(4):
            optimizer.step(both)
    assert split.a.item() == held
    assert split.b.item() == pytest.approx(held**2, abs=1e-3)


@pytest.mark.parametrize("subproblem", SUBPROBLEMS)
def test_inside_the_region_scales_change_nothing(subproblem: str) -> None:
    """Least squares of a linear net: Newton's own step, measured in the groups' scales."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    model = nn.Linear(2, 1).double()
    groups = [{"params": [model.weight], "lr": 0.3}, {"params": [model.bias], "lr": 2.0}]
    before = np.append(model.weight.detach().numpy()[0], model.bias.item())
    optimizer = TrustRegionNewton(groups, radius=50.0, tolerance=1e-12, subproblem=subproblem)
    optimizer.step(BatchLoss(model, Gaussian(scale=1.0), torch.tensor(x), torch.tensor(y)))
    best = np.linalg.lstsq(np.concatenate([x, np.ones((20, 1))], axis=1), y[:, 0])[0]
    np.testing.assert_allclose(np.append(model.weight.detach().numpy()[0], model.bias.item()), best, rtol=1e-9)
    assert optimizer.last is not None
    assert optimizer.last.length == pytest.approx(np.sqrt(((best - before) ** 2 / [0.3, 0.3, 2.0]).sum()))


def test_float32_near_the_minimum_takes_steps_that_it_cannot_see() -> None:
    model, loss = classification()
    decay = 0.05

    def penalty(_: torch.Tensor) -> torch.Tensor:
        return decay * sum(p.square().sum() for p in model.parameters())

    whole = BatchLoss(model, loss.likelihood, loss.inputs, loss.targets, penalty=penalty)
    optimizer = TrustRegionNewton(model.parameters())
    for _ in range(30):
        optimizer.step(whole)
    whole()
    size = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))  # type: ignore[union-attr]
    assert size < 1e-6  # at 3e-4 the fall of the loss is below one unit in its last place


def test_a_step_into_numbers_that_are_none_is_taken_back() -> None:
    model = nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(1.0)

    class Log(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(self.inner(x))

    net = Log()
    loss = BatchLoss(net, Gaussian(scale=1.0), torch.ones(1, 1).double(), torch.full((1, 1), -3.0).double())
    optimizer = TrustRegionNewton(net.parameters(), radius=8.0, curvature="gauss-newton")
    optimizer.step(loss)
    assert optimizer.last is not None
    assert (optimizer.last.reason, optimizer.last.accepted, optimizer.last.ratio) == ("non-finite", False, -math.inf)
    assert model.weight.item() == 1.0
    assert optimizer.state[model.weight]["radius"] == pytest.approx(0.75)
    for _ in range(15):
        optimizer.step(loss)
    assert model.weight.item() == pytest.approx(math.exp(-3.0), rel=1e-6)


def test_gauss_newton_is_taken_where_asked_for() -> None:
    for curvature in ("hessian", "gauss-newton"):
        model, loss = rosenbrock([-1.2, 1.0])
        x = model.x.detach().numpy().copy()
        TrustRegionNewton(model.parameters(), subproblem="exact", radius=100.0, accept=0.0, curvature=curvature).step(
            loss
        )
        j = math.sqrt(2) * np.array([[-1.0, 0.0], [-20 * x[0], 10.0]])
        matrix = j.T @ j if curvature == "gauss-newton" else hessian(x)
        p = np.linalg.solve(matrix, -gradient(x))
        if f(x + p) < f(x):
            np.testing.assert_allclose(model.x.detach().numpy(), x + p)
        else:
            np.testing.assert_allclose(model.x.detach().numpy(), x)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1.0},
        {"radius": 0.0},
        {"radius": 200.0},
        {"largest": math.inf},
        {"accept": 0.25},
        {"max_steps": 0},
        {"subproblem": "dogleg"},
        {"tolerance": -1.0},
        {"curvature": "fisher"},
    ],
)
def test_refusals(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="TrustRegionNewton"):
        TrustRegionNewton([nn.Parameter(torch.ones(1))], **options)  # type: ignore[arg-type]
