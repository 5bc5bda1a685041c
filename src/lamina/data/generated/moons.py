"""Two moons: two half circles that reach into each other, blurred, with their Bayes error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.generated.parts import CLASS, NOISE, PIECES
from lamina.data.images.augmentation.hashed import normals, uniforms
from lamina.errors import ConfigError

_ANGLES = 300
_CELLS = 200  # a side of the grid of the Bayes error


def two_moons(n: int, *, noise: float = 0.2, seed: int = 0) -> Batch:
    """Draw points on two half circles, each class with probability ½.

        class 0: (cos a, sin a),   class 1: (1 - cos a, ½ - sin a),   a ~ U(0, π);   plus N(0, noise² I)

    The shapes are scikit-learn's ``make_moons``; its angles are evenly spaced, ours are random, so that the examples
    are independent and the Bayes error is known (``moons_bayes_error``).

    Args:
        n: How many points.
        noise: Standard deviation in each direction, at least 0.
        seed: Any whole number. Point i is a function of (seed, i) alone: the same however many are asked for.

    Returns:
        Inputs (n, 2) float32, targets (n,) int64.

    Raises:
        ConfigError: If ``n`` is below 1 or ``noise`` below 0.
    """
    if n < 1 or not 0 <= noise < math.inf:
        raise ConfigError(
            f"n must be at least 1 and noise at least 0, got {n} and {noise}", where="two_moons", mend="try noise=0.2"
        )
    indices = torch.arange(n)
    targets = (uniforms(indices, 0, seed, range(CLASS, CLASS + 1))[0] < 0.5).long()
    angle = math.pi * uniforms(indices, 0, seed, range(PIECES, PIECES + 1))[0]
    points = _arcs(angle)[targets, indices].float()
    return Batch(points + noise * normals(indices, 0, seed, NOISE, 2), targets)


def moons_posterior(points: Tensor, noise: float) -> Tensor:
    """Return the probability of class 1 at each point.

        p(1|x) = p₁(x) / (p₀(x) + p₁(x)),   p_k(x) ∝ ∫₀^π exp(-‖x - c_k(a)‖² / (2 noise²)) da

    The integral is a sum over 300 angles (the midpoint rule), which is exact to rounding for a noise of 0.02 or more
    away from the ends of the arcs, and to one in ten thousand at them.

    Args:
        points: (N, 2).
        noise: Standard deviation, above 0.

    Returns:
        (N,) float64.

    Raises:
        ConfigError: If ``noise`` is not above 0.
    """  # noqa: DOC502
    log = _log_densities(points, noise)
    return torch.sigmoid(log[1] - log[0])


def moons_bayes_error(noise: float) -> float:
    """Return the least share of wrong answers that any rule can have on ``two_moons``.

        ½ ∫ min(p₀(x), p₁(x)) dx

    as a sum over a grid of 200 × 200 points that reaches 6 standard deviations beyond the arcs; noise of 0.02 or more.

    Raises:
        ConfigError: If ``noise`` is not above 0.
    """  # noqa: DOC502
    reach = 6 * noise
    x, y = torch.linspace(-1 - reach, 2 + reach, _CELLS), torch.linspace(-0.5 - reach, 1 + reach, _CELLS)
    points = torch.cartesian_prod(x, y).double()
    log = torch.cat([_log_densities(some, noise) for some in torch.split(points, 2_000)], dim=1)
    cell = float((x[1] - x[0]) * (y[1] - y[0]))
    return 0.5 * cell * log.amin(0).exp().sum().item()


def _arcs(angle: Tensor) -> Tensor:
    # (2, A, 2): the places of an angle on both arcs.
    first = torch.stack((angle.cos(), angle.sin()), dim=-1)
    return torch.stack((first, torch.tensor([1.0, 0.5], dtype=angle.dtype) - first))


def _log_densities(points: Tensor, noise: float) -> Tensor:
    # (2, N): log p_k.
    if not 0 < noise < math.inf:
        raise ConfigError(f"noise must be above 0, got {noise}", where="moons_posterior", mend="try noise=0.2")
    angle = (torch.arange(_ANGLES, dtype=torch.float64) + 0.5) * (math.pi / _ANGLES)
    squared = torch.cdist(points.double().expand(2, -1, -1), _arcs(angle)).square_()
    mean = torch.logsumexp(squared.mul_(-0.5 / noise**2), dim=-1) - math.log(_ANGLES)
    return mean - math.log(2 * math.pi * noise**2)
