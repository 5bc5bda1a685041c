"""Norm penalties on the weights: values by plain numpy, minima of quadratics in closed form, scikit-learn's solvers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.penalties.base import Context, Penalty
from lamina.penalties.elastic_net import ElasticNet
from lamina.penalties.l1 import L1
from lamina.penalties.l2 import L2
from lamina.penalties.per_layer import PerLayerDecay
from lamina.penalties.weight_elimination import WeightElimination
from lamina.training import Supervised


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double()


def value(penalty: Penalty, model: nn.Module) -> Tensor:
    return penalty(Context(model, torch.zeros(1, 4), torch.zeros(1, 2)))


def weights(model: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy() for p in model.parameters() if p.ndim == 2]


@pytest.mark.parametrize(("scaling", "factor"), [("half", 0.5), ("shrink", 0.5), ("prior", 0.5), ("whole", 1.0)])
def test_R01_the_four_scalings(scaling: str, factor: float) -> None:
    model = network()
    squares = sum(float((w**2).sum()) for w in weights(model))
    assert value(L2(scaling), model).item() == pytest.approx(factor * squares, rel=1e-12)
    # one step of gradient descent on the penalty alone: the printed update factors
    c, rate = 0.3, 0.1
    printed = {"half": 1 - rate * c, "shrink": 1 - rate * c, "prior": 1 - rate * c, "whole": 1 - 2 * rate * c}[scaling]
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    value(c * L2(scaling), model).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old * printed if p.ndim == 2 else old, rtol=1e-13, atol=0)
    assert L2(scaling).slope == pytest.approx((1 - printed) / (rate * c))


def test_R01_default_is_half_and_an_unknown_scaling_is_refused() -> None:
    assert L2() == L2("half")
    assert value(L2(), network()).item() == value(L2("prior"), network()).item()
    with pytest.raises(ConfigError, match="scaling"):
        L2("double")


def test_W25_R01_shrinkage_along_the_eigenvectors_of_any_hessian() -> None:
    """Minimum of ½ (w - w*)ᵀH(w - w*) + alpha penalty, found by Newton through autograd: Q (L + αI)⁻¹ L Qᵀ w*."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((6, 6))
    hessian, wanted, alpha = torch.tensor(a @ a.T), torch.tensor(rng.standard_normal(6)), 0.7
    model = nn.Linear(6, 1).double()
    for scaling, c in (("half", alpha), ("shrink", alpha), ("prior", alpha), ("whole", alpha / 2)):
        for _ in range(2):
            w = model.weight
            off = w[0] - wanted
            penalty = c * L2(scaling)
            loss = 0.5 * off @ hessian @ off + penalty(Context(model, torch.zeros(1, 6), torch.zeros(1, 1)))
            (gradient,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= torch.linalg.solve(hessian + alpha * torch.eye(6), gradient[0])
        lam, q = np.linalg.eigh(hessian.numpy())
        expected = q @ (lam / (lam + alpha) * (q.T @ wanted.numpy()))
        np.testing.assert_allclose(model.weight.detach().numpy()[0], expected, rtol=1e-10)


def regression(seed: int = 0, n: int = 60, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    return x, x @ np.array([2.0, 0.0, -1.0, 0.02, 0.5][:d]) + 0.3 * rng.standard_normal(n) + 1.5


def fitted(penalty: Penalty, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Minimise lamina's objective with L-BFGS."""
    model = nn.Linear(x.shape[1], 1).double()
    batch = Batch(torch.tensor(x), torch.tensor(y))
    objective = Supervised(Gaussian(scale=1.0), penalty)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(model, batch).total
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return model.weight.detach().numpy()[0], model.bias.item()


@pytest.mark.parametrize("scaling", ["half", "whole"])
def test_R01_E22_is_scikit_learns_ridge_and_leaves_the_bias_out(scaling: str) -> None:
    x, y = regression()
    alpha = 7.0  # Ridge: Σ (y - ŷ)² + alpha ‖w‖²; lamina: (1/N) ½ Σ (y - ŷ)² + c · penalty
    c = alpha / len(x) if scaling == "half" else alpha / (2 * len(x))
    w, b = fitted(c * L2(scaling), x, y)
    ridge = Ridge(alpha=alpha, tol=1e-12).fit(x, y)
    np.testing.assert_allclose(w, ridge.coef_, rtol=1e-7)
    assert b == pytest.approx(ridge.intercept_, rel=1e-7)


def test_R02_l1_is_minus_the_log_of_a_laplace_prior() -> None:
    model, alpha = network(), 0.7
    prior = torch.distributions.Laplace(0.0, 1 / alpha)
    log_density = sum(prior.log_prob(torch.tensor(w)).sum().item() for w in weights(model))
    n = sum(w.size for w in weights(model))
    assert value(alpha * L1(), model).item() == pytest.approx(-log_density + n * np.log(alpha / 2), rel=1e-6)


def test_R02_subgradient_is_the_sign_and_zero_at_zero() -> None:
    model = nn.Linear(4, 1).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.3, -2.0, 0.0, 1e-9]]))
    value(L1(), model).backward()  # type: ignore[no-untyped-call]
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[1.0, -1.0, 0.0, 1.0]]
    assert model.bias.grad is None


def test_R02_l1_objective_is_scikit_learns_lassos() -> None:
    """At scikit-learn's minimum no direction goes down."""
    x, y = regression()
    lasso = Lasso(alpha=0.2, tol=1e-12, max_iter=100_000).fit(x, y)
    assert (lasso.coef_ == 0).any()
    model = nn.Linear(5, 1).double()
    objective, batch = Supervised(Gaussian(scale=1.0), 0.2 * L1()), Batch(torch.tensor(x), torch.tensor(y))

    def at(w: np.ndarray) -> float:
        with torch.no_grad():
            model.weight.copy_(torch.tensor(w)[None])
            model.bias.fill_(float(lasso.intercept_))
            return objective(model, batch).total.item()

    best = at(lasso.coef_)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-2, 1.0):
        for _ in range(20):
            assert at(lasso.coef_ + size * rng.standard_normal(5)) > best
    numbers = 0.5 * np.mean((y - lasso.predict(x)) ** 2) + 0.2 * np.abs(lasso.coef_).sum() + 0.5 * np.log(2 * np.pi)
    assert best == pytest.approx(numbers, rel=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_elastic_net_is_the_mixture(rho: float) -> None:
    model = network()
    expected = sum(rho * np.abs(w).sum() + (1 - rho) / 2 * (w**2).sum() for w in weights(model))
    assert value(ElasticNet(rho), model).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ConfigError, match="l1_ratio"):
        ElasticNet(1.5)


def test_elastic_net_objective_is_scikit_learns() -> None:
    x, y = regression()
    net = SklearnElasticNet(alpha=0.03, l1_ratio=0.25, tol=1e-12, max_iter=100_000).fit(x, y)
    assert (net.coef_ != 0).all()  # no corner, so the gradient is zero there
    model = nn.Linear(5, 1).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor(net.coef_)[None])
        model.bias.fill_(float(net.intercept_))
    Supervised(Gaussian(scale=1.0), 0.03 * ElasticNet(0.25))(
        model, Batch(torch.tensor(x), torch.tensor(y))
    ).total.backward()  # type: ignore[no-untyped-call]
    assert model.weight.grad is not None
    assert model.weight.grad.abs().max() < 1e-9


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 10.0))
def test_R03_weight_elimination_is_the_printed_sum(w0: float) -> None:
    model = network()
    expected = sum(((w / w0) ** 2 / (1 + (w / w0) ** 2)).sum() for w in weights(model))
    assert value(WeightElimination(w0), model).item() == pytest.approx(expected, rel=1e-12)


def test_R03_counts_large_weights_as_the_scale_falls_and_decays_small_ones() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight[:, :2] = 0.0  # type: ignore[index]
    count = sum(int((w != 0).sum()) for w in weights(model))
    assert value(WeightElimination(1e-7), model).item() == pytest.approx(count, rel=1e-6)
    far = 1e4
    assert value(WeightElimination(far), model).item() * far**2 == pytest.approx(
        value(L2("whole"), model).item(), rel=1e-6
    )
    with pytest.raises(ConfigError, match="w0"):
        WeightElimination(0.0)


def test_R01_a_coefficient_for_each_layer() -> None:
    model = network()
    first, last = ((w**2).sum() for w in weights(model))
    one_line = PerLayerDecay("0=0.1, 3=0.02")
    assert value(one_line, model).item() == pytest.approx(0.5 * (0.1 * first + 0.02 * last), rel=1e-12)
    for same in (PerLayerDecay({"0": 0.1, "3": 0.02}), PerLayerDecay({"0.weight": 0.1, "*": 0.02})):
        assert value(same, model).item() == pytest.approx(value(one_line, model).item(), rel=1e-12)
    assert value(PerLayerDecay("3=0.02"), model).item() == pytest.approx(0.01 * last, rel=1e-12)
    assert value(PerLayerDecay(), model).item() == pytest.approx(value(L2(), model).item(), rel=1e-12)


@pytest.mark.parametrize("text", ["linear1", "a=b", "=1", "a=1,", "0=-1", "0=nan"])
def test_per_layer_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(ConfigError):
        PerLayerDecay(text)


def test_a_pattern_chooses_and_a_wrong_one_is_refused() -> None:
    model = network()
    first, last = weights(model)
    assert value(L1("3"), model).item() == pytest.approx(np.abs(last).sum(), rel=1e-12)
    assert value(ElasticNet(1.0, "0.*"), model).item() == pytest.approx(np.abs(first).sum(), rel=1e-12)
    for wrong in (L1("4"), WeightElimination(1.0, "3.bias"), ElasticNet(0.5, "1"), PerLayerDecay("0=1,nowhere=1")):
        with pytest.raises(ConfigError, match="no weights are named"):
            value(wrong, model)


@pytest.mark.parametrize("penalty", [L2(), L1(), ElasticNet(), WeightElimination()])
def test_zero_for_a_network_without_weights_and_the_same_when_compiled(penalty: Penalty) -> None:
    assert value(penalty, nn.ReLU()).item() == 0.0

    class Wrapped(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self._orig_mod = module

    assert value(penalty, Wrapped(network())).item() == value(penalty, network()).item()
    assert value(PerLayerDecay("0=1"), Wrapped(network())).item() == value(PerLayerDecay("0=1"), network()).item()
