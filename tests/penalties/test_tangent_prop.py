"""Tangent propagation: against finite differences along the tangents, and against warped pictures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn import PixelScaling
from lamina.penalties.image_tangents import image_tangents
from lamina.penalties.tangent_prop import TangentProp
from penalties.derivative_problems import (
    Wrapped,
    context_of,
    normalised_network,
    parameter_gradients,
    rows,
    smooth_network,
)


def differences(model: nn.Module, x: Tensor, tangents: Tensor, h: float = 1e-5) -> Tensor:
    """Central differences of the outputs along each tangent, (K, N, outputs)."""
    return torch.stack([(model(x + h * v) - model(x - h * v)) / (2 * h) for v in tangents])


@pytest.mark.parametrize("wrapped", [False, True])
def test_R28_value_and_gradient_are_those_of_finite_differences(wrapped: bool) -> None:
    model, x = smooth_network(), rows()
    model = Wrapped(model) if wrapped else model
    tangents = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = TangentProp(lambda x: tangents, draws=0)(context_of(model, x))
    expected = differences(model, x, tangents).square().sum() / len(x)
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-8)
    for a, b in zip(parameter_gradients(value, model), parameter_gradients(expected, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_R28_random_combinations_are_unbiased() -> None:
    """Over all 2^K sign vectors the mean is exact; so the mean of the draws comes near the sum."""
    model, x = smooth_network(), rows(1)
    tangents = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = TangentProp(tangents, draws=0)(context_of(model, x)).item()
    many = TangentProp(tangents, draws=4000, generator=torch.Generator().manual_seed(2))(context_of(model, x)).item()
    ones = [
        TangentProp(tangents, draws=1, generator=torch.Generator().manual_seed(seed))(context_of(model, x)).item()
        for seed in range(40)
    ]
    combinations = {round(one, 9) for one in ones}
    assert len(combinations) <= 4  # s and -s are alike
    assert math.isclose(sum(combinations) / len(combinations), exact, rel_tol=1e-6)
    assert math.isclose(many, exact, rel_tol=0.1)


def test_R28_a_network_that_does_not_see_the_tangent_pays_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Tanh()).double()
    with torch.no_grad():
        model[0].weight[:, 0] = 0.0
    along = torch.eye(4, dtype=torch.float64)
    assert TangentProp(along[:1], draws=0)(context_of(model, rows())).item() == 0.0
    assert TangentProp(along[1:], draws=0)(context_of(model, rows())).item() > 0.0


@pytest.mark.parametrize("draws", [0, 1])
def test_convolutions_and_pooling_are_carried_like_the_rest(draws: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        PixelScaling([0.5], [0.3]).double(), nn.Conv2d(1, 3, 3, padding=1), nn.ELU(), nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 3, bias=False), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 2),
    ).double()  # fmt: skip
    pictures = torch.randint(0, 256, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    scaled, rest = model[0](pictures), model[1:]
    tangents = image_tangents(scaled, "rigid")
    if draws:  # one sign vector a picture: the same that the penalty draws
        drawn = torch.empty(1, 3, 3, dtype=torch.float64).bernoulli_(0.5, generator=torch.Generator().manual_seed(0))
        tangents = ((2 * drawn[0] - 1)[:, :, None, None, None] * tangents).sum(0, keepdim=True)
    penalty = TangentProp(transforms="rigid", draws=draws, generator=torch.Generator().manual_seed(0))
    value = penalty(context_of(model, pictures))
    expected = differences(rest, scaled, tangents, 1e-6).square().sum() / 3
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-6)


def test_extra_passes_leave_the_running_statistics() -> None:
    model, x = normalised_network(), rows()
    context = context_of(model, x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for draws in (0, 1, 2):
        TangentProp(torch.ones(2, 4, dtype=torch.float64), draws=draws)(context).backward()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_dropout_draws_one_mask_for_all_directions() -> None:
    """Both tangents are alike, so under one mask both derivatives are, and the sum is twice one square."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2)).double()
    context = context_of(model, rows(1))
    values = []
    for tangents in (1, 2):
        torch.manual_seed(5)
        values.append(TangentProp(torch.ones(tangents, 4, dtype=torch.float64), draws=0)(context).item())
    assert math.isclose(values[1], 2 * values[0], rel_tol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="draws"):
        TangentProp(draws=-1)
    with pytest.raises(ConfigError, match="do not fit"):
        TangentProp(torch.ones(2, 5, dtype=torch.float64))(context_of(smooth_network(), rows()))
    with pytest.raises(ConfigError, match="pictures"):
        TangentProp()(context_of(smooth_network(), rows()))
