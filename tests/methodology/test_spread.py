"""The recalibrated spread against the closed form, and its effect on intervals."""

import math

import pytest
import torch
from torch import nn

from lamina.likelihoods import Gaussian
from lamina.methodology.spread import FEWEST, shift_spread, spread_shift


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_shift_is_the_log_of_the_root_mean_square_of_standardised_residuals(factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(5000, generator=generator, dtype=torch.float64)
    claimed = math.log(factor) / (1 - math.log(factor) ** 2 / 196) ** 0.5  # the raw output whose spread is the factor
    outputs = torch.stack([torch.zeros(5000), torch.full((5000,), claimed)], dim=1).double()
    delta = spread_shift(Gaussian(), outputs, targets)
    wanted = float(targets.square().mean().sqrt())
    shifted = torch.stack([outputs[:, 0], outputs[:, 1] + delta], dim=1)
    assert float(Gaussian().spread(shifted)[0]) == pytest.approx(wanted, rel=1e-4)


def test_shift_lands_on_the_scale_output_and_makes_intervals_cover() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4000, 3, generator=generator)
    y = x.sum(1) + 2.0 * torch.randn(4000, generator=generator)
    model = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([0.0, -1.0]))  # far too sure
    likelihood = Gaussian()
    with torch.no_grad():
        delta = spread_shift(likelihood, model(x[:2000]), y[:2000])
        shift_spread(model, delta)
        low, high = likelihood.interval(model(x[2000:]), 0.9)
    inside = float(((y[2000:] >= low) & (y[2000:] <= high)).double().mean())
    assert abs(inside - 0.9) < 0.03
    assert torch.equal(model[0].bias[0], torch.tensor(0.0))


def test_too_few_examples_change_nothing() -> None:
    outputs = torch.zeros(FEWEST - 1, 2)
    assert spread_shift(Gaussian(), outputs, torch.full((FEWEST - 1,), 9.0)) == 0.0
