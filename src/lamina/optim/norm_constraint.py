"""Norm constraints: weights put back to the nearest point of a ball after an update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lamina.errors import ConfigError

GROUPS = ("whole", "layer", "unit", "column")


@torch.no_grad()
def project_norm_(parameters: Sequence[Tensor], limit: float, per: str = "unit") -> None:
    """Project weights onto ‖w‖₂ ≤ k, in place: what is outside is scaled back to norm k, what is inside stays.

        w ← w min(1, k / ‖w‖₂)        the nearest point of the ball

    Unlike a penalty it does not pull small weights towards zero, and it bounds what a large learning rate can do.

        per     one norm for each
        whole   all the given parameters together
        layer   parameter
        unit    row of a weight (out, in): what goes into one unit; for a convolution, one filter
        column  column of a weight (out, in): what one input sends; for a convolution, one input channel

    Texts whose weights act as xᵀW call the first axis of ours the columns: their "norm of each column" is "unit" here.

    Args:
        parameters: Weights; of two or more axes for "unit" and "column".
        limit: k, above 0.
        per: Which norms are bounded.

    Raises:
        ConfigError: If k is not above 0, ``per`` is unknown, or a parameter has one axis where two are needed.

    Reference: Srebro & Shraibman, "Rank, Trace-Norm and Max-Norm", COLT 2005; Hinton et al., arXiv:1207.0580, 2012;
    Goodfellow et al., Deep Learning, 2016, section 7.2.
    """
    if not limit > 0.0:
        raise ConfigError(f"limit must be above 0, got {limit!r}", where="project_norm_", mend="use 3.0")
    if per not in GROUPS:
        raise ConfigError(
            f"per must be one of {', '.join(GROUPS)}, got {per!r}", where="project_norm_", mend='use "unit"'
        )
    if per == "whole":
        if parameters:
            norms = torch.stack([torch.linalg.vector_norm(w) for w in parameters])
            factor = (limit / torch.linalg.vector_norm(norms)).clamp(max=1.0)
            for w in parameters:
                w.mul_(factor)
        return
    kept = {"layer": None, "unit": 0, "column": 1}[per]
    for w in parameters:
        if kept is not None and w.ndim < 2:
            raise ConfigError(
                f"a parameter of shape {tuple(w.shape)} has no rows and columns",
                where="project_norm_",
                mend='leave biases out, or use per="layer"',
            )
        axes = [axis for axis in range(w.ndim) if axis != kept]
        w.mul_((limit / torch.linalg.vector_norm(w, dim=axes, keepdim=True)).clamp(max=1.0))
