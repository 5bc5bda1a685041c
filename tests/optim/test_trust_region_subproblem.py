"""The trust-region subproblem: the conditions that characterise its solution, brute force, and scipy's solvers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from lamina.optim.trust_region_subproblem import more_sorensen, steihaug_toint


def problem(n: int, seed: int, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """H with eigenvalues from ``lowest`` to 4, and g."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return q @ np.diag(np.linspace(lowest, 4.0, n)) @ q.T, rng.standard_normal(n)


def model(h: np.ndarray, g: np.ndarray, p: np.ndarray) -> float:
    return float(g @ p + 0.5 * p @ h @ p)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000), st.floats(-3, 3), st.floats(-3, 2))
def test_E32_the_exact_step_solves_the_damped_system_with_a_multiplier(
    n: int, seed: int, lowest: float, log_radius: float
) -> None:
    """(H + λI) p = -g, H + λI ⪰ 0, λ ≥ 0, λ (r - ‖p‖) = 0: necessary and sufficient."""
    h, g = problem(n, seed, lowest)
    radius = 10**log_radius
    found = more_sorensen(torch.tensor(h), torch.tensor(g), radius)
    p, multiplier = found.step.numpy(), found.multiplier
    assert multiplier >= 0
    assert np.linalg.norm(p) <= radius * (1 + 1e-8)
    np.testing.assert_allclose((h + multiplier * np.eye(n)) @ p, -g, atol=1e-7 * max(1.0, multiplier) * max(1, radius))
    assert np.linalg.eigvalsh(h)[0] + multiplier >= -1e-9
    assert abs(multiplier * (radius - np.linalg.norm(p))) <= 1e-7 * max(1.0, multiplier) * radius
    assert found.predicted == pytest.approx(model(h, g, p), rel=1e-7, abs=1e-12)
    assert found.reason == ("boundary" if multiplier > 0 else "inside")
    assert found.on_boundary is (multiplier > 0)


def test_E32_the_multiplier_falls_as_the_radius_grows() -> None:
    h, g = problem(5, 0, 0.5)
    newton = np.linalg.norm(np.linalg.solve(h, g))
    radii = np.geomspace(1e-4, 2 * newton, 30)
    multipliers = [more_sorensen(torch.tensor(h), torch.tensor(g), float(r)).multiplier for r in radii]
    assert multipliers == sorted(multipliers, reverse=True)
    for r, multiplier in zip(radii, multipliers, strict=True):
        if r > newton:
            assert multiplier == 0.0
        else:
            assert np.linalg.norm(np.linalg.solve(h + multiplier * np.eye(5), g)) == pytest.approx(r, rel=1e-8)
    assert multipliers[0] == pytest.approx(np.linalg.norm(g) / radii[0], rel=1e-3)


@pytest.mark.parametrize("radius", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("lowest", [-2.0, 0.5])
def test_no_point_of_a_disc_is_lower_than_the_exact_step(lowest: float, radius: float) -> None:
    h, g = problem(2, 1, lowest)

    angle, length = np.meshgrid(np.linspace(0, 2 * np.pi, 800), np.linspace(0, radius, 400))
    p = np.stack([length * np.cos(angle), length * np.sin(angle)])
    best = float((np.einsum("iab,i", p, g) + 0.5 * np.einsum("iab,ij,jab->ab", p, h, p)).min())
    found = more_sorensen(torch.tensor(h), torch.tensor(g), radius)
    assert found.predicted <= best + 1e-12
    assert found.predicted == pytest.approx(best, rel=1e-3)


def test_the_hard_case_goes_to_the_boundary_along_the_lowest_eigenvector() -> None:
    h, g = torch.diag(torch.tensor([-1.0, 1.0, 3.0]).double()), torch.tensor([0.0, 1.0, -2.0]).double()
    found = more_sorensen(h, g, 3.0)
    assert found.reason == "hard"
    assert found.multiplier == pytest.approx(1.0)
    assert float(found.step.norm()) == pytest.approx(3.0)
    torch.testing.assert_close(found.step[1:], torch.tensor([-0.5, 0.5]).double())
    assert found.predicted == pytest.approx(model(h.numpy(), g.numpy(), found.step.numpy()))
    assert more_sorensen(h, g, 0.5).reason == "boundary"


def test_a_singular_curvature_takes_the_shortest_of_its_minima() -> None:
    h, g = torch.diag(torch.tensor([0.0, 1.0, 2.0]).double()), torch.tensor([0.0, 1.0, 2.0]).double()
    found = more_sorensen(h, g, 5.0)
    assert (found.reason, found.multiplier) == ("inside", 0.0)
    torch.testing.assert_close(found.step, torch.tensor([0.0, -1.0, -1.0]).double())


@pytest.mark.parametrize("n", [1, 3, 8])
def test_steihaug_inside_is_newtons_step_after_n_products(n: int) -> None:
    h, g = problem(n, 2, 0.5)
    matrix = torch.tensor(h)
    found = steihaug_toint(lambda v: matrix @ v, torch.tensor(g), 100.0, tolerance=1e-12)
    np.testing.assert_allclose(found.step.numpy(), np.linalg.solve(h, -g), rtol=1e-7)
    assert (found.reason, found.products, found.multiplier) == ("inside", n, 0.0)
    assert found.predicted == pytest.approx(model(h, g, found.step.numpy()))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10_000), st.floats(-3, 2), st.floats(-2, 1))
def test_steihaug_is_between_the_cauchy_step_and_the_exact_one(
    n: int, seed: int, lowest: float, log_radius: float
) -> None:
    h, g = problem(n, seed, lowest)
    radius, matrix = 10**log_radius, torch.tensor(h)
    found = steihaug_toint(lambda v: matrix @ v, torch.tensor(g), radius, tolerance=1e-10)
    exact = more_sorensen(matrix, torch.tensor(g), radius)
    furthest = radius / np.linalg.norm(g)
    cauchy = minimize_scalar(lambda t: model(h, g, -t * g), bounds=(0, furthest), method="bounded").fun
    cauchy = min(cauchy, model(h, g, -furthest * g))
    p = found.step.numpy()
    assert found.predicted == pytest.approx(model(h, g, p), rel=1e-7, abs=1e-10)
    assert exact.predicted - 1e-9 <= found.predicted <= cauchy + 1e-6 * abs(cauchy)
    assert np.linalg.norm(p) <= radius * (1 + 1e-9)
    assert found.on_boundary == (np.linalg.norm(p) >= radius * (1 - 1e-9))
    assert math.isnan(found.multiplier) or not found.on_boundary
    if lowest > 1e-6:
        assert found.predicted <= 0.5 * exact.predicted  # Yuan, 2000
        assert found.reason != "negative-curvature"


def test_steihaug_stops_by_its_tolerance_and_its_limit() -> None:
    h, g = problem(8, 3, 0.5)
    matrix, vector = torch.tensor(h), torch.tensor(g)

    def product(v: torch.Tensor) -> torch.Tensor:
        return matrix @ v

    short = steihaug_toint(product, vector, 100.0, max_steps=2, tolerance=1e-12)
    assert (short.reason, short.products) == ("steps", 2)
    loose = steihaug_toint(product, vector, 100.0, tolerance=0.3)
    residual = np.linalg.norm(h @ loose.step.numpy() + g)
    assert residual <= 0.3 * np.linalg.norm(g)
    assert loose.products < 8
    # The default: min(½, √‖g‖) of ‖g‖.
    small = vector * 1e-8 / vector.norm()
    default = steihaug_toint(product, small, 100.0)
    assert np.linalg.norm(h @ default.step.numpy() + small.numpy()) <= 1e-4 * 1e-8
