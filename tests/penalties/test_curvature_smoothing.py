"""Curvature-driven smoothing: a polynomial in closed form, finite differences, and what the estimates expect."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.nn import PNorm
from lamina.penalties import _jets
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from penalties.derivative_problems import (
    Wrapped,
    context_of,
    normalised_network,
    parameter_gradients,
    rows,
    smooth_network,
)


class Polynomial(nn.Module):
    """y_1 = a x_1^3 + b x_1 x_2,  y_2 = c x_2^4 + x_3: second derivatives 6 a x_1 and 12 c x_2^2, the rest 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (0.7, -5.0, 0.3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.a * x[:, 0] ** 3 + self.b * x[:, 0] * x[:, 1], self.c * x[:, 1] ** 4 + x[:, 2]], dim=1)


LIKELIHOOD = Gaussian(2, scale=1.0)


def test_R04_E16_polynomial_in_closed_form() -> None:
    model, x = Polynomial(), rows(6, 3)
    value = CurvatureSmoothing(draws=0)(context_of(model, x, likelihood=LIKELIHOOD))
    expected = ((6 * 0.7 * x[:, 0]).square() + (12 * 0.3 * x[:, 1].square()).square()).mean()
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-12)
    by_a, by_b, by_c = parameter_gradients(value, model)
    assert math.isclose(by_a.item(), (2 * 0.7 * (6 * x[:, 0]).square()).mean().item(), rel_tol=1e-12)
    assert by_b.item() == 0.0
    assert math.isclose(by_c.item(), (2 * 0.3 * (12 * x[:, 1].square()).square()).mean().item(), rel_tol=1e-12)


def chain(unit: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), unit, nn.Linear(5, 4), unit, nn.Linear(4, 2))


def pooled(p: float) -> nn.Module:
    return nn.Sequential(PNorm(3, 5, 2, p), PNorm(5, 4, 3, p), nn.Linear(4, 2))


NETWORKS = {
    **{unit.__name__: partial(chain, unit()) for unit in (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU)},
    **{f"p={p:g}": partial(pooled, p) for p in (2.0, 3.0)},
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_R04_network_by_finite_differences(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make().double()
    x, h = rows(4, 3), 2e-4
    value = CurvatureSmoothing(draws=0)(context_of(model, x, likelihood=LIKELIHOOD))
    expected = torch.zeros((), dtype=torch.float64)
    for axis in h * torch.eye(3, dtype=torch.float64):
        expected = expected + ((model(x + axis) - 2 * model(x) + model(x - axis)) / h**2).square().sum() / 4
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-5)
    for a, b in zip(parameter_gradients(value, model), parameter_gradients(expected, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("along", ["axes", "signs"])
def test_R04_several_draws_are_the_mean_of_single_ones(along: str) -> None:
    context = context_of(smooth_network(), rows())
    together = CurvatureSmoothing(along, 3, torch.Generator().manual_seed(5))(context)
    one = CurvatureSmoothing(along, 1, torch.Generator().manual_seed(5))
    assert math.isclose(together.item(), sum(one(context).item() for _ in range(3)) / 3, rel_tol=1e-12)


def test_R04_one_axis_an_example_has_the_exact_expectation() -> None:
    """One example with D inputs has D equally likely estimates; their mean is the exact value."""
    model, x = smooth_network(), rows(1)
    context = context_of(model, x)
    exact = CurvatureSmoothing(draws=0)(context).item()
    found = {
        round(CurvatureSmoothing(generator=torch.Generator().manual_seed(seed))(context).item(), 12)
        for seed in range(60)
    }
    assert len(found) == 4
    assert math.isclose(sum(found) / 4, exact, rel_tol=1e-9)


def test_R04_sign_directions_expect_what_is_written() -> None:
    model, x = smooth_network(), rows(1)
    context = context_of(model, x)
    hessians = torch.stack(
        [torch.autograd.functional.hessian(lambda row, i=i: model(row[None])[0, i], x[0]) for i in range(3)]
    )
    diagonal = hessians.diagonal(dim1=1, dim2=2)
    mixed = hessians.square().sum((1, 2)) - diagonal.square().sum(1)
    expected = (diagonal.sum(1).square() + 2 * mixed).sum().item()
    every = [
        torch.einsum("j,ijl,l->i", v, hessians, v).square().sum().item()
        for v in (torch.tensor(s, dtype=torch.float64) for s in itertools.product((-1.0, 1.0), repeat=4))
    ]
    assert math.isclose(sum(every) / 16, expected, rel_tol=1e-12)  # the formula, over all sixteen directions
    found = {
        round(CurvatureSmoothing("signs", generator=torch.Generator().manual_seed(seed))(context).item(), 10)
        for seed in range(120)
    }
    assert found == {round(value, 10) for value in every}


def test_R04_draws_average() -> None:
    model, x = smooth_network(), rows(1)
    context = context_of(model, x)
    exact = CurvatureSmoothing(draws=0)(context).item()
    many = CurvatureSmoothing(draws=600, generator=torch.Generator().manual_seed(0))(context).item()
    assert math.isclose(many, exact, rel_tol=0.15)


def test_rectified_units_do_not_bend() -> None:
    model = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3)).double()
    assert CurvatureSmoothing(draws=0)(context_of(model, rows())).item() == 0.0
    plane = nn.Linear(4, 3).double()
    assert CurvatureSmoothing(draws=0)(context_of(plane, rows())).item() == 0.0


@pytest.mark.parametrize("make", [smooth_network, lambda: Wrapped(smooth_network()), normalised_network])
def test_jets_are_the_derivatives_along_a_line(make: Callable[[], nn.Module]) -> None:
    model, x, v, h = make(), rows(), rows(seed=9), 1e-4
    with _held(model):
        value, first, second = _jets.second_order(model, x, v)
        before, after = model(x - h * v), model(x + h * v)
        torch.testing.assert_close(value, model(x))
    torch.testing.assert_close(first, (after - before) / (2 * h), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second, (after - 2 * value + before) / h**2, rtol=1e-3, atol=1e-4)


def _held(model: nn.Module):  # type: ignore[no-untyped-def]
    from lamina.penalties._passes import running_statistics_held

    return running_statistics_held(model)


def test_extra_passes_leave_the_running_statistics() -> None:
    model = normalised_network()
    context = context_of(model, rows())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for along in ("axes", "signs"):
        CurvatureSmoothing(along)(context).backward()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="axes or signs"):
        CurvatureSmoothing("gaussian")
    with pytest.raises(ConfigError, match="at least 1"):
        CurvatureSmoothing("signs", draws=0)
