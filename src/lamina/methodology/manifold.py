"""An autoencoder learnt beforehand, for the penalty that needs its tangents."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import Stream
from lamina.likelihoods import Gaussian
from lamina.nn import linear
from lamina.penalties import Context, Contractive, ManifoldTangentProp, Penalty, WeightedSum
from lamina.training import GradientStep, Supervised, fit


def with_encoders(penalty: Penalty | None, model: nn.Module, data: Stream, seed: int) -> Penalty | None:
    """Give each ``ManifoldTangentProp`` without an encoder one that was learnt on the training inputs.

        h = σ(W x + b),   x̂ = V h + c,   minimise mean ½ ‖x̂ - x‖² + contraction ‖∂h/∂x‖²

    x is what the smooth part of the network reads: standardised numbers or pictures, embedded categories.

    Args:
        penalty: Of the objective, or None.
        model: The network, as it starts.
        data: The training examples; their order and the weights follow from the seed.
        seed: Of the weights.

    Returns:
        The penalty, ready to be used; the same where there is nothing to learn.

    Reference: Rifai et al., "The Manifold Tangent Classifier", NIPS 2011.
    """
    if isinstance(penalty, WeightedSum):
        terms = [(factor, with_encoders(term, model, data, seed) or term) for factor, term in penalty.terms]
        return WeightedSum(tuple(terms))
    if isinstance(penalty, ManifoldTangentProp) and penalty.encoder is None:
        return replace(penalty, encoder=_encoder(penalty, model, data, seed))
    return penalty


def _encoder(penalty: ManifoldTangentProp, model: nn.Module, data: Stream, seed: int) -> nn.Module:
    stream = _ToItself(model, data)
    first = next(stream.batches(0)).inputs
    size, generator = first[0].numel(), torch.Generator().manual_seed(seed)
    layers = OrderedDict[str, nn.Module](
        flatten=nn.Flatten(),
        affine=linear(size, penalty.units, "glorot", generator),
        unit=nn.Sigmoid(),
        decoder=linear(penalty.units, size, "glorot", generator),
    )
    network = nn.Sequential(layers).to(first.device, first.dtype)
    objective = Supervised(Gaussian(size, scale=1.0), penalty.contraction * Contractive("unit"))
    fit(GradientStep(network, objective, torch.optim.Adam(network.parameters())), stream, max_epochs=penalty.epochs)
    return network[:3].requires_grad_(False)


class _ToItself:
    """A stream whose targets are its inputs, as the smooth part of a network reads them."""

    def __init__(self, model: nn.Module, data: Stream) -> None:
        self.model, self.data, self.n_examples = model, data, data.n_examples

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for batch in self.data.batches(epoch, start):
            _, x = Context(self.model, batch.inputs, batch.inputs).smooth()
            yield Batch(x, x.flatten(1))
