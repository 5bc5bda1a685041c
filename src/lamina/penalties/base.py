"""Penalty: a term added to an objective, ``penalty(context) -> scalar``; terms add with ``+`` and scale with ``*``."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Context:
    """What a penalty may look at: the model, what went in, what came out.

    Attributes:
        model: The network.
        inputs: ``(N, ...)`` as the model saw them.
        outputs: ``(N, outputs)``, still part of the graph.
        targets: As the likelihood takes them, or None for unlabelled examples.
    """

    model: nn.Module
    inputs: Tensor
    outputs: Tensor
    targets: Tensor | None = None


class Penalty:
    """A scalar to be added to the mean loss, in nats; lower is better.

    Any subclass defines ``__call__``; ``a + b`` and ``0.1 * a`` are penalties again.
    """

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the value, differentiable in the model's parameters."""
        raise NotImplementedError

    def __add__(self, other: Penalty) -> Penalty:
        return WeightedSum(((1.0, self), (1.0, other)))

    def __mul__(self, factor: float) -> Penalty:
        return WeightedSum(((factor, self),))

    __rmul__ = __mul__


@dataclass(frozen=True, slots=True)
class WeightedSum(Penalty):
    """Σ_i c_i penalty_i.

    Attributes:
        terms: Pairs (c_i, penalty_i), at least one.
    """

    terms: tuple[tuple[float, Penalty], ...]

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the weighted sum of the terms."""
        (factor, first), *others = self.terms
        total = factor * first(context)
        for factor, penalty in others:
            total = total + factor * penalty(context)
        return total
