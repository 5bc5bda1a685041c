"""Penalty: a term added to an objective, ``penalty(context) -> scalar``; terms add with ``+`` and scale with ``*``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.nn.column_embedding import ColumnEmbedding
from lamina.nn.noise.weight_noise import WeightNoise
from lamina.nn.pixels import PixelScaling


@dataclass(frozen=True, slots=True)
class Context:
    """What a penalty may look at: the model, what went in, what came out, and what the outputs mean.

    Attributes:
        model: The network.
        inputs: ``(N, ...)`` as the model saw them.
        outputs: ``(N, outputs)``, still part of the graph.
        targets: As the likelihood takes them, or None where no example has one.
        likelihood: Reads the outputs; None where the objective has none.
        weights: ``(N,)`` example weights; an unlabelled example among labelled ones has weight 0.
    """

    model: nn.Module
    inputs: Tensor
    outputs: Tensor
    targets: Tensor | None = None
    likelihood: Likelihood | None = None
    weights: Tensor | None = None

    def smooth(self) -> tuple[nn.Module, Tensor]:
        """Return the part of the network that is a function of real numbers, and what goes into it.

        A network that begins with ``PixelScaling`` or ``ColumnEmbedding`` reads bytes or codes, by which nothing can be
        differentiated: for it, that is all behind the first module, and the numbers that the first module makes. So a
        step in input space is measured in standard deviations of the training data for pictures and numbers alike.

        Returns:
            A module f and ``(N, ...)`` detached numbers x with f(x) the model's outputs.

        Raises:
            ConfigError: If the network reads whole numbers in another way.
        """
        model: nn.Module = getattr(self.model, "_orig_mod", self.model)  # as torch.compile wraps it
        if isinstance(model, WeightNoise):
            model = model.module  # a penalty is a function of the weights, not of their noise
        if isinstance(model, nn.Sequential) and len(model) > 1 and isinstance(model[0], PixelScaling | ColumnEmbedding):
            return model[1:], model[0](self.inputs).detach()
        if not self.inputs.is_floating_point():
            raise ConfigError(
                f"the inputs are {self.inputs.dtype}: nothing can be differentiated by them",
                where=type(model).__name__,
                mend="give the network real numbers, or begin it with lamina.nn.PixelScaling",
            )
        return model, self.inputs.detach()


class Penalty:
    """A scalar to be added to the mean loss, in nats; lower is better.

    Any subclass defines ``__call__``; ``a + b`` and ``0.1 * a`` are penalties again.
    """

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the value, differentiable in the model's parameters."""
        raise NotImplementedError

    def watch(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within the block, look on at the objective's own forward passes, where that spares a second one.

        Returns:
            What to enter.
        """
        return nullcontext()

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

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Let each term look on.

        Yields:
            Nothing.
        """
        with ExitStack() as stack:
            for _, penalty in self.terms:
                stack.enter_context(penalty.watch(model))
            yield

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the weighted sum of the terms."""
        (factor, first), *others = self.terms
        total = factor * first(context)
        for factor, penalty in others:
            total = total + factor * penalty(context)
        return total
