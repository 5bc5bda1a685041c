"""What conjugate gradients are preconditioned with in Hessian-free optimisation: a diagonal, or K-FAC's blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.diagonal import curvature_diagonal
from lamina.curvature.kronecker.factors import KroneckerFactors
from lamina.curvature.kronecker.inverse import KroneckerInverse
from lamina.errors import ConfigError
from lamina.optim._flat import FlatBatch

Preconditioner = Literal["diagonal", "kronecker", "none"]
Multiply = Callable[[Tensor], Tensor]
KEPT = 0.95  # of the Kronecker factors so far, at most, when they are measured again


def check_preconditioner(owner: str, name: object) -> None:
    """Refuse another name.

    Raises:
        ConfigError: If it is none of ``Preconditioner``.
    """
    if name not in get_args(Preconditioner):
        raise ConfigError(
            f"preconditioner must be one of {', '.join(get_args(Preconditioner))}, got {name!r}",
            where=owner,
            mend='use preconditioner="diagonal"',
        )


def preconditioner(
    kind: Preconditioner,
    here: FlatBatch,
    part: BatchLoss,
    scale: Tensor,
    damping: float,
    *,
    every: int,
    state: dict[str, Any],
    generator: Generator | None,
) -> Multiply:
    """Return v to M⁻¹ v, in the coordinates φ = θ / scale.

        diagonal     M = (scale² ⊙ mean of g_n² + λ)^0.75, g_n the gradient of one example: the empirical Fisher matrix
        kronecker    M⁻¹ = (1/scale) (A + πγ I)⁻¹ ⊗ (G + γ/π I)⁻¹ (1/scale), γ = √λ / scale, a block a layer, where A
                     and G are running means of ``KroneckerFactors``, with targets drawn from the network: on a deep
                     autoencoder those of the data made a far worse M

    Args:
        kind: Which.
        here: Where the parameters stand.
        part: The examples that it is measured on.
        scale: √lr of each element, (P,).
        damping: λ.
        every: Calls between measurements.
        state: What is kept from call to call: tensors and numbers.
        generator: Source of the drawn targets; None is PyTorch's default generator.

    Returns:
        A linear function, positive definite.
    """
    if kind == "none":
        return torch.clone
    # What was measured for other parameters does not fit.
    if state.get("layout") != here.flat.layout:
        state.clear()
        state.update(layout=list(here.flat.layout), calls=0)
    due, state["calls"] = state["calls"] % every == 0, state["calls"] + 1
    if kind == "diagonal":
        if due:
            state["squares"] = here.as_vector(curvature_diagonal(part, "empirical-fisher"))
        diagonal = scale.square() * state["squares"] + damping
        smallest = torch.finfo(diagonal.dtype).eps * diagonal.max()
        inverse = diagonal.clamp(min=smallest).pow(-0.75) if smallest > 0.0 else torch.ones_like(diagonal)
        return lambda v: inverse * v
    blocks = _blocks(here, part, scale, damping, due=due, state=state, generator=generator)
    if not blocks.inverses:
        return torch.clone

    plain = not bool((scale != 1.0).any())

    def divided(v: Tensor) -> Tensor:
        named = dict(zip(here.names, here.flat.split(v if plain else v / scale), strict=True))
        found = here.as_vector(blocks.precondition(named))
        return found if plain else found / scale

    return divided


def _blocks(
    here: FlatBatch,
    part: BatchLoss,
    scale: Tensor,
    damping: float,
    *,
    due: bool,
    state: dict[str, Any],
    generator: Generator | None,
) -> KroneckerInverse:
    """Return the inverse of K-FAC's blocks, measured anew and inverted where it is due."""
    factors = KroneckerFactors(part.model, parameters=[part.named[name] for name in here.names])
    inverse = KroneckerInverse(factors.blocks)
    if "factors" in state:
        factors.factors = state["factors"]
    inverse.inverses = state.setdefault("inverses", {})
    if due or not inverse.inverses:
        measured = state["measured"] = state.get("measured", 0) + 1
        factors.update(part, decay=min(1.0 - 1.0 / measured, KEPT), generator=generator)
        state["factors"] = factors.factors
        of_name = dict(zip(here.names, here.flat.split(scale), strict=True))
        gammas = {name: math.sqrt(damping) / float(of_name[name].max()) for name in factors.blocks}
        if not inverse.update(factors.factors, gammas):  # not finite: forget them
            state.update(measured=0, inverses={})
            inverse.inverses = {}
    return inverse
