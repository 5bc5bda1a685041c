"""The line search: Wolfe's conditions on functions of all kinds, scipy's searches, and everything that can go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import line_search as scipy_line_search
from scipy.optimize._dcsrch import DCSRCH

from lamina.errors import ConfigError
from lamina.optim.line_search import LineSearchResult, Trial, strong_wolfe

Function = Callable[[float], float]


class Counted:
    """φ and its slope, counted."""

    def __init__(self, value: Function, slope: Function) -> None:
        self.value, self.slope, self.asked = value, slope, []

    def __call__(self, step: float) -> Trial:
        self.asked.append(step)
        return Trial(step, float(self.value(step)), float(self.slope(step)))

    def search(self, first: float = 1.0, **options: float) -> LineSearchResult:
        start = Trial(0.0, float(self.value(0.0)), float(self.slope(0.0)))
        found = strong_wolfe(self, start, first, **options)  # type: ignore[arg-type]
        assert found.evaluations == len(self.asked)
        return found


def holds(phi: Counted, step: float, c1: float, c2: float) -> bool:
    """Both conditions, from their definition."""
    enough = phi.value(step) <= phi.value(0.0) + c1 * step * phi.slope(0.0)
    return bool(enough and abs(phi.slope(step)) <= c2 * abs(phi.slope(0.0)))


def yanai(b1: float, b2: float) -> tuple[Function, Function]:
    """Moré & Thuente's problems 4 to 6."""
    g1, g2 = math.sqrt(1 + b1**2) - b1, math.sqrt(1 + b2**2) - b2

    def value(a: float) -> float:
        return g1 * math.hypot(1 - a, b2) + g2 * math.hypot(a, b1)

    return value, lambda a: -g1 * (1 - a) / math.hypot(1 - a, b2) + g2 * a / math.hypot(a, b1)


def wavy(a: float) -> float:
    rough = 2 * 0.99 / (39 * math.pi) * math.sin(39 * math.pi / 2 * a)
    if a <= 0.99:
        return 1 - a + rough
    return a - 1 + rough if a >= 1.01 else (a - 1) ** 2 / 0.02 + 0.005 + rough


def wavy_slope(a: float) -> float:
    rough = 0.99 * math.cos(39 * math.pi / 2 * a)
    return rough + (-1.0 if a <= 0.99 else 1.0 if a >= 1.01 else (a - 1) / 0.01)


# Moré & Thuente, ACM TOMS 20(3), 1994, section 5, with the c1 and c2 of their tables.
MORE_THUENTE = [
    (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2, 1e-3, 0.1),
    (lambda a: (a + 0.004) ** 4 * (a - 1.996), lambda a: (a + 0.004) ** 3 * (5 * a - 7.98), 0.1, 0.11),
    (wavy, wavy_slope, 0.1, 0.11),
    (*yanai(0.001, 0.001), 0.001, 0.0011),
    (*yanai(0.01, 0.001), 0.001, 0.0011),
    (*yanai(0.001, 0.01), 0.001, 0.0011),
]


@pytest.mark.parametrize("first", [1e-3, 1e-1, 1e1, 1e3])
@pytest.mark.parametrize("number", range(6))
def test_the_problems_of_more_and_thuente(number: int, first: float) -> None:
    value, slope, c1, c2 = MORE_THUENTE[number]
    phi = Counted(value, slope)
    found = phi.search(first, c1=c1, c2=c2, max_evaluations=40)
    assert found.reason == "wolfe"
    assert holds(phi, found.trial.step, c1, c2)
    theirs = []

    def counted(a: float) -> float:
        theirs.append(a)
        return value(a)

    DCSRCH(counted, slope, c1, c2, 1e-14, 0.0, 1e6)(first, value(0.0), slope(0.0), 100)
    assert found.evaluations <= max(2 * len(theirs), 10)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(-2, 2), min_size=6, max_size=6),
    st.floats(-4, 4),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_any_smooth_function_that_is_bounded_below(waves: list[float], log_first: float, c2: float) -> None:
    """Sums of sines under a parabola."""
    amplitude, frequency = np.array(waves[:3]), np.array([1.0, 2.3, 4.1])
    phase = np.array(waves[3:])

    def value(a: float) -> float:
        return float(0.05 * a * a - a + (amplitude * np.sin(frequency * a + phase)).sum())

    def slope(a: float) -> float:
        return float(0.1 * a - 1 + (amplitude * frequency * np.cos(frequency * a + phase)).sum())

    phi = Counted(value, slope)
    found = phi.search(10**log_first, c2=c2, max_evaluations=60)
    if slope(0.0) >= 0:
        assert found.reason == "not-descent"
        assert found.trial.step == 0.0
    elif slope(0.0) < -1e-3:
        assert found.reason == "wolfe"
        assert holds(phi, found.trial.step, 1e-4, c2)


@pytest.mark.parametrize("curvature", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("first", [1e-3, 1.0, 30.0])
def test_exact_on_a_quadratic_in_three_evaluations(curvature: float, first: float) -> None:
    best = 2.0 / curvature

    phi = Counted(lambda a: 0.5 * curvature * a * a - 2.0 * a, lambda a: curvature * a - 2.0)
    found = phi.search(first * best, c1=1e-7, c2=1e-6)
    assert found.trial.step == pytest.approx(best, rel=1e-6)
    assert found.evaluations <= (3 if first >= 1e-1 else 5)


def test_wherever_scipy_finds_a_step_so_does_this() -> None:
    rng = np.random.default_rng(0)
    both = 0
    for _ in range(60):
        a, x = rng.standard_normal((3, 3)), rng.standard_normal(3)
        h = a @ a.T

        def f(z: np.ndarray, h: np.ndarray = h) -> float:
            return float(0.5 * z @ h @ z + np.cos(2 * z).sum())

        def grad(z: np.ndarray, h: np.ndarray = h) -> np.ndarray:
            return h @ z - 2 * np.sin(2 * z)

        d = -grad(x)
        theirs = scipy_line_search(f, grad, x, d, c2=0.5)[0]
        phi = Counted(lambda t, x=x, d=d, f=f: f(x + t * d), lambda t, x=x, d=d, grad=grad: float(grad(x + t * d) @ d))
        found = phi.search(c2=0.5)
        if theirs is not None:
            both += 1
            assert found.reason == "wolfe"
            assert holds(phi, found.trial.step, 1e-4, 0.5)
    assert both > 50


@pytest.mark.parametrize("place", [0.03, 0.7, 40.0])
def test_a_kink_is_found_though_no_step_meets_the_curvature_condition(place: float) -> None:
    phi = Counted(lambda a: 3 * abs(a - place), lambda a: 3.0 if a > place else -3.0)
    found = phi.search(max_evaluations=200)
    assert found.reason == "interval"
    assert found.trial.step == pytest.approx(place, rel=1e-9)


@pytest.mark.parametrize("height", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("first", [0.3, 3.0, 1e4])
def test_a_kink_before_a_steep_wall_takes_no_longer_for_the_height(height: float, first: float) -> None:
    """The cubic hugs the low end there: without halving hundreds of steps are not enough."""
    phi = Counted(lambda a: -a if a < 1 else height * (a - 1) - 1, lambda a: -1.0 if a < 1 else height)
    found = phi.search(first, max_evaluations=200)
    assert found.reason == "interval"
    assert found.trial.step == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("beyond", [math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("first", [0.2, 1.0, 1e6])
def test_beyond_the_wall_the_step_is_too_long(beyond: float, first: float) -> None:
    phi = Counted(lambda a: (a - 0.45) ** 2 if a < 0.5 else beyond, lambda a: 2 * (a - 0.45) if a < 0.5 else math.nan)
    found = phi.search(first, c2=0.1)
    assert found.reason == "wolfe"
    assert found.trial.step == pytest.approx(0.45, abs=0.05)
    barrier = Counted(
        lambda a: -math.log(1 - a) - 3 * a if a < 1 else math.inf, lambda a: 1 / (1 - a) - 3 if a < 1 else 0.0
    )
    assert barrier.search(first, c2=0.1).trial.step == pytest.approx(2 / 3, abs=0.1)
    nowhere = Counted(lambda a: 0.0 if a == 0 else beyond, lambda a: -1.0)
    found = nowhere.search()
    assert found.trial.step == 0.0
    assert found.evaluations <= 25


@pytest.mark.parametrize("depth", [1e-8, 1e-9, 1e-11])
def test_a_plateau_of_float32_is_crossed_by_the_slopes(depth: float) -> None:
    """φ falls by less than float32 can show beside 1: all values are 1, or one unit in the last place off."""

    def value(a: float) -> float:
        noise = 1.0 if int(a * 1e6) % 3 else 1.0 + 2.0**-23
        return float(np.float32(noise + depth * ((a - 1) ** 2 - 1)))

    def slope(a: float) -> float:
        return float(np.float32(2 * depth * (a - 1)))

    for first in (0.01, 0.5, 1.7, 30.0):
        phi = Counted(value, slope)
        found = phi.search(first, c2=0.1, rounding=16 * 2.0**-23)
        assert found.reason == "wolfe"
        assert found.trial.step == pytest.approx(1.0, abs=0.1)
    # The same search that believes the values gets nowhere from some of these.
    assert any(Counted(value, slope).search(f, c2=0.1, rounding=0.0).reason != "wolfe" for f in (0.01, 0.5, 1.7))


def test_rounding_changes_nothing_where_the_values_tell() -> None:
    for first in (0.01, 1.0, 100.0):
        one, other = (Counted(lambda a: math.cosh(a - 3), lambda a: math.sinh(a - 3)) for _ in range(2))
        one.search(first, c2=0.1)
        other.search(first, c2=0.1, rounding=0.0)
        assert one.asked == other.asked


def test_what_has_no_bottom_is_left_at_the_limit() -> None:
    phi = Counted(lambda a: -a, lambda a: -1.0)
    found = phi.search(max_evaluations=8)
    assert (found.reason, found.evaluations) == ("evaluations", 8)
    assert found.trial.step == pytest.approx(1e7)
    assert Counted(lambda a: -a * a * a, lambda a: -3 * a * a - 1.0).search(max_evaluations=150).moved  # to -infinity


def test_a_gradient_that_is_not_the_functions_ends_at_the_start() -> None:
    phi = Counted(lambda a: a, lambda a: -1.0)
    found = phi.search()
    assert (found.trial.step, found.trial.value, found.moved) == (0.0, 0.0, False)
    assert found.evaluations <= 25


def test_the_best_point_is_kept_though_it_did_not_lower_enough() -> None:
    phi = Counted(lambda a: (1 - 1e-6) * a * a - a, lambda a: 2 * (1 - 1e-6) * a - 1)
    found = phi.search(max_evaluations=1)
    assert found.reason == "evaluations"
    assert (found.trial.step, found.trial.value) == (1.0, phi.value(1.0))


@pytest.mark.parametrize(
    ("start", "first", "reason"),
    [
        (Trial(0.0, 1.0, 0.5), 1.0, "not-descent"),
        (Trial(0.0, 1.0, 0.0), 1.0, "not-descent"),
        (Trial(0.0, math.nan, -1.0), 1.0, "non-finite"),
        (Trial(0.0, math.inf, -1.0), 1.0, "non-finite"),
        (Trial(0.0, 1.0, math.nan), 1.0, "non-finite"),
        (Trial(0.0, 1.0, -math.inf), 1.0, "non-finite"),
        (Trial(0.0, 1.0, -1.0), 0.0, "zero-step"),
        (Trial(0.0, 1.0, -1.0), -1.0, "zero-step"),
        (Trial(0.0, 1.0, -1.0), math.nan, "zero-step"),
        (Trial(0.0, 1.0, -1.0), math.inf, "zero-step"),
    ],
)
def test_where_there_is_nothing_to_search_nothing_is_asked(start: Trial, first: float, reason: str) -> None:
    def never(step: float) -> Trial:
        raise AssertionError

    found = strong_wolfe(never, start, first)
    assert (found.trial, found.evaluations, found.reason) == (start, 0, reason)


def test_huge_and_tiny_numbers_do_not_overflow() -> None:
    for scale in (1e-300, 1e-150, 1e150, 1e300):
        phi = Counted(lambda a, s=scale: s * ((a - 1) ** 2), lambda a, s=scale: s * 2 * (a - 1))
        found = phi.search(10.0, c2=0.1)
        assert found.reason == "wolfe"
        assert found.trial.step == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "options",
    [{"c1": 0.0}, {"c1": 0.5}, {"c1": 0.4, "c2": 0.3}, {"c2": 1.0}, {"max_evaluations": 0}, {"rounding": -1.0}],
)
def test_refusals(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        strong_wolfe(lambda step: Trial(step, 0.0, 0.0), Trial(0.0, 1.0, -1.0), **options)  # type: ignore[arg-type]
