"""Kronecker factors: numbers measured from gradients, with no derivative of their own."""

from __future__ import annotations

from gradients.case import GradientCase

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.curvature.KroneckerFactors": "second moments of gradients, detached",
    "lamina.curvature.KroneckerInverse": "inverses of detached factors",
}
CASES: list[GradientCase] = []
