"""Universal approximation by construction: exact stairs, the bound on the error, and its fall with the units."""

from __future__ import annotations

import inspect
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import fft
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.classics import approximate, approximate_plane
from lamina.nn.classics.universal_approximation import _cosines


def wave(x: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * x) + x


def hill(p: Tensor) -> Tensor:
    return torch.exp(-3 * p[:, 0] ** 2 - 2 * (p[:, 1] - 1) ** 2)


def saddle(p: Tensor) -> Tensor:
    return p[:, 0] * p[:, 1]


def cone(p: Tensor) -> Tensor:
    return (p[:, 0] ** 2 + (p[:, 1] - 1) ** 2).sqrt()


LINE = torch.linspace(-1, 2, 3001, dtype=torch.float64).unsqueeze(1)
PLANE = torch.cartesian_prod(
    torch.linspace(-1, 1, 61, dtype=torch.float64), torch.linspace(0, 3, 61, dtype=torch.float64)
)


def error(net: nn.Module, function: object, points: Tensor) -> tuple[float, float]:
    """Greatest and root-mean-square distance between network and function."""
    with torch.no_grad():
        wanted = function(points.squeeze(1))  # type: ignore[operator]
        distance = net.double()(points).squeeze(1) - wanted
    return float(distance.abs().max()), float(distance.square().mean().sqrt())


def test_C43_stairs_are_the_functions_value_in_the_middle_of_the_cell() -> None:
    net = approximate(wave, -1.0, 2.0, 11)
    cell = torch.arange(12, dtype=torch.float64)
    for inside in (0.01, 0.5, 0.99):
        x = -1 + (cell + inside) * 0.25
        expected = [math.sin(2 * math.pi * m) + m for m in (-1 + (c + 0.5) * 0.25 for c in range(12))]
        np.testing.assert_allclose(net.double()(x.unsqueeze(1)).detach().squeeze(1).numpy(), expected, atol=1e-6)
    assert (net[0].out_features, net[2].in_features) == (11, 11)


@pytest.mark.parametrize("slope", [None, 4.0, 50.0])
def test_C43_error_on_a_line_falls_with_the_units(slope: float | None) -> None:
    units = (8, 32, 128, 512)
    found = [error(approximate(wave, -1.0, 2.0, m, slope=slope), wave, LINE)[0] for m in units]
    for m, largest in zip(units, found, strict=True):
        steepest = 2 * math.pi + 1
        assert largest <= steepest * 3 / (m + 1) / 2 * (1.0 if slope is None else 1.1) + 1e-5
    for worse, better in itertools.pairwise(found):
        assert better < 0.35 * worse  # four times the units: a quarter, and a little


def test_C43_rounded_stairs_are_closer_inside() -> None:
    inside = LINE[300:-300]
    steps = error(approximate(wave, -1.0, 2.0, 128), wave, inside)[0]
    rounded = error(approximate(wave, -1.0, 2.0, 128, slope=4.0), wave, inside)[0]
    assert rounded < 0.1 * steps


def test_C43_steep_sigmoids_tend_to_the_steps() -> None:
    away = LINE[((LINE.squeeze(1) + 1) % 0.25 - 0.0).sub(0.125).abs() < 0.1]
    steps, sigmoids = (approximate(wave, -1.0, 2.0, 11, slope=s).double() for s in (None, 400.0))
    torch.testing.assert_close(sigmoids(away), steps(away), rtol=0, atol=1e-5)


def test_C43_the_cosines_are_those_of_the_transform() -> None:
    """Amplitudes against scipy's, frequencies by summing the cosines on the grid."""
    n = 8
    values = np.random.default_rng(0).normal(size=(n, n))
    frequencies, amplitude = (found.numpy() for found in _cosines(torch.from_numpy(values)))
    scipys = fft.dctn(values, type=2) / n**2 / np.outer([2] + [1] * (n - 1), [2] + [1] * (n - 1))
    for (i, j), a in zip(frequencies.astype(int), amplitude, strict=True):
        assert a == pytest.approx(scipys[i, abs(j)] / (2 if i and j else 1), abs=1e-12)
    u = (np.arange(n) + 0.5) / n
    phase = np.pi * (frequencies[:, 0, None, None] * u[:, None] + frequencies[:, 1, None, None] * u)
    np.testing.assert_allclose((amplitude[:, None, None] * np.cos(phase)).sum(0) + values.mean(), values, atol=1e-12)
    assert (np.diff(np.abs(amplitude)) <= 1e-15).all()
    assert len(amplitude) == 2 * (n - 1) ** 2 + 2 * (n - 1)


@pytest.mark.parametrize("function", [hill, saddle, cone])
@pytest.mark.parametrize("slope", [None, 4.0])
def test_C43_error_on_a_plane_falls_with_the_units(function: object, slope: float | None) -> None:
    units = (30, 300, 3000)
    nets = [approximate_plane(function, (-1.0, 0.0), (1.0, 3.0), m, slope=slope) for m in units]  # type: ignore[arg-type]
    found = [error(net, function, PLANE) for net in nets]
    for worse, better in itertools.pairwise(found):
        assert better[0] < 0.75 * worse[0]
        assert better[1] < 0.45 * worse[1]
    spread = float(function(PLANE).std())  # type: ignore[operator]
    assert found[-1][1] < 0.05 * spread
    for net, m in zip(nets, units, strict=True):
        assert 0.9 * m <= net[0].out_features <= m


def test_C43_a_single_cosine_takes_all_units_along_its_own_direction() -> None:
    def ridge(p: Tensor) -> Tensor:
        return 2.0 + torch.cos(math.pi * (p[:, 0] + 1) / 2)  # u₁ = (x₁ + 1)/2

    net = approximate_plane(ridge, (-1.0, 0.0), (1.0, 3.0), 50)
    assert net[0].out_features == 50
    assert net[0].weight[:, 1].abs().max() < 1e-6
    assert error(net, ridge, PLANE)[0] <= math.pi / 51 / 2 + 1e-5


def test_C43_constants() -> None:
    for slope in (None, 4.0):
        flat = approximate_plane(lambda p: torch.full((len(p),), 3.0), (0.0, 0.0), (1.0, 1.0), 5, slope=slope)
        assert flat(torch.rand(7, 2, generator=torch.Generator().manual_seed(0))).flatten().tolist() == [3.0] * 7
    assert approximate(torch.zeros_like, 0.0, 1.0, 1)(torch.tensor([[0.3]])).item() == 0.0


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="low and high must be an interval"):
        approximate(wave, 1.0, 1.0, 3)
    with pytest.raises(ConfigError, match="the second side must be an interval"):
        approximate_plane(hill, (0.0, 2.0), (1.0, 1.0), 3)
    with pytest.raises(ConfigError, match="slope"):
        approximate(wave, 0.0, 1.0, 3, slope=0.0)
    with pytest.raises(ConfigError, match="units"):
        approximate(wave, 0.0, 1.0, 0)
    with pytest.raises(ConfigError, match="finite numbers"):
        approximate(torch.log, -1.0, 1.0, 3)
    with pytest.raises(ConfigError, match="finite numbers"):
        inspect.unwrap(approximate_plane)(lambda p: p, (0.0, 0.0), (1.0, 1.0), 3)
