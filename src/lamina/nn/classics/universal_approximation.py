"""Universal approximation by construction: a function becomes cosines, cosines become steps, steps become sigmoids."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.classics._checks import affine
from lamina.nn.units.heaviside import Heaviside


def approximate(
    function: Callable[[Tensor], Tensor], low: float, high: float, units: int, *, slope: float | None = None
) -> nn.Sequential:
    """Build a network with one hidden layer that approximates a continuous function of one number.

        f(x) ≈ f(c₀) + Σ_k (f(c_k) - f(c_{k-1})) U(x - t_k),   k = 1 … units

    The interval is cut into units + 1 cells of one width h with edges t_k and middles c_k, and the function replaced by
    its value in the middle of the cell: the error is at most h/2 times the function's greatest slope. With ``slope`` s
    each step is a sigmoid, U(z) replaced by σ(s z / h), which tends to the step for s → ∞; about s = 4 it also rounds
    the stairs off, and away from the ends the error is far smaller.

    Args:
        function: f, of (N,) float64 numbers, giving (N,) finite numbers.
        low: Lower end of the interval.
        high: Upper end.
        units: Hidden units, at least 1.
        slope: s, above 0, in widths of a cell; None keeps the steps.

    Returns:
        Affine layer, unit, affine layer: (N, 1) to (N, 1), of PyTorch's default type.

    References: Cybenko, Math. of Control, Signals and Systems 2, 1989; Hornik, Stinchcombe & White, Neural Networks 2,
    1989; by this route Jones, 1990, and Blum & Li, Neural Networks 4, 1991.
    """
    at_least(1, owner="approximate", units=units)
    _check_slope("approximate", slope)
    _check_interval("approximate", "low and high", low, high)
    width = (high - low) / (units + 1)
    cells = torch.arange(units + 1, dtype=torch.float64)
    values = _values("approximate", function, low + (cells + 0.5) * width)
    edges = low + cells[1:] * width
    direction = torch.ones(units, 1, dtype=torch.float64)
    return _stairs(direction, edges, values.diff(), values[0], torch.full_like(edges, width), slope)


def approximate_plane(
    function: Callable[[Tensor], Tensor],
    low: tuple[float, float],
    high: tuple[float, float],
    units: int,
    *,
    slope: float | None = None,
    resolution: int = 64,
) -> nn.Sequential:
    """Build a network with one hidden layer that approximates a continuous function on a rectangle.

        f(x) ≈ Σ_ij A_ij cos(π i u₁) cos(π j u₂),        u the rectangle's coordinates in [0, 1]²
             = Σ_ij A_ij/2 (cos π(i u₁ + j u₂) + cos π(i u₁ - j u₂))

    and each cosine is a function of one number s = π(i u₁ ± j u₂), which stairs approximate as in ``approximate``. The
    cosine coefficients come from the discrete cosine transform on a grid: reflecting the function at the edges makes it
    periodic without a jump. A cosine of amplitude a over a range of length l, cut into m steps, errs by at most
    a l/2m, so that it is given steps in proportion to √(a l); the cosines that are kept, the greatest first, are as
    many as make the sum of those bounds and of the amplitudes left out least.

    Args:
        function: f, of (N, 2) float64 points, giving (N,) finite numbers.
        low: Lower corner.
        high: Upper corner.
        units: Hidden units, at least 1; so many are used or, by rounding, a few less.
        slope: s, above 0, in widths of a cosine's cell; None keeps the steps.
        resolution: Points of the grid along each side, at least 2; cosines of higher frequency are not seen.

    Returns:
        Affine layer, unit, affine layer: (N, 2) to (N, 1), of PyTorch's default type.

    Reference: as for ``approximate``.
    """
    at_least(1, owner="approximate_plane", units=units)
    at_least(2, owner="approximate_plane", resolution=resolution)
    _check_slope("approximate_plane", slope)
    for name, a, b in zip(("the first side", "the second side"), low, high, strict=True):
        _check_interval("approximate_plane", name, a, b)
    corner = torch.tensor(low, dtype=torch.float64)
    size = torch.tensor(high, dtype=torch.float64) - corner

    middles = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution
    grid = corner + size * torch.cartesian_prod(middles, middles)
    values = _values("approximate_plane", function, grid).reshape(resolution, resolution)
    frequencies, amplitude = _cosines(values)
    # s runs between these two over the square: all positive parts of π(i, ±j), all negative ones.
    least, most = (math.pi * frequencies.clamp(max=0).sum(1), math.pi * frequencies.clamp(min=0).sum(1))
    kept, steps = _allot(amplitude.abs(), most - least, units)

    directions, edges, jumps, widths = [], [], [], []
    level = values.mean()
    for frequency, a, start, end, m in zip(
        frequencies[kept], amplitude[kept], least[kept], most[kept], steps.tolist(), strict=True
    ):
        width = (end - start) / (m + 1)
        cells = torch.arange(m + 1, dtype=torch.float64)
        stair = a * torch.cos(start + (cells + 0.5) * width)
        level = level + stair[0]
        along = math.pi * frequency / size  # s = along · (x - corner)
        directions.append(along.expand(m, 2))
        edges.append(start + cells[1:] * width + along @ corner)
        jumps.append(stair.diff())
        widths.append(width.expand(m))
    if not directions:  # a constant function: one unit that changes nothing
        directions, edges, jumps = [corner.new_zeros(1, 2)], [corner.new_zeros(1)], [corner.new_zeros(1)]
        widths = [corner.new_ones(1)]
    return _stairs(torch.cat(directions), torch.cat(edges), torch.cat(jumps), level, torch.cat(widths), slope)


def _cosines(values: Float[Tensor, "R R"]) -> tuple[Float[Tensor, "C 2"], Float[Tensor, " C"]]:
    """Return the frequencies (i, ±j) and amplitudes of a grid's cosines, the constant left out, the greatest first."""
    n = len(values)
    index = torch.arange(n, dtype=torch.float64)
    transform = torch.cos(math.pi / n * index.unsqueeze(1) * (index + 0.5)) * (2.0 / n)
    transform[0] /= 2.0  # now transform @ v are the amplitudes of v's cosines along one axis
    coefficient = transform @ values @ transform.mT
    pairs = torch.cartesian_prod(index, index)
    a = coefficient.flatten()
    both = (pairs > 0).all(1)  # only a true product of two cosines splits into a sum
    frequencies = torch.cat([pairs[~both], pairs[both], pairs[both] * torch.tensor([1.0, -1.0], dtype=torch.float64)])
    amplitude = torch.cat([a[~both], 0.5 * a[both], 0.5 * a[both]])
    order = amplitude[1:].abs().argsort(descending=True, stable=True) + 1  # the first is the constant
    return frequencies[order], amplitude[order]


def _allot(
    amplitude: Float[Tensor, " C"], length: Float[Tensor, " C"], units: int
) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"]]:
    """Return which cosines to keep (the first K, less those that get no step) and their numbers of steps."""
    need = (amplitude * length).sqrt()
    left_out = amplitude.sum() - amplitude.cumsum(0)
    bound = left_out + need.cumsum(0).square() / (2.0 * units)
    n_kept = int(bound.argmin()) + 1
    share = need[:n_kept] * (units / need[:n_kept].sum().clamp_min(torch.finfo(need.dtype).tiny))
    steps = share.floor().long()
    # What rounding left goes to the greatest remainders.
    spare = min(units - int(steps.sum()), n_kept)
    if float(amplitude[0]) > 0:
        steps[(share - steps).argsort(descending=True, stable=True)[:spare]] += 1
    kept = (steps > 0).nonzero().squeeze(1)
    return kept, steps[kept]


def _stairs(  # noqa: PLR0917
    direction: Float[Tensor, "M D"],
    edge: Float[Tensor, " M"],
    jump: Float[Tensor, " M"],
    level: Float[Tensor, ""],
    width: Float[Tensor, " M"],
    slope: float | None,
) -> nn.Sequential:
    """Return level + Σ_m jump_m U(direction_m · x - edge_m) as a network, with sigmoids where a slope is given."""
    steepness = torch.ones_like(width) if slope is None else slope / width
    hidden = affine(steepness.unsqueeze(1) * direction, -steepness * edge)
    unit = Heaviside() if slope is None else nn.Sigmoid()
    return nn.Sequential(hidden, unit, affine(jump.unsqueeze(0), level.reshape(1)))


def _values(owner: str, function: Callable[[Tensor], Tensor], points: Tensor) -> Float[Tensor, " N"]:
    values = function(points).detach().double()
    if values.shape != points.shape[:1] or not bool(torch.isfinite(values).all()):
        raise ConfigError(
            f"the function must give {len(points)} finite numbers of shape ({len(points)},), got {tuple(values.shape)}",
            where=owner,
            mend="let it take all points at once and be finite on the closed interval",
        )
    return values


def _check_interval(owner: str, name: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{name} must be an interval, got {low!r} and {high!r}", where=owner, mend="give low < high")


def _check_slope(owner: str, slope: float | None) -> None:
    if slope is not None and not (slope > 0 and math.isfinite(slope)):
        raise ConfigError(
            f"slope must be above 0 and finite, or None for steps, got {slope!r}", where=owner, mend="use 4.0"
        )
