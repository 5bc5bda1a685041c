"""Conjugate gradients on a product: a symmetric matrix's inverse applied to a vector, the matrix never formed."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lamina.curvature._vectors import Tensors, flatten, ordered, unflatten
from lamina.errors import ConfigError


class Solution(NamedTuple):
    """What conjugate gradients ended with.

    Attributes:
        vector: x, one tensor for each parameter.
        residual: ‖b - (A + damping I) x‖ / ‖b‖ as the recurrence has it.
        steps: Products that were taken.
        converged: Whether the residual came below the tolerance.
        negative_curvature: Whether a direction with p·A p ≤ 0 was met, at which the method stops: A + damping I is not
            positive definite, and x is the last iterate before.
    """

    vector: Tensors
    residual: float
    steps: int
    converged: bool
    negative_curvature: bool


@torch.no_grad()
def conjugate_gradient(
    product: Callable[[Tensors], Mapping[str, Tensor]],
    right: Mapping[str, Tensor],
    *,
    damping: float = 0.0,
    max_steps: int = 100,
    tolerance: float = 1e-6,
) -> Solution:
    """Solve (A + damping I) x = b for a positive definite A that is known by its products A v only.

        α = r·r / p·A p,  x ← x + α p,  r ← r - α A p,  p ← r + (r·r new / old) p,   from x = 0, p = r = b

    With ``product = lambda v: hessian_vector(loss, parameters, v)`` x is the inverse Hessian times b: Newton's step is
    -x for b the gradient. Each step costs one product; the memory is four vectors however many steps are taken. After k
    steps x minimises ½ xᵀA x - bᵀx over the span of b … A^(k-1) b.

    Args:
        product: v to A v, both one tensor for each parameter.
        right: b.
        damping: At least 0.
        max_steps: At most so many products; without rounding, as many as A has different eigenvalues suffice.
        tolerance: On the residual relative to b.

    Returns:
        The solution, also where it stopped early.

    Raises:
        ConfigError: If an argument does not fit.

    References: Hestenes & Stiefel, 1952; Nocedal & Wright, Numerical Optimization, 2006, algorithm 7.1 (stopping at
    negative curvature).
    """
    if not damping >= 0 or not tolerance >= 0 or max_steps < 1:
        raise ConfigError(
            f"damping and tolerance must be at least 0 and max_steps at least 1, got {damping!r}, {tolerance!r} and "
            f"{max_steps!r}",
            where="conjugate_gradient",
            mend="correct the one that is not",
        )
    ordered("conjugate_gradient", "right", right, right)
    r = flatten(right)
    x, p = torch.zeros_like(r), r.clone()
    squared = start = float(r @ r)
    steps, negative = 0, False
    while steps < max_steps and squared > tolerance**2 * start:
        turned = flatten(ordered("conjugate_gradient", "the product", product(unflatten(p, right)), right))
        turned = turned.add(p, alpha=damping)
        steps += 1
        curvature = float(p @ turned)
        if curvature <= 0.0:
            negative = True
            break
        alpha = squared / curvature
        x.add_(p, alpha=alpha)
        r.sub_(turned, alpha=alpha)
        before, squared = squared, float(r @ r)
        p.mul_(squared / before).add_(r)
    residual = (squared / start) ** 0.5 if start > 0 else 0.0
    return Solution(unflatten(x, right), residual, steps, residual <= tolerance, negative)
