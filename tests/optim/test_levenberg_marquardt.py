"""Levenberg-Marquardt: scipy's optimum, the recursion written out, any likelihood, scaling, failures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, Gaussian
from lamina.optim.levenberg_marquardt import LevenbergMarquardt
from optim.closure_problems import QuadraticProblem, classification, regression, rosenbrock, weights_of

X = np.linspace(0, 3, 25)
Y = 2.5 * np.exp(-1.3 * X) + 0.5 + 0.05 * np.random.default_rng(0).standard_normal(25)


class Decay(nn.Module):
    """a exp(-b x) + c."""

    def __init__(self, start: tuple[float, float, float] = (1.0, 0.3, 0.0)) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.p[0] * torch.exp(-self.p[1] * x) + self.p[2]


def decay(scale: float = 1.0, weights: np.ndarray | None = None) -> tuple[Decay, BatchLoss]:
    model = Decay()
    x, y = torch.tensor(X).unsqueeze(1), torch.tensor(Y).unsqueeze(1)
    w = None if weights is None else torch.tensor(weights)
    return model, BatchLoss(model, Gaussian(1, scale=scale), x, y, weights=w)


def residuals(p: np.ndarray) -> np.ndarray:
    return p[0] * np.exp(-p[1] * X) + p[2] - Y


def jacobian(p: np.ndarray) -> np.ndarray:
    e = np.exp(-p[1] * X)
    return np.stack([e, -p[0] * X * e, np.ones_like(X)], axis=1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("rule", ["nielsen", "marquardt"])
def test_O15_scipys_least_squares_optimum(rule: str, scaled: bool) -> None:
    theirs = least_squares(residuals, [1.0, 0.3, 0.0], jac=jacobian, method="lm", xtol=1e-15, ftol=1e-15)
    model, loss = decay()
    optimizer = LevenbergMarquardt(model.parameters(), rule=rule, scaled=scaled)
    for _ in range(30):
        optimizer.step(loss)
    np.testing.assert_allclose(model.p.detach().numpy(), theirs.x, rtol=1e-7)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("rule", ["nielsen", "marquardt"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_O15_the_recursion_written_out(rule: str, scaled: bool, scale: float) -> None:
    """(JᵀJ/(N s²) + µD) p = -Jᵀr/(N s²), every trial of every step."""
    n = len(X)

    def cost(p: np.ndarray) -> float:
        return float((residuals(p) ** 2).sum() / (2 * n * scale**2))

    weights = None
    model, loss = decay(scale, weights)
    optimizer = LevenbergMarquardt(model.parameters(), rule=rule, scaled=scaled, damping=1e-6)
    p = np.array([1.0, 0.3, 0.0])
    mu, nu, d, failures = math.nan, 2.0, np.ones(3), 0
    for k in range(8):
        j, r = jacobian(p), residuals(p)
        a, g = j.T @ j / (n * scale**2), j.T @ r / (n * scale**2)
        if scaled:
            d = np.diag(a) if k == 0 else np.maximum(d, np.diag(a))
        if k == 0:
            mu = 1e-6 * (1.0 if scaled else np.diag(a).max())
        trials = 0
        while True:
            trials, tried = trials + 1, mu
            step = np.linalg.solve(a + mu * np.diag(d), -g)
            ratio = (cost(p) - cost(p + step)) / -(g @ step + 0.5 * step @ a @ step)
            if ratio > 1e-4:
                mu *= max(1 / 3, 1 - (2 * ratio - 1) ** 3) if rule == "nielsen" else 0.1
                nu = 2.0
                break
            failures += 1
            mu *= nu if rule == "nielsen" else 10.0
            nu *= 2
        p = p + step
        optimizer.step(loss)
        assert optimizer.last is not None
        np.testing.assert_allclose(model.p.detach().numpy(), p, rtol=1e-6)
        assert (optimizer.last.trials, optimizer.last.reason) == (trials, "accepted")
        assert optimizer.last.damping == pytest.approx(tried, rel=1e-5)
        assert optimizer.last.length == pytest.approx(np.linalg.norm(step), rel=1e-4)
        if np.linalg.norm(step) < 1e-5:  # what is left of the ratio is rounding
            break
    assert failures > 0


def test_O15_weights_of_examples_weigh_their_squares() -> None:
    w = np.random.default_rng(1).uniform(0.2, 1.8, len(X))
    theirs = least_squares(lambda p: np.sqrt(w) * residuals(p), [1.0, 0.3, 0.0], method="lm", xtol=1e-15)
    model, loss = decay(weights=w)
    optimizer = LevenbergMarquardt(model.parameters())
    for _ in range(30):
        optimizer.step(loss)
    np.testing.assert_allclose(model.p.detach().numpy(), theirs.x, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 5, 8])
def test_O15_a_quadratic_is_solved_at_once_as_the_damping_vanishes(n: int) -> None:
    problem = QuadraticProblem(n)
    LevenbergMarquardt(problem.model.parameters(), damping=1e-14).step(problem.loss)
    np.testing.assert_allclose(problem.theta, problem.minimum, rtol=1e-9)


def test_O15_other_likelihoods_are_damped_natural_gradient() -> None:
    """Softmax outputs: (JᵀMJ/N + µI) p = -∇L with M = diag(π) - ππᵀ, by explicit matrices."""
    model, loss = classification(n=12, dtype=torch.float64)
    parameters = list(model.parameters())
    before = weights_of(model).numpy()
    outputs = loss.outputs()
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(z, parameters, retain_graph=True)])
        for z in outputs.reshape(-1)
    ]
    j = torch.stack(rows).view(12, 3, -1).numpy()
    pi = outputs.detach().softmax(-1).numpy()
    m = np.stack([np.diag(q) - np.outer(q, q) for q in pi])
    a = np.einsum("nkp,nkl,nlq->pq", j, m, j) / 12
    onehot = np.eye(3)[loss.targets.numpy()]
    g = np.einsum("nkp,nk->p", j, pi - onehot) / 12
    optimizer = LevenbergMarquardt(model.parameters(), damping=0.5, scaled=False)
    assert isinstance(loss.likelihood, Categorical)
    optimizer.step(loss)
    assert optimizer.last is not None
    assert optimizer.last.trials == 1
    mu = 0.5 * np.diag(a).max()
    np.testing.assert_allclose(
        weights_of(model).numpy(), before - np.linalg.solve(a + mu * np.eye(len(g)), g), rtol=1e-8
    )


def test_O15_a_penalty_is_part_of_the_curvature() -> None:
    """Ridge: with a linear model and hardly any damping, one step to its closed form."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 1))
    model = nn.Linear(3, 1, bias=False).double()
    loss = BatchLoss(
        model,
        Gaussian(scale=1.0),
        torch.tensor(x),
        torch.tensor(y),
        penalty=lambda _: 0.5 * 0.3 * model.weight.square().sum(),
    )
    LevenbergMarquardt(model.parameters(), damping=1e-13).step(loss)
    ridge = np.linalg.solve(x.T @ x / 20 + 0.3 * np.eye(3), x.T @ y / 20)
    np.testing.assert_allclose(model.weight.detach().numpy(), ridge.T, rtol=1e-9)


def test_O15_scaled_steps_do_not_know_the_units() -> None:
    """θ₁ in thousandths: with the diagonal the same outputs step by step, without it others."""

    class Rescaled(Decay):
        def forward(self, x: Tensor) -> Tensor:
            return self.p[0] * torch.exp(-self.p[1] * 1000.0 * x) + self.p[2]

    for scaled in (True, False):
        model, loss = decay()
        other = Rescaled((1.0, 0.0003, 0.0))
        theirs = BatchLoss(other, loss.likelihood, loss.inputs, loss.targets)
        optimizers = [LevenbergMarquardt(m.parameters(), scaled=scaled, damping=0.1) for m in (model, other)]
        for _ in range(4):
            optimizers[0].step(loss)
            optimizers[1].step(theirs)
        same = np.allclose(loss.outputs().detach().numpy(), theirs.outputs().detach().numpy(), rtol=1e-6)
        assert same is scaled


@pytest.mark.parametrize("scaled", [False, True])
def test_lr_divides_the_damping_of_a_group(scaled: bool) -> None:
    model, loss = regression()
    parameters = list(model.parameters())
    before = weights_of(model).numpy()
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(z, parameters, retain_graph=True)])
        for z in loss.outputs()[:, 0]
    ]
    j = torch.stack(rows).numpy()
    loss()
    g = torch.cat([p.grad.reshape(-1) for p in parameters]).numpy()  # type: ignore[union-attr]
    rates, a = np.where(np.arange(len(g)) < 12, 0.25, 1.0), j.T @ j / len(j)
    groups = [{"params": list(model[0].parameters()), "lr": 0.25}, {"params": list(model[2].parameters())}]
    optimizer = LevenbergMarquardt(groups, damping=0.1, scaled=scaled)
    optimizer.step(loss)
    assert optimizer.last is not None
    assert optimizer.last.trials == 1
    d = np.diag(a) if scaled else np.ones(len(a))
    p = np.linalg.solve(a + optimizer.last.damping * np.diag(d / rates), -g)
    np.testing.assert_allclose(weights_of(model).numpy(), before + p, rtol=1e-7, atol=1e-10)
    assert optimizer.last.damping == pytest.approx(0.1 if scaled else 0.1 * (np.diag(a) * rates).max())
    optimizer.param_groups[0]["lr"] = 0.0
    held = [p.detach().clone() for p in model[0].parameters()]
    for _ in range(3):
        optimizer.step(loss)
    assert all(torch.equal(p, kept) for p, kept in zip(model[0].parameters(), held, strict=True))


def test_where_no_trial_lowers_the_loss_the_damping_is_kept_and_nothing_else() -> None:
    model, loss = rosenbrock([-1.2, 1.0])
    optimizer = LevenbergMarquardt(model.parameters(), damping=1e-9, trials=2, scaled=False)
    before = model.x.detach().clone()
    value = float(optimizer.step(loss))
    last = optimizer.last
    assert last is not None
    assert (last.reason, last.trials, last.length) == ("trials", 2, 0.0)
    assert last.loss == value
    assert torch.equal(model.x, before)
    first = optimizer.state[model.x]["damping"]
    assert first == pytest.approx(last.damping * 4)
    for _ in range(8):
        optimizer.step(loss)
    assert not torch.equal(model.x, before)


def test_more_weights_than_residuals_are_no_hindrance_in_float32() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 1))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 2, generator=generator), torch.randn(10, 1, generator=generator)
    loss = BatchLoss(model, Gaussian(scale=1.0), x, y)
    optimizer = LevenbergMarquardt(model.parameters())
    for _ in range(40):
        optimizer.step(loss)
    assert float((loss.outputs() - y).square().mean().detach()) < 1e-8


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"damping": 0.0}, {"rule": "gain"}, {"trials": 0}, {"accept": 1.0}, {"damping": math.inf}]
)
def test_refusals(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="LevenbergMarquardt"):
        LevenbergMarquardt([nn.Parameter(torch.ones(1))], **options)  # type: ignore[arg-type]


def test_O15_nielsens_damping_follows_the_ratio() -> None:
    """Where steps are half good: between a third of µ and, for a ratio below ½, more than µ."""
    ratios = []
    for start in ([-1.2, 1.0], [2.0, -1.0], [0.0, 3.0], [-0.5, -0.5]):
        model, loss = rosenbrock(start)
        optimizer = LevenbergMarquardt(model.parameters(), damping=1e-2)
        for _ in range(8):
            optimizer.step(loss)
            last = optimizer.last
            assert last is not None
            assert last.reason == "accepted"
            after = optimizer.state[model.x]["damping"]
            assert after == pytest.approx(last.damping * max(1 / 3, 1 - (2 * last.ratio - 1) ** 3))
            ratios.append(last.ratio)
    assert any(0.55 < r < 0.85 for r in ratios)
    assert any(0.0 < r < 0.45 for r in ratios)
