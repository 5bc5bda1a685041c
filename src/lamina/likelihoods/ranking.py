"""Margin ranking: the right class is to score higher than every other by a margin. No distribution."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import check_outputs


def margin_ranking(scores: Float[Tensor, "N K"], target: Int[Tensor, " N"], margin: float = 1.0) -> Float[Tensor, " N"]:
    """Return how far the right class falls short of its margin over each other one.

        L_n = Σ_{i ≠ y} max(0, margin - a_y + a_i)
        dL/da_i = [a_i > a_y - margin]  for i ≠ y,   dL/da_y = minus their number

    The gradient is 0 where a_y exceeds every other score by the margin, unlike that of the cross-entropy, which never
    is: scores learnt so have an order and no probabilities, and this is no likelihood. The course sums over i = y too,
    which adds a constant, the margin.

    Differs from ``torch.nn.MultiMarginLoss``, which divides by the number of classes.

    Args:
        scores: a, one number a class.
        target: y, codes.
        margin: Positive; 1 in the course.

    Returns:
        One number an example.

    Raises:
        ConfigError: If the shapes do not fit or the margin is not positive.

    Reference: Collobert & Weston, "A Unified Architecture for Natural Language Processing", ICML 2008; Goodfellow,
    Bengio & Courville, "Deep Learning", 2016, section 12.4.3.4.
    """
    check_outputs("margin_ranking", scores, scores.shape[-1])
    if target.shape != scores.shape[:1]:
        raise ConfigError(
            f"target must have shape ({scores.shape[0]},), got {tuple(target.shape)}",
            where="margin_ranking",
            mend="give one class code an example",
        )
    if not (margin > 0 and math.isfinite(margin)):
        raise ConfigError(
            f"margin must be a positive finite number, got {margin!r}", where="margin_ranking", mend="use 1.0"
        )
    code = target.long().unsqueeze(1)
    short = (margin - scores.gather(1, code) + scores).clamp(min=0)
    return short.masked_fill(code == torch.arange(scores.shape[1], device=scores.device), 0.0).sum(1)
