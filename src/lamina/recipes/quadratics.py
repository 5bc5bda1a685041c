"""Quadratics of a known condition number, and the runs of optimisers on them that the rates are read from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.optim import SGD, Optimizer

from lamina.curvature.conjugate_gradient import conjugate_gradient
from lamina.data.generated.narrow_valley import Quadratic
from lamina.optim.nesterov import NesterovMomentum

LEAST = 1e-9
"""Where a run ends: ‖e‖ / ‖e₀‖, well above what rounding leaves."""

_GREATEST = 700.0  # whose exponential is a number still


@dataclass(frozen=True, slots=True)
class Method:
    """A method with constant settings, as functions of κ where µ = 1 and L = κ.

    Attributes:
        name: As in the tables.
        formula: Of the factor in ``rate``.
        optimizer: Makes it for parameters.
        rate: ρ(κ): what ‖e‖ is multiplied by in an iteration, in the long run; for conjugate gradients a bound.
        power: p where the number of iterations grows as κ^p.
    """

    name: str
    formula: str
    optimizer: Callable[[list[Tensor], float], Optimizer] | None
    rate: Callable[[float], float]
    power: float


def _polak(theta: list[Tensor], kappa: float) -> Optimizer:
    root = math.sqrt(kappa)
    return SGD(theta, lr=4.0 / (root + 1.0) ** 2, momentum=((root - 1.0) / (root + 1.0)) ** 2)


def _nesterov(theta: list[Tensor], kappa: float) -> Optimizer:
    root = math.sqrt(kappa)
    return NesterovMomentum(theta, lr=1.0 / kappa, momentum=(root - 1.0) / (root + 1.0))


def _fast(kappa: float) -> float:
    return (math.sqrt(kappa) - 1.0) / (math.sqrt(kappa) + 1.0)


METHODS = {
    method.name: method
    for method in (
        Method("gradient descent, 1/L", "1 - 1/κ", lambda theta, kappa: SGD(theta, lr=1.0 / kappa),
               lambda kappa: 1.0 - 1.0 / kappa, 1.0),
        Method("gradient descent, 2/(L + µ)", "(κ - 1)/(κ + 1)",
               lambda theta, kappa: SGD(theta, lr=2.0 / (kappa + 1.0)),
               lambda kappa: (kappa - 1.0) / (kappa + 1.0), 1.0),
        Method("Nesterov momentum", "1 - 1/√κ", _nesterov, lambda kappa: 1.0 - 1.0 / math.sqrt(kappa), 0.5),
        Method("heavy ball, Polyak's constants", "(√κ - 1)/(√κ + 1)", _polak, _fast, 0.5),
        Method("conjugate gradients", "at most (√κ - 1)/(√κ + 1)", None, _fast, 0.5),
    )
}  # fmt: skip


def iterates(method: Method, problem: Quadratic, start: Tensor) -> Iterator[Tensor]:
    """Yield θ₁, θ₂, … without end, each a new tensor; conjugate gradients with the step along -A e that is exact.

    Yields:
        (d,).
    """
    if method.optimizer is None:
        right = {"theta": -problem.gradient(start)}
        steps = 0
        while True:
            steps += 1
            solved = conjugate_gradient(
                lambda v: {"theta": problem.matrix @ v["theta"]}, right, max_steps=steps, tolerance=0.0
            )
            yield start + solved.vector["theta"]
    theta = start.clone().requires_grad_()
    optimizer = method.optimizer([theta], problem.kappa)

    def closure() -> float:
        theta.grad = problem.gradient(theta.detach())
        return 0.0

    while True:
        optimizer.step(closure)
        yield theta.detach().clone()


@dataclass(frozen=True, slots=True)
class Descent:
    """A run until ‖e‖ is ``LEAST`` of its first value.

    Attributes:
        errors: ‖e_k‖ / ‖e₀‖ for k = 0, 1, ….
        gaps: (f_k - f*) / (f₀ - f*) for k = 0, 1, ….
        over: Greatest ratio of f_k - f* to a bound: (L/2) ρ^(2k) ‖e₀‖² of gradient descent (it is none of momentum),
            4 ρ^(2k) (f₀ - f*) of conjugate gradients.
    """

    errors: list[float]
    gaps: list[float]
    over: float

    @property
    def iterations(self) -> int:
        """How many it took."""
        return len(self.errors) - 1

    @property
    def rate(self) -> float:
        """Factor of ‖e‖ an iteration over the later part, from the square root of the last error on."""
        last = self.iterations
        first = next(k for k, error in enumerate(self.errors) if error <= math.sqrt(self.errors[last]))
        return float((self.errors[last] / self.errors[first]) ** (1.0 / max(1, last - first)))


def descend(method: Method, problem: Quadratic, start: Tensor) -> Descent:
    """Run a method and note its errors.

    Args:
        method: One of ``METHODS``.
        problem: What is minimised.
        start: θ₀.

    Returns:
        The errors, at most 30 times as many as the method's theory needs.
    """
    rho = method.rate(problem.kappa)
    most = 30 * math.ceil(math.log(LEAST) / math.log(rho))
    e0, f0 = (start - problem.minimum).norm().item(), problem.gap(start).item()
    first = 0.5 * problem.kappa * e0**2 if method.optimizer is not None else 4.0 * f0
    errors, gaps, over = [1.0], [1.0], f0 / first
    for k, theta in zip(range(1, most + 1), iterates(method, problem, start), strict=False):
        gap = problem.gap(theta).item()
        errors.append((theta - problem.minimum).norm().item() / e0)
        gaps.append(gap / f0)
        if gap > 0.0:  # in logarithms: the bound may be too small a number where a method is stuck
            over = max(over, math.exp(min(_GREATEST, math.log(gap / first) - 2 * k * math.log(rho))))
        if errors[-1] <= LEAST:
            break
    return Descent(errors, gaps, over)


SCHEDULES: dict[str, tuple[Callable[[int, float], float], float]] = {
    # η_k and the power of k with which f - f* falls; µ = 1, L = κ, and η_0 = 1/(2L)
    "constant": (lambda k, kappa: 0.5 / kappa, 0.0),
    "1/√k": (lambda k, kappa: 0.5 / (kappa * math.sqrt(1.0 + k / 25.0)), -0.5),
    "1/k": (lambda k, kappa: 2.0 / (4.0 * kappa + k), -1.0),
}
"""Learning rates of stochastic gradient descent."""


def stochastic(
    schedule: str, problem: Quadratic, *, noise: float, steps: int, runs: int, generator: Generator
) -> tuple[list[int], list[float]]:
    """Run SGD with gradients A e + noise · N(0, I) from θ* + 1, many runs at once.

    Args:
        schedule: One of ``SCHEDULES``.
        problem: What is minimised.
        noise: Standard deviation of each element of the gradient.
        steps: How many.
        runs: Independent runs whose f - f* are averaged.
        generator: Source of the noise.

    Returns:
        Numbers of steps, evenly spread on a logarithmic scale, and the mean f - f* after them.
    """
    rate, _ = SCHEDULES[schedule]
    theta = problem.minimum.expand(runs, -1).clone().add_(1.0).requires_grad_()
    optimizer = SGD([theta], lr=1.0)
    marks = sorted({round(steps ** (i / 60)) for i in range(61)})
    gaps = []
    for k in range(steps):
        optimizer.param_groups[0]["lr"] = rate(k, problem.kappa)
        drawn = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
        theta.grad = problem.gradient(theta.detach()).add_(drawn, alpha=noise)
        optimizer.step()
        if k + 1 in marks:
            gaps.append(problem.gap(theta.detach()).mean().item())
    return marks, gaps


def log_slope(x: list[float], y: list[float]) -> float:
    """Return the slope of log y against log x by least squares."""
    a, b = (torch.tensor(v, dtype=torch.float64).log() for v in (x, y))
    a = a - a.mean()
    return float((a @ b) / (a @ a))
