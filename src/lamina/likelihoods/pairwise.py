"""Pairwise similarity: a loss that draws like pairs together and holds unlike pairs apart. No distribution."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from lamina.errors import ConfigError

_WHERE = "pairwise_similarity"


def pairwise_similarity(
    first: Float[Tensor, "N D"],
    second: Float[Tensor, "N D"],
    similar: Shaped[Tensor, " N"],
    margin: float,
    form: Literal["hinge", "hadsell"] = "hinge",
) -> Float[Tensor, " N"]:
    """Return the loss of N pairs of outputs, of which it is only known whether the two are alike.

        d_n = ‖first_n - second_n‖
        S_n = 1:  d²
        S_n = 0:  max(0, M - d²)     form "hinge": the margin M is a squared distance
                  max(0, m - d)²     form "hadsell": the margin m is a distance

    The two forms differ in their pull: from d = 0 the hinge does not move (the slope of d² is 0 there), and just below
    the margin it is steepest, where Hadsell's is flat. At d = 0, where d has no derivative, Hadsell's gradient is taken
    as 0. Both are no likelihoods: nothing is normalised, and the value has the unit of a squared output.

    Args:
        first: Outputs of the first of each pair.
        second: Outputs of the second.
        similar: S, 1 or true where the two are alike, 0 or false where not. Any other value makes the pair's loss
            not-a-number: to look at the values first would make the host wait for the device in every update.
        margin: M or m, positive.
        form: Which of the two.

    Returns:
        One number a pair; take its mean. Hadsell's paper has a factor ½ on both terms.

    Raises:
        ConfigError: If the shapes differ, the margin is not positive, or the form is unknown.

    Reference: Hadsell, Chopra & LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, eq. 4;
    Weston, Ratle & Collobert, "Deep Learning via Semi-Supervised Embedding", ICML 2008, section 2.
    """
    if first.ndim != 2 or first.shape != second.shape or not (first.is_floating_point() and second.is_floating_point()):
        raise ConfigError(
            f"first and second must be two floating (N, D) matrices, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}",
            where=_WHERE,
            mend="give the outputs of both members of each pair",
        )
    if similar.shape != first.shape[:1]:
        raise ConfigError(
            f"similar must hold one number a pair, ({first.shape[0]},), got shape {tuple(similar.shape)}",
            where=_WHERE,
            mend="1 where the two are alike, 0 where not",
        )
    if not (margin > 0 and math.isfinite(margin)):
        raise ConfigError(f"margin must be a positive finite number, got {margin!r}", where=_WHERE, mend="use 1.0")
    if form not in {"hinge", "hadsell"}:
        raise ConfigError(f'form must be "hinge" or "hadsell", got {form!r}', where=_WHERE, mend='use "hinge"')
    squared = (first - second).square().sum(-1)
    if form == "hinge":
        apart = (margin - squared).clamp(min=0)
    else:
        met = squared == 0  # the root has an infinite slope there: it is taken of 1 instead, and 0 set in its place
        apart = (margin - squared.masked_fill(met, 1.0).sqrt().masked_fill(met, 0.0)).clamp(min=0).square()
    unlike = torch.where(similar == 0, apart, math.nan)
    return torch.where(similar == 1, squared, unlike)
