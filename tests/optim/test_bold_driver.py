"""The bold driver: a script of errors, and the update that is taken back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.bold_driver import BoldDriver
from lamina.training.state import copy_state, flatten_state, unflatten_state
from optim.problems import Quadratic, state_of

#       first, fall, fall, rise, equal, rise, fall, no number, after one
SCRIPT = [5.0, 4.0, 3.5, 3.6, 3.6, 9.0, 8.9, math.nan, 1.0]
RATES = [1.0, 1.1, 1.21, 0.605, 0.605, 0.3025, 0.33275, 0.166375, 0.1830125]


def test_W22_script() -> None:
    weights = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([{"params": [weights], "lr": 1.0}], lr=1.0)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 0.5})
    driver = BoldDriver(optimizer)
    rose, found = [], []
    for error in SCRIPT:
        rose.append(driver.step(torch.tensor(error, dtype=torch.float64)))
        found.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.5 * found[-1], rel=1e-12)
    assert found == pytest.approx(RATES, rel=1e-12)
    assert rose == [False, False, False, True, False, True, False, True, False]


def test_O05_a_first_error_that_is_no_number_cannot_be_taken_back() -> None:
    problem = Quadratic([1.0], [1.0])
    optimizer = torch.optim.SGD([problem.theta], 1.0)
    driver = BoldDriver(optimizer, take_back=True)
    assert driver.step(math.nan) and optimizer.param_groups[0]["lr"] == 0.5
    assert not driver.step(2.0) and driver.error == 2.0 and problem.theta.item() == 1.0


def test_O05_take_back_undoes_weights_and_momentum() -> None:
    problem = Quadratic([1.0, 30.0], [1.0, 1.0])
    optimizer = torch.optim.SGD([problem.theta], 0.05, momentum=0.5)
    driver = BoldDriver(optimizer, take_back=True)
    accepted, kept = [], []
    for _ in range(60):
        value, rate = problem.value(), optimizer.param_groups[0]["lr"]
        if driver.step(value):
            assert value > accepted[-1] and optimizer.param_groups[0]["lr"] == pytest.approx(rate / 2)
            now = [problem.theta, *state_of(optimizer)]
            assert all(torch.equal(a, b) for a, b in zip(now, kept, strict=True))
        else:
            accepted.append(value)
            kept = [problem.theta.detach().clone(), *copy_state(state_of(optimizer))]
        problem()
        optimizer.step()
    assert accepted == sorted(accepted, reverse=True)
    assert len(accepted) < 60 and accepted[-1] < 1e-2 * accepted[0]


def test_O05_what_was_taken_back_is_not_compared_with() -> None:
    weights = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weights], 1.0)
    driver, found = BoldDriver(optimizer, take_back=True), []
    for error in (5.0, 4.0, 6.0, 4.5, 3.9):
        driver.step(error)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([1.0, 1.1, 0.55, 0.275, 0.3025])  # 4.5 is a rise from 4


def test_O05_a_quadratic_is_learnt_from_any_first_rate() -> None:
    """A rate a thousand times too large or too small finds its size."""
    for rate in (100.0, 1e-4):
        problem = Quadratic([1.0, 10.0], [1.0, 1.0])
        optimizer = torch.optim.SGD([problem.theta], rate)
        driver = BoldDriver(optimizer, take_back=True)
        for _ in range(200):
            driver.step(problem.value())
            problem()
            optimizer.step()
        driver.step(problem.value())
        assert problem.value() < 1e-6


def test_state_goes_through_a_file_and_on_to_the_same_bits() -> None:
    def run(n: int, state: object = None) -> tuple[torch.Tensor, object]:
        problem = Quadratic([1.0, 30.0], [1.0, 1.0])
        optimizer = torch.optim.SGD([problem.theta], 0.05, momentum=0.5)
        driver = BoldDriver(optimizer, take_back=True)
        if state is not None:
            weights, inner, driven = unflatten_state(*state, where="test")  # type: ignore[misc]
            with torch.no_grad():
                problem.theta.copy_(weights)
            optimizer.load_state_dict(inner)
            driver.load_state_dict(driven)
        for _ in range(n):
            driver.step(problem.value())
            problem()
            optimizer.step()
        saved = copy_state([problem.theta.detach(), optimizer.state_dict(), driver.state_dict()])
        return problem.theta.detach(), flatten_state(saved)

    whole, _ = run(25)
    _, half = run(11)
    again, _ = run(14, half)
    assert torch.equal(whole, again)


@pytest.mark.parametrize("bad", [{"up": 0.9}, {"down": 0.0}, {"down": 1.5}])
def test_bad_factors_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="up must be at least 1"):
        BoldDriver(torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1), **bad)
