"""Proximal operators: what a step on a penalty with a corner at zero does to the weights, exactly."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError


def soft_threshold(w: Float[Tensor, "..."], threshold: float | Tensor) -> Float[Tensor, "..."]:
    """Return the proximal operator of t ‖w‖₁: every weight moved towards zero by t, and no further.

        prox(w) = argmin_v ½ ‖v - w‖² + t ‖v‖₁ = sign(w) max(|w| - t, 0)

    Weights with |w| ≤ t become exactly zero. ``torch.nn.functional.softshrink`` is the same function; this one takes
    a threshold that is a tensor, or one for each weight.

    Args:
        w: Any shape.
        threshold: t, at least 0, a number or a tensor that broadcasts to ``w``.

    Returns:
        A tensor of the shape of ``w``.

    Reference: Donoho, "De-noising by soft-thresholding", IEEE Trans. Information Theory 41(3), 1995; Goodfellow et al.,
    Deep Learning, 2016, eq. 7.23.
    """
    return w - w.clamp(-threshold, threshold)  # type: ignore[arg-type]


@torch.no_grad()
def proximal_step_(parameters: Iterable[Tensor], l1: float, learning_rate: float | Tensor, *, l2: float = 0.0) -> None:
    """Apply the proximal operator of η (l1 ‖w‖₁ + ½ l2 ‖w‖²) to weights, in place, after a step of rate η on the loss.

        w ← sign(w) max(|w| - η l1, 0) / (1 + η l2)

    Together with gradient descent (``torch.optim.SGD`` without momentum) on the loss alone this is proximal gradient
    descent (ISTA): its fixed points are the minima of loss + penalty, and weights there are exactly zero. With other
    optimisers it gives exact zeros too, but the balance between loss and penalty is theirs.

    Args:
        parameters: The weights.
        l1: Coefficient of ‖w‖₁, at least 0.
        learning_rate: η of the step that was made.
        l2: Coefficient of ½ ‖w‖², at least 0; above 0 for the elastic net.

    Raises:
        ConfigError: If a coefficient is negative.

    Reference: Parikh & Boyd, "Proximal Algorithms", Foundations and Trends in Optimization 1(3), 2014, sections 4.2,
    6.5.2 and 6.5.3.
    """
    for name, value in {"l1": l1, "l2": l2}.items():
        if not value >= 0.0:
            raise ConfigError(f"{name} must be at least 0, got {value!r}", where="proximal_step_", mend="use 0.001")
    t = learning_rate * l1
    for w in parameters:
        w.sub_(w.clamp(-t, t))  # type: ignore[arg-type]
        if l2:
            w.div_(1.0 + learning_rate * l2)
