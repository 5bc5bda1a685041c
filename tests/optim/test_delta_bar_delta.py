"""Delta-bar-delta against Jacobs's recursion, written out for one weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.delta_bar_delta import DeltaBarDelta
from optim.problems import GRADIENTS, Quadratic, path


def recursion(lr: float, kappa: float, phi: float, theta: float, factors: list[float] | None = None) -> list[float]:
    """Jacobs 1988, eq. 5 and 6, weight by weight; ``factors`` multiply all rates of a step."""
    w, rate, trace, found = 1.0, lr, 0.0, []
    for k, g in enumerate(GRADIENTS):
        if trace * g > 0:
            rate = rate + kappa
        elif trace * g < 0:
            rate = rate - phi * rate
        w = w - rate * (1.0 if factors is None else factors[k]) * g
        trace = (1 - theta) * g + theta * trace
        found.append(w)
    return found


@pytest.mark.parametrize("constants", [(0.1, 0.01, 0.1, 0.7), (0.8, 0.095, 0.3, 0.5), (0.1, 0.0, 0.0, 0.0)])
def test_O07_recursion(constants: tuple[float, float, float, float]) -> None:
    lr, kappa, phi, theta = constants
    found = path(lambda p: DeltaBarDelta(p, lr, kappa=kappa, phi=phi, theta=theta))
    assert found == pytest.approx(recursion(*constants), rel=1e-13)


def test_O07_rates_part_where_the_curvatures_differ() -> None:
    """On a long valley the rate along it outgrows the rate across it, and the valley is left sooner."""
    valley = Quadratic([1.0, 40.0], [1.0, 1.0])
    optimizer = DeltaBarDelta([valley.theta], 0.045, kappa=0.02, phi=0.3, theta=0.7)
    plain = Quadratic([1.0, 40.0], [1.0, 1.0])
    descent = torch.optim.SGD([plain.theta], 0.045)
    for _ in range(40):
        optimizer.step(valley)
        descent.step(plain)
    along, across = optimizer.state[valley.theta]["rate"].tolist()
    assert along > 5 * across
    assert valley.value() < 0.01 * plain.value()


def test_O07_a_schedule_multiplies_all_rates() -> None:
    factors = [1.0, 1.0, 0.5, 0.5, 0.25, 0.0, 1.0, 2.0, 1.0, 1.0]
    theta = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = DeltaBarDelta([theta], 0.1)
    found = []
    for g, factor in zip(GRADIENTS, factors, strict=True):
        optimizer.param_groups[0]["lr"] = 0.1 * factor
        theta.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        found.append(theta.item())
    assert found == pytest.approx(recursion(0.1, 0.01, 0.1, 0.7, factors), rel=1e-13)


def test_O07_a_group_added_later_begins_at_its_own_rate() -> None:
    one, other = (nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = DeltaBarDelta([one], 0.1)
    optimizer.add_param_group({"params": [other], "lr": 0.4})
    one.grad, other.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (one.item(), other.item()) == pytest.approx((0.9, 0.6))


@pytest.mark.parametrize("bad", [{"kappa": -1.0}, {"phi": 1.0}, {"theta": -0.1}, {"lr": 0.0}])
def test_bad_numbers_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        DeltaBarDelta([nn.Parameter(torch.zeros(1))], **bad)
