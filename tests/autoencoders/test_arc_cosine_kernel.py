"""Arc-cosine kernels against wide random networks, against integrals, and in the cases that have short formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from lamina.autoencoders.arc_cosine_kernel import ArcCosine
from lamina.errors import ConfigError


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_integral(x: np.ndarray, y: np.ndarray, n: int) -> float:
    """2 E[Θ(u) Θ(v) uⁿ vⁿ] over the plane of x and y, in polar coordinates: ∫ r^(2n+1) e^(-r²/2) dr = 2ⁿ n!."""
    a, b = np.linalg.norm(x), np.linalg.norm(y)
    theta = math.acos(x @ y / (a * b))

    def at(t: float) -> float:
        u, v = a * math.cos(t), b * math.cos(t - theta)
        return (u * v) ** n if u > 0 and v > 0 else 0.0

    around = integrate.quad(at, theta - math.pi / 2, math.pi / 2, epsabs=1e-13, epsrel=1e-12)[0]
    return 2 * around * 2**n * math.factorial(n) / (2 * math.pi)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_U11_one_layer_is_its_integral(n: int) -> None:
    x, y = points(4, 3), points(5, 3, 1)
    expected = [[by_integral(a, b, n) for b in y.numpy()] for a in x.numpy()]
    np.testing.assert_allclose(ArcCosine((n,))(x, y).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("degrees", [(0,), (1,), (2,), (1, 0), (0, 1), (1, 1, 1), (1, 2)])
def test_U11_layers_are_wide_random_networks(degrees: tuple[int, ...]) -> None:
    """All layers are drawn: the error is that of chance, and 1/width of the inner layers' curvature."""
    x = points(3, 4) / 2
    g = torch.Generator().manual_seed(1)
    copies = []
    for _ in range(16):
        h = x
        for n in degrees:
            w = torch.randn(h.shape[1], 1_500, generator=g, dtype=torch.float64)
            sums = h @ w
            h = math.sqrt(2 / 1_500) * (sums > 0) * sums**n
        copies.append(h @ h.mT)
    drawn = torch.stack(copies)
    mean, error = drawn.mean(0), drawn.std(0) / math.sqrt(16)
    kernel = ArcCosine(degrees)(x, x)
    assert ((mean - kernel).abs() < 4.5 * error + 2e-3 * kernel.abs()).all()
    assert (error < 0.1 * kernel.diagonal().max()).all()  # so that a wrong formula cannot hide in the noise


def test_U11_lengths_and_angles_that_have_short_values() -> None:
    x = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]], dtype=torch.float64)
    zero = ArcCosine((0,))(x, x)
    torch.testing.assert_close(zero, torch.tensor([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]], dtype=torch.float64))
    one = ArcCosine((1,))(x, x)
    a, b = 6 / math.pi, 3 / math.pi
    torch.testing.assert_close(one, torch.tensor([[4, a, 0], [a, 9, b], [0, b, 1]], dtype=torch.float64))
    two = ArcCosine((2,))(x, x)
    expected = [[48, 18, 0], [18, 243, 4.5], [0, 4.5, 3]]  # J_2(π/2) = π/2
    torch.testing.assert_close(two, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("degrees", [(0,), (2,), (1, 1, 1), (0, 1, 2, 0), (2, 1)])
def test_U11_diagonal_symmetry_and_positive_definiteness(degrees: tuple[int, ...]) -> None:
    x = torch.cat([points(40, 6) / 3, torch.zeros(2, 6, dtype=torch.float64)])
    kernel = ArcCosine(degrees)
    k = kernel(x, x)
    torch.testing.assert_close(k, k.mT, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(k.diagonal(), kernel.diagonal(x), rtol=1e-12, atol=1e-14)
    values = torch.linalg.eigvalsh(k)
    assert values.min() > -1e-7 * values.max()


def test_U11_layers_compose_whatever_the_lengths() -> None:
    """The recursion as the paper has it, from the kernel values of the layer below."""
    x, y = points(5, 3), points(4, 3, 2)
    below, k_x, k_y = ArcCosine((1, 2))(x, y), ArcCosine((1, 2)).diagonal(x), ArcCosine((1, 2)).diagonal(y)
    theta = torch.arccos(below / (k_x[:, None] * k_y).sqrt())
    expected = (k_x[:, None] * k_y).sqrt() * (theta.sin() + (math.pi - theta) * theta.cos()) / math.pi
    torch.testing.assert_close(ArcCosine((1, 2, 1))(x, y), expected)
    expected_0 = (math.pi - theta) / math.pi
    torch.testing.assert_close(ArcCosine((1, 2, 0))(x, y), expected_0)


def test_U11_single_precision_loses_nothing_at_small_angles() -> None:
    x = points(6, 5)
    y = x + 1e-3 * points(6, 5, 1)
    wide, narrow = ArcCosine((0, 0))(x.float().double(), y.float().double()), ArcCosine((0, 0))(x.float(), y.float())
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=2e-7, atol=2e-7)


def test_U11_a_zero_vector_is_at_right_angles_to_all_others() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(ArcCosine((0,))(x, x), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    torch.testing.assert_close(ArcCosine((1,))(x, x), torch.tensor([[0.0, 0.0], [0.0, 2.0]]))


def test_refusals() -> None:
    for degrees in ((), (3,), (1, -1), (True,)):
        with pytest.raises(ConfigError, match="degrees must be"):
            ArcCosine(degrees)
