"""The trust-region subproblem, min g·p + ½ p·H p within ‖p‖ ≤ r: by Steihaug's conjugate gradients, and exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrustRegionStep:
    """A step within the region.

    Attributes:
        step: p, (P,).
        predicted: g·p + ½ p·H p, the change that the model promises: below 0.
        multiplier: λ of the exact solution, (H + λI) p = -g; nan from conjugate gradients, which do not know it on the
            boundary, and 0 from them inside.
        products: With H; 0 where H was given.
        reason: ``inside``: the minimum of the model; ``boundary``: it lies outside; ``negative-curvature``: the model
            has none in a direction that was followed to the boundary; ``hard``: the gradient has no part along the most
            negative curvature, which was added; ``steps``: the limit was reached.
    """

    step: Tensor
    predicted: float
    multiplier: float
    products: int
    reason: str

    @property
    def on_boundary(self) -> bool:
        """Whether ‖p‖ = r."""
        return self.reason in {"boundary", "negative-curvature", "hard"}


def steihaug_toint(
    product: Callable[[Tensor], Tensor],
    gradient: Tensor,
    radius: float,
    *,
    max_steps: int = 250,
    tolerance: float | None = None,
) -> TrustRegionStep:
    """Solve the subproblem approximately, by conjugate gradients that stop where they leave the region.

    The iterates' lengths grow, so that the first one beyond the boundary ends the path; so does a direction of negative
    curvature, which is followed to the boundary. The model's decrease is at least that of the best step along -g, and
    at least half the best there is where H is positive definite.

    Args:
        product: v to H v.
        gradient: g, not zero.
        radius: r, above 0.
        max_steps: At most so many products.
        tolerance: On ‖H p + g‖ / ‖g‖; None is min(½, √‖g‖), which makes Newton's iteration converge superlinearly.

    Returns:
        The step.

    References: Steihaug, SIAM J. Numer. Anal. 20(3), 1983; Toint, 1981; Nocedal & Wright, 2006, algorithm 7.2.
    """
    r, p, d = gradient.clone(), torch.zeros_like(gradient), -gradient
    squared = start = float(r @ r)
    share = min(0.5, start**0.25) if tolerance is None else tolerance
    model, products, reason = 0.0, 0, "steps"
    while products < max_steps:
        turned = product(d)
        products += 1
        curvature = float(d @ turned)
        alpha = squared / curvature if curvature > 0.0 else float("inf")
        if not curvature > 0.0 or float(torch.linalg.vector_norm(torch.add(p, d, alpha=alpha))) >= radius:
            alpha = _to_boundary(p, d, radius)
            reason = "boundary" if curvature > 0.0 else "negative-curvature"
        model += alpha * float(r @ d) + 0.5 * alpha * alpha * curvature
        p = torch.add(p, d, alpha=alpha)
        if reason != "steps":
            break
        r = torch.add(r, turned, alpha=alpha)
        before, squared = squared, float(r @ r)
        if squared <= share * share * start:
            reason = "inside"
            break
        d = torch.add(-r, d, alpha=squared / before)
    return TrustRegionStep(p, model, 0.0 if reason == "inside" else float("nan"), products, reason)


def more_sorensen(matrix: Tensor, gradient: Tensor, radius: float, *, max_steps: int = 50) -> TrustRegionStep:
    """Solve the subproblem exactly, with the eigenvalues of H.

        (H + λI) p = -g,   H + λI ⪰ 0,   λ ≥ 0,   λ (r - ‖p‖) = 0

    These conditions hold at the global minimum and nowhere else. λ is the root of 1/r - 1/‖p(λ)‖, almost straight in λ,
    by Newton's iteration kept in an interval: λ falls as r grows, is 0 from the length of Newton's step on where H is
    positive definite, and approaches ‖g‖/r as r goes to 0. In the hard case, where g has no part along the lowest
    eigenvector q and ‖p(-λ_min)‖ < r, a multiple of q takes p to the boundary.

    Args:
        matrix: H, (P, P), symmetric.
        gradient: g, not zero.
        radius: r, above 0.
        max_steps: Of the iteration for λ.

    Returns:
        The step, with λ.

    References: Moré & Sorensen, "Computing a Trust Region Step", SIAM J. Sci. Stat. Comput. 4(3), 1983; Nocedal &
    Wright, 2006, section 4.3.
    """
    values, vectors = torch.linalg.eigh(matrix)
    along = vectors.mT @ gradient
    lowest, spread = float(values[0]), float(values.abs().max())
    size = float(torch.linalg.vector_norm(gradient))
    tiny = 8.0 * torch.finfo(matrix.dtype).eps * spread  # what the eigenvalues may be wrong by

    def length(multiplier: float) -> tuple[float, float]:
        # ‖p(λ)‖, and p·(H + λI)⁻¹p, which is half of -d‖p‖²/dλ
        p = along / (values + multiplier)
        return float(torch.linalg.vector_norm(p)), float((p * p / (values + multiplier)).sum())

    low = max(0.0, tiny - lowest)
    high = max(low, size / radius - lowest) + tiny
    if length(low)[0] <= radius:
        if lowest >= tiny:
            return _found(values, vectors, along, 0.0, "inside")
        flat = values + low <= 2.0 * tiny  # the lowest eigenvectors: g has no part along them
        p = torch.where(flat, 0.0, -along / torch.where(flat, 1.0, values + low))
        if lowest < -tiny:  # a singular H without negative curvature gives nothing to win there
            left = math.sqrt(max(radius**2 - float(p @ p), 0.0))
            p[0] += left if float(along[0]) <= 0.0 else -left
        predicted = float(along @ p + 0.5 * (values * p * p).sum())
        return TrustRegionStep(vectors @ p, predicted, max(0.0, -lowest), 0, "hard" if lowest < -tiny else "inside")
    multiplier = high
    for _ in range(max_steps):
        here, slope = length(multiplier)
        if abs(here - radius) <= 4.0 * torch.finfo(matrix.dtype).eps * radius:
            break
        low, high = (multiplier, high) if here > radius else (low, multiplier)
        multiplier += (here / radius - 1.0) * here * here / slope
        if not low < multiplier < high:
            multiplier = 0.5 * (low + high)
    return _found(values, vectors, along, multiplier, "boundary")


def _found(values: Tensor, vectors: Tensor, along: Tensor, multiplier: float, reason: str) -> TrustRegionStep:
    p = -along / (values + multiplier)
    predicted = float(along @ p + 0.5 * (values * p * p).sum())
    return TrustRegionStep(vectors @ p, predicted, multiplier, 0, reason)


def _to_boundary(p: Tensor, d: Tensor, radius: float) -> float:
    """Return τ ≥ 0 with ‖p + τ d‖ = r."""
    a, b, c = float(d @ d), float(p @ d), float(p @ p) - radius**2
    root = math.sqrt(max(b * b - a * c, 0.0))
    return max((root - b) / a if b <= 0.0 else -c / (b + root), 0.0)
