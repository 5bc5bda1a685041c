"""Conjugate gradients on a product: a symmetric matrix's inverse applied to a vector, the matrix never formed."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lamina.curvature._vectors import Tensors, flatten, ordered, unflatten
from lamina.errors import ConfigError


class Iterate(NamedTuple):
    """A solution on the way.

    Attributes:
        step: After how many steps.
        vector: x, one tensor for each parameter.
        value: ½ xᵀ(A + damping I) x - bᵀx.
    """

    step: int
    vector: Tensors
    value: float


class Solution(NamedTuple):
    """What conjugate gradients ended with.

    Attributes:
        vector: x, one tensor for each parameter.
        residual: ‖b - (A + damping I) x‖ / ‖b‖ as the recurrence has it.
        steps: Steps that were taken, a product each; a start other than 0 costs one product more.
        converged: Whether the residual came below the tolerance.
        negative_curvature: Whether a direction with p·A p ≤ 0 was met, at which the method stops: A + damping I is not
            positive definite (or not finite), and x is the last iterate before.
        iterates: Those that were kept, in their order; the last is x.
    """

    vector: Tensors
    residual: float
    steps: int
    converged: bool
    negative_curvature: bool
    iterates: tuple[Iterate, ...] = ()


@torch.no_grad()
def conjugate_gradient(
    product: Callable[[Tensors], Mapping[str, Tensor]],
    right: Mapping[str, Tensor],
    *,
    damping: float = 0.0,
    max_steps: int = 100,
    tolerance: float = 1e-6,
    start: Mapping[str, Tensor] | None = None,
    precondition: Callable[[Tensors], Mapping[str, Tensor]] | None = None,
    progress: float = 0.0,
    keep: float | None = None,
) -> Solution:
    """Solve (A + damping I) x = b for a positive definite A that is known by its products A v only.

        α = r·y / p·A p,  x ← x + α p,  r ← r - α A p,  y = M⁻¹ r,  p ← y + (r·y new / old) p
        from x = start, r = b - A x, p = y = M⁻¹ r

    With ``product = lambda v: hessian_vector(loss, parameters, v)`` x is the inverse Hessian times b: Newton's step is
    -x for b the gradient. Each step costs one product; the memory is four vectors however many steps are taken (five
    with a preconditioner), and one for each iterate that is kept. From 0 and without a preconditioner, after k steps x
    minimises φ(x) = ½ xᵀA x - bᵀx over the span of b … A^(k-1) b; φ falls in every step, whatever M is.

    Args:
        product: v to A v, both one tensor for each parameter.
        right: b.
        damping: At least 0.
        max_steps: At most so many steps; without rounding, as many as M⁻¹A has different eigenvalues suffice.
        tolerance: On the residual relative to b.
        start: x at first; None is 0.
        precondition: v to M⁻¹ v for a positive definite M near A whose inverse is cheap; None is M = I.
        progress: ε of Martens' rule: stop after step i where φ < 0 and φ fell over the last k = max(10, i/10) steps by
            less than k ε |φ|. 0 never stops so.
        keep: A ratio above 1, such as 1.3: the iterates of the steps 1, 2, … that are about so far apart are kept.

    Returns:
        The solution, also where it stopped early.

    Raises:
        ConfigError: If an argument does not fit.

    References: Hestenes & Stiefel, 1952; Nocedal & Wright, Numerical Optimization, 2006, algorithms 5.3 (with M) and
    7.1 (negative curvature); Martens, "Deep Learning via Hessian-free Optimization", ICML 2010, section 4.4.
    """
    if not damping >= 0 or not tolerance >= 0 or max_steps < 1 or not progress >= 0 or not (keep is None or keep > 1):
        raise ConfigError(
            "damping, tolerance and progress must be at least 0, max_steps at least 1 and keep above 1, got "
            f"{damping!r}, {tolerance!r}, {progress!r}, {max_steps!r} and {keep!r}",
            where="conjugate_gradient",
            mend="correct the one that is not",
        )
    ordered("conjugate_gradient", "right", right, right)

    def damped(vector: Tensor) -> Tensor:
        turned = flatten(ordered("conjugate_gradient", "the product", product(unflatten(vector, right)), right))
        return turned.add(vector, alpha=damping)

    def preconditioned(vector: Tensor) -> Tensor:
        if precondition is None:
            return vector
        return flatten(ordered("conjugate_gradient", "precondition", precondition(unflatten(vector, right)), right))

    b = flatten(right)
    size = float(b @ b)
    if start is None:
        x, r = torch.zeros_like(b), b.clone()
    else:
        x = flatten(ordered("conjugate_gradient", "start", start, right)).clone()
        r = b - damped(x)
    y = preconditioned(r)
    p = y.clone()
    squared, slope = float(r @ r), float(r @ y)
    steps, negative, iterates, wanted, values = 0, False, list[Iterate](), 1.0, [float(-0.5 * (x @ (r + b)))]
    while steps < max_steps and squared > tolerance**2 * size and not _stalled(values, progress):
        if steps:  # here, so that the last step leaves out a direction that nobody goes
            y = preconditioned(r)
            before, slope = slope, float(r @ y)
            p.mul_(slope / before).add_(y)
        turned = damped(p)
        curvature = float(p @ turned)
        if not curvature > 0.0:
            steps, negative = steps + 1, True
            break
        steps += 1
        alpha = slope / curvature
        x.add_(p, alpha=alpha)
        r.sub_(turned, alpha=alpha)
        squared = float(r @ r)
        if progress or keep:
            values.append(float(-0.5 * (x @ (r + b))))
        if keep and steps >= wanted:
            iterates.append(Iterate(steps, unflatten(x.clone(), right), values[-1]))
            while math.ceil(wanted) <= steps:
                wanted *= keep
    if keep and (not iterates or iterates[-1].step != steps):
        iterates.append(Iterate(steps, unflatten(x, right), values[-1]))
    residual = (squared / size) ** 0.5 if size > 0 else 0.0
    return Solution(unflatten(x, right), residual, steps, residual <= tolerance, negative, tuple(iterates))


def _stalled(values: list[float], progress: float) -> bool:
    """Return whether φ falls too little to go on."""
    i = len(values) - 1
    k = max(10, i // 10)
    return bool(progress) and i > k and values[i] < 0.0 and values[i - k] - values[i] < -k * progress * values[i]
