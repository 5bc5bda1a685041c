"""The L2 penalty: held to what it does to a quadratic, direction by direction."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.penalties import L2
from lamina.penalties.base import Context


@pytest.mark.parametrize("alpha", [0.01, 1.0, 30.0])
def test_l2_shrinks_each_direction_by_its_curvature(alpha: float) -> None:
    """The minimum of (w - w*)' H (w - w*)/2 + alpha |w|^2/2 is w* shrunk by h / (h + alpha) along each axis of H."""
    curvature = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    wanted = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    model = nn.Linear(3, 1).double()
    context = Context(model, torch.zeros(1, 3), torch.zeros(1, 1))
    penalty = alpha * L2()
    for _ in range(3):  # Newton's step on a quadratic is exact; more than one shows that it is one
        w = model.weight
        loss = 0.5 * (curvature * (w[0] - wanted).square()).sum() + penalty(context)
        (gradient,) = torch.autograd.grad(loss, w)
        with torch.no_grad():
            w -= gradient / (curvature + alpha)
    torch.testing.assert_close(model.weight[0], wanted * curvature / (curvature + alpha), rtol=1e-12, atol=1e-14)
