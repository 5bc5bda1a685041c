"""Adam against the recursions by hand and PyTorch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.adam import Adam
from optim.problems import GRADIENTS, path


@pytest.mark.parametrize("epsilon", ["inside", "outside"])
@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.5, 0.7)])
def test_O13_E19_recursion(epsilon: str, b1: float, b2: float) -> None:
    w, s, r, eps, expected = 1.0, 0.0, 0.0, 0.2, []
    for t, g in enumerate(GRADIENTS, start=1):
        s = b1 * s + (1 - b1) * g
        r = b2 * r + (1 - b2) * g * g
        s_hat, r_hat = s / (1 - b1**t), r / (1 - b2**t)
        w -= 0.1 * s_hat / (math.sqrt(r_hat + eps) if epsilon == "inside" else math.sqrt(r_hat) + eps)
        expected.append(w)
    found = path(lambda p: Adam(p, 0.1, (b1, b2), eps=eps, epsilon=epsilon))  # type: ignore[arg-type]
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_E19_outside_is_pytorchs(eps: float) -> None:
    expected = path(lambda p: torch.optim.Adam(p, 0.1, eps=eps, weight_decay=0.02))
    found = path(lambda p: Adam(p, 0.1, eps=eps, epsilon="outside", weight_decay=0.02))
    assert found == pytest.approx(expected, rel=1e-14)


def test_O13_the_first_step_is_the_rate_for_every_weight() -> None:
    weights = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    weights.grad = torch.tensor([100.0, -1.0, 1e-2, 0.0], dtype=torch.float64)
    Adam([weights], 0.1, eps=1e-12).step()
    torch.testing.assert_close(weights.detach(), torch.tensor([-0.1, 0.1, -0.1, 0.0]).double(), rtol=1e-6, atol=0)


def test_E19_the_same_number_counts_as_its_root_inside() -> None:
    """1e-8 in the root is 1e-4 beside it, where gradients are far smaller: a tenfold smaller step at g = 1e-5."""
    inside, outside = (
        1.0 - path(lambda p, e=e: Adam(p, 0.1, epsilon=e), [1e-5])[0]  # type: ignore[misc]
        for e in ("inside", "outside")
    )
    assert inside == pytest.approx(0.1 * 1e-5 / math.sqrt(1e-8 + 1e-10), rel=1e-9)
    assert outside == pytest.approx(0.1 * 1e-5 / (1e-8 + 1e-5), rel=1e-9)


def test_parameters_seen_more_or_less_often_have_their_own_age() -> None:
    often, seldom = (nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2))
    optimizer = Adam([often, seldom], 0.1, eps=0.0)
    for k in range(4):
        often.grad = torch.ones(1, dtype=torch.float64)
        seldom.grad = torch.ones(1, dtype=torch.float64) if k == 3 else None
        optimizer.step()
    assert (often.item(), seldom.item()) == pytest.approx((-0.4, -0.1), rel=1e-12)


@pytest.mark.parametrize("bad", [{"eps": -1.0}, {"betas": (0.9, 1.0)}, {"epsilon": "below"}])
def test_bad_options_are_named(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Adam([nn.Parameter(torch.zeros(1))], **bad)  # type: ignore[arg-type]
