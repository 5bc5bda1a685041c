"""QuickProp against its formula, weight by weight, and where the formula is exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.quickprop import QuickProp
from optim.problems import Quadratic, path


def recursion(gradients: list[float], lr: float, mu: float | None) -> list[float]:
    """The rule in words, for one weight."""
    w, last, before, found = 1.0, 0.0, math.nan, []
    for g in gradients:
        change = -lr * g
        if last != 0.0:
            if before != g:
                change = g / (before - g) * last
                if mu is not None:
                    if change * g > 0 or change / last > mu:
                        change = mu * last
                    elif change / last < -mu:
                        change = -mu * last
            elif mu is not None and g != 0.0:
                change = mu * last
        w, last, before = w + change, change, g
        found.append(w)
    return found


#           a fall, a flip, growth, equal, zero, after zero, equal again, tiny difference
SEQUENCE = [2.0, 1.0, -0.5, -0.6, -1.8, -1.8, 0.0, 0.0, 0.7, 0.7, 0.69, 0.3, 3.0]


@pytest.mark.parametrize("mu", [None, 1.75, 0.5])
def test_O08_recursion(mu: float | None) -> None:
    found = path(lambda p: QuickProp(p, 0.1, mu=mu), SEQUENCE)
    assert found == pytest.approx(recursion(SEQUENCE, 0.1, mu), rel=1e-12)


@pytest.mark.parametrize(("h", "c", "lr"), [(3.0, -2.0, 0.1), (0.25, 7.0, 1.0), (1.0, 0.5, 1.9)])
def test_W23_lands_on_the_minimum_of_a_parabola(h: float, c: float, lr: float) -> None:
    """One step of gradient descent, and then one of QuickProp; for every weight of a separable quadratic at once."""
    problem = Quadratic([h, 2 * h, h], [1.0, 5.0, -3.0], [c, c, -c])
    optimizer = QuickProp([problem.theta], lr)
    optimizer.step(problem)
    assert not torch.allclose(problem.theta, problem.c)
    optimizer.step(problem)
    torch.testing.assert_close(problem.theta.detach(), problem.c, rtol=1e-12, atol=1e-12)


def test_O08_without_a_limit_it_goes_to_the_maximum_too_and_with_one_it_does_not() -> None:
    landed = []
    for mu in (None, 1.75):
        hill = Quadratic([-1.0], [0.3])
        optimizer = QuickProp([hill.theta], 0.1, mu=mu)
        for _ in range(2):
            optimizer.step(hill)
        landed.append(hill.theta.item())
    # w: 0.3 -> 0.33 by gradient descent; then 0, or 1.75 times 0.03 onwards.
    assert landed == pytest.approx([0.0, 0.33 + 1.75 * 0.03], abs=1e-12)


def test_O08_at_the_minimum_it_stays() -> None:
    problem = Quadratic([2.0], [4.0])
    optimizer = QuickProp([problem.theta], 0.1)
    for _ in range(6):
        optimizer.step(problem)
    assert problem.theta.item() == pytest.approx(0.0, abs=1e-12) and math.isfinite(problem.theta.item())


def test_bad_limit_is_named() -> None:
    with pytest.raises(ConfigError, match="mu"):
        QuickProp([nn.Parameter(torch.zeros(1))], mu=0.0)
