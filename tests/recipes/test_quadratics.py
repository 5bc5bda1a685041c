"""Quadratics and the runs on them, against closed forms and recursions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lamina.data.generated.narrow_valley import Quadratic, quadratic
from lamina.errors import ConfigError
from lamina.recipes import quadratics
from lamina.recipes.newton_paths import newton_path
from lamina.recipes.quadratics import (
    METHODS,
    SCHEDULES,
    Descent,
    Method,
    descend,
    iterates,
    log_slope,
    stochastic,
)

KAPPA = 9.0


def problem() -> tuple[Quadratic, np.ndarray, torch.Tensor]:
    """Return a diagonal quadratic with eigenvalues 1, 4, 9, those, and a start."""
    values = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    minimum = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    return Quadratic(torch.diag(values), minimum, KAPPA), values.numpy(), minimum + torch.tensor([1.0, -2.0, 0.5])


def followed(name: str, steps: int) -> list[np.ndarray]:
    """Return the errors of a method, the start's first."""
    p, _, start = problem()
    found = [start, *(theta for _, theta in zip(range(steps), iterates(METHODS[name], p, start), strict=False))]
    return [(theta - p.minimum).numpy() for theta in found]


def test_eigenvalues_lie_evenly_on_a_logarithmic_scale_between_1_and_kappa() -> None:
    found = quadratic(100.0, 9, torch.Generator().manual_seed(0))
    values = np.linalg.eigvalsh(found.matrix.numpy())
    np.testing.assert_allclose(values, np.geomspace(1.0, 100.0, 9), rtol=1e-10)
    assert np.abs(np.tril(found.matrix.numpy(), -1)).max() > 1.0  # turned
    theta = torch.randn(2, 9, dtype=torch.float64)
    e = (theta - found.minimum).numpy()
    expected = [0.5 * row @ found.matrix.numpy() @ row for row in e]
    np.testing.assert_allclose(found.gap(theta).numpy(), expected)
    np.testing.assert_allclose(found.gradient(theta).numpy(), e @ found.matrix.numpy())
    for kappa, dimensions in ((0.5, 2), (10.0, 1)):
        with pytest.raises(ConfigError, match="quadratic: kappa must be"):
            quadratic(kappa, dimensions)


@pytest.mark.parametrize(("name", "rate"), [("gradient descent, 1/L", 1 / 9), ("gradient descent, 2/(L + µ)", 2 / 10)])
def test_gradient_descent_multiplies_each_error_by_one_less_rate_times_eigenvalue(name: str, rate: float) -> None:
    _, values, _ = problem()
    errors = followed(name, 5)
    np.testing.assert_allclose(errors[5], errors[0] * (1 - rate * values) ** 5, atol=1e-12)


def test_heavy_ball_is_the_recursion_with_polyaks_constants() -> None:
    _, values, _ = problem()
    alpha, beta = 4 / (3 + 1) ** 2, ((3 - 1) / (3 + 1)) ** 2
    errors = followed("heavy ball, Polyak's constants", 6)
    before, now = errors[0], errors[0]
    for found in errors[1:]:
        before, now = now, now - alpha * values * now + beta * (now - before)
        np.testing.assert_allclose(found, now, atol=1e-12)


def test_nesterov_is_the_recursion_with_its_constants() -> None:
    _, values, _ = problem()
    alpha, beta = 1 / 9, (3 - 1) / (3 + 1)
    errors = followed("Nesterov momentum", 6)
    now, speed = errors[0], 0.0 * errors[0]
    for found in errors[1:]:
        speed = beta * speed - alpha * values * (now + beta * speed)
        now = now + speed
        np.testing.assert_allclose(found, now, atol=1e-12)


def test_conjugate_gradients_end_after_as_many_steps_as_there_are_eigenvalues() -> None:
    errors = followed("conjugate gradients", 3)
    assert np.linalg.norm(errors[2]) > 1e-3
    assert np.linalg.norm(errors[3]) < 1e-12
    # the first step is the exact line search along the gradient
    _, values, _ = problem()
    g = values * errors[0]
    np.testing.assert_allclose(errors[1], errors[0] - (g @ g) / (g @ (values * g)) * g)


def test_theorys_factors_are_the_spectral_radii() -> None:
    """Greatest root of z² - (1 + β - αλ(1 + n β)) z + β (1 - n αλ), n = 1 for Nesterov's gradient ahead."""
    for kappa in (9.0, 400.0):
        root = math.sqrt(kappa)
        settings = {
            "gradient descent, 1/L": (1 / kappa, 0.0, 0),
            "gradient descent, 2/(L + µ)": (2 / (kappa + 1), 0.0, 0),
            "heavy ball, Polyak's constants": (4 / (root + 1) ** 2, ((root - 1) / (root + 1)) ** 2, 0),
            "Nesterov momentum": (1 / kappa, (root - 1) / (root + 1), 1),
        }
        for name, (alpha, beta, ahead) in settings.items():
            radius = max(
                np.abs(
                    np.roots([1.0, -(1 + beta - alpha * v * (1 + ahead * beta)), beta * (1 - ahead * alpha * v)])
                ).max()
                for v in np.geomspace(1.0, kappa, 101)
            )
            assert METHODS[name].rate(kappa) == pytest.approx(radius, abs=1e-6)


def test_rate_and_iterations_of_a_geometric_fall() -> None:
    errors = [0.5**k for k in range(31)]
    found = Descent(errors, [e * e for e in errors], 0.0)
    assert found.rate == pytest.approx(0.5)
    assert found.iterations == 30
    slowing = Descent([1.0, 0.1, 0.01, 0.005, 0.0025, 0.0001], [], 0.0)  # from 0.01, the root of the last, on
    assert slowing.rate == pytest.approx((0.0001 / 0.01) ** (1 / 3))


def test_descend_stops_at_the_least_error_and_measures_against_the_bound() -> None:
    p, _, start = problem()
    found = descend(METHODS["gradient descent, 2/(L + µ)"], p, start)
    assert found.errors[-1] <= quadratics.LEAST < found.errors[-2]
    assert found.rate == pytest.approx(0.8, rel=1e-3)
    # f_k - f* = ½ Σ λ e² 0.8^2k at k = 0 is the ratio's first value; λ = 4 falls faster, so it is the greatest
    e = (start - p.minimum).numpy()
    assert found.over == pytest.approx(float((np.array([1.0, 4.0, 9.0]) * e**2).sum() / (9.0 * (e**2).sum())))
    assert found.gaps[0] == 1.0


def test_a_method_that_never_ends_is_given_up() -> None:
    p, _, start = problem()
    stuck = Method("stuck", "", lambda theta, kappa: torch.optim.SGD(theta, lr=0.0), lambda kappa: 0.5, 1.0)
    found = descend(stuck, p, start)
    assert found.iterations == 30 * math.ceil(math.log(1e-9) / math.log(0.5))
    assert found.rate == 1.0
    assert found.over > 1e300  # 0.5^-1800, cut off; the bound falls with the square of the factor


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_stochastic_gap_is_the_expectation_of_the_recursion(schedule: str) -> None:
    """E e² ← (1 - ηλ)² E e² + η² σ², exact for each eigenvalue."""
    p, values, _ = problem()
    steps, noise = 60, 0.7
    generator = torch.Generator().manual_seed(0)
    marks, gaps = stochastic(schedule, p, noise=noise, steps=steps, runs=20_000, generator=generator)
    assert marks[0] == 1
    assert marks[-1] == steps
    second, rate = np.ones(3), SCHEDULES[schedule][0]
    expected = {}
    for k in range(steps):
        eta = rate(k, KAPPA)
        second = (1 - eta * values) ** 2 * second + (eta * noise) ** 2
        expected[k + 1] = 0.5 * (values * second).sum()
    np.testing.assert_allclose(gaps, [expected[k] for k in marks], rtol=0.05)


def test_rates_of_the_schedules() -> None:
    assert SCHEDULES["constant"][0](1_000, 10.0) == 0.05
    assert SCHEDULES["1/√k"][0](75, 10.0) == pytest.approx(0.025)
    assert SCHEDULES["1/k"][0](0, 10.0) == pytest.approx(0.05)
    assert SCHEDULES["1/k"][0](960, 10.0) == pytest.approx(0.002)


def test_slope_of_a_power_is_the_power() -> None:
    x = [1.0, 3.0, 10.0, 500.0]
    assert log_slope(x, [2.0 * v**-1.5 for v in x]) == pytest.approx(-1.5)


def test_O14_newton_is_at_the_minimum_of_a_quadratic_after_one_step() -> None:
    p = quadratic(1e4, 20, torch.Generator().manual_seed(1))
    start = p.minimum + 1.0
    path = newton_path(p.gap, start, damping=0.0, steps=1)
    assert torch.equal(path[0], start)
    torch.testing.assert_close(path[1], p.minimum, rtol=1e-8, atol=1e-9)


def test_O14_newton_at_a_saddle_goes_where_the_closed_form_says() -> None:
    start = torch.tensor([1.0, 0.05], dtype=torch.float64)

    def height(point: torch.Tensor) -> torch.Tensor:
        return point[0] ** 2 - point[1] ** 2

    assert newton_path(height, start, damping=0.0, steps=1)[1].abs().max() < 1e-12
    path = newton_path(height, start, damping=4.0, steps=3)
    expected = torch.tensor([1.0 * (4 / 6) ** 3, 0.05 * 2.0**3], dtype=torch.float64)
    torch.testing.assert_close(path[3], expected)
