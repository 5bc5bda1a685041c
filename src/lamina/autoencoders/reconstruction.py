"""The reconstruction criterion: how well an autoencoder's outputs foretell the clean inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from lamina.autoencoders.corruption import Corruption
from lamina.data.batch import Batch
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.mean_nll import mean_nll
from lamina.penalties.base import Context, Penalty
from lamina.training.objective import Loss


@dataclass(frozen=True, slots=True)
class CodeContext(Context):
    """What a penalty of an autoencoder may look at besides: the code.

    Attributes:
        code: ``(N, ...)`` what the encoder gave for the inputs, still part of the graph; None where the model has no
            part named ``encoder``.
    """

    code: Tensor | None = None


@dataclass(frozen=True)
class Reconstruction:
    """Mean negative log-likelihood of the clean inputs, given the outputs for corrupted ones, plus penalties.

        L = -(1/N) Σ_n w_n log p(x_n | g(f(x̃_n))) + penalty,   x̃_n ~ corruption(x_n)

    ``Bernoulli(D)`` makes it the cross-entropy of inputs between 0 and 1, in nats and summed over the D numbers of an
    example; ``Gaussian(D, scale=1.0)`` half the squared error, up to a constant. Inputs of any shape are read as D
    numbers. Targets are not looked at.

    Inputs are corrupted while the model is in training mode; evaluation is without noise.

    Attributes:
        likelihood: What the outputs mean.
        corruption: Draws x̃ given x: ``Masking``, ``SaltAndPepper``, ``GaussianCorruption``; None leaves x as it is.
        penalty: Added as it is; scale it with ``*``. ``Contractive()`` makes the contractive autoencoder,
            ``SparseRepresentation("encoder.*")`` and ``SparseTarget()`` sparse ones. It sees the inputs that the model
            saw.
        generator: Source of the corruption. None is PyTorch's default generator, whose state ``fit`` keeps: a resumed
            run draws the same numbers, which it would not from one of yours.

    Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008, eqs. 2-5.
    """

    likelihood: Likelihood
    corruption: Corruption | None = None
    penalty: Penalty | None = None
    generator: Generator | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of the model on the batch.

        Returns:
            The total, and with a penalty its two parts ``nll`` and ``penalty``.
        """
        x, weights = batch.inputs, batch.weights
        seen = x if self.corruption is None or not model.training else self.corruption(x, self.generator)
        clean = x.flatten(1)
        if self.penalty is None:
            return Loss(mean_nll(self.likelihood, model(seen).flatten(1), clean, weights))
        with self.penalty.watch(model):
            with _noted(model) as codes:
                outputs: Tensor = model(seen)
            code = codes[0] if codes else None
            # A penalty knows the model's outputs by their identity, so it gets these and not their flat form.
            penalty = self.penalty(CodeContext(model, seen, outputs, clean, self.likelihood, weights, code))
        nll = mean_nll(self.likelihood, outputs.flatten(1), clean, weights)
        return Loss(nll + penalty, {"nll": nll.detach(), "penalty": penalty.detach()})


@contextmanager
def _noted(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within the block, note what the model's encoder gives.

    Yields:
        A list that gets it.
    """
    codes: list[Tensor] = []
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module):
        yield codes
        return
    handle = encoder.register_forward_hook(lambda module, inputs, output: codes.append(output))
    try:
        yield codes
    finally:
        handle.remove()
