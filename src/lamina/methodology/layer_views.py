"""What a reader is shown of a pre-trained layer: its filters, reconstructions, samples, weights and activities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.data.spec import ImageSpec
from lamina.energy.rbm import RBM
from lamina.nn import PixelScaling
from lamina.training.hidden_layers import HiddenLayer

FILTERS, PICTURES, EXAMPLES = 48, 12, 1_000
"""Units whose filters are kept, pictures in a row, examples whose activities are counted."""
_BINS = 40
_SWEEPS = 1_000  # of Gibbs sampling, from units that are 0 or 1 by a coin (or standard normal)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TaughtLayer:
    """A hidden layer and what taught it.

    Attributes:
        layer: Of the network.
        model: The machine or autoencoder of its inputs, or None where it learnt with targets.
    """

    layer: HiddenLayer
    model: nn.Module | None


@torch.no_grad()
def views_of(
    taught: Sequence[TaughtLayer],
    inputs: Tensor,
    spec: object,
    *,
    examples: bool,
    generator: Generator,
) -> list[Arrays]:
    """Return, for each layer, what can be shown of it.

        filters            layer 1: w_j;   layer k: row j of W_k … W_1, what the unit sees if all between were linear
        originals          x
        reconstructions    x̂, up through layers 1 … k and down again by the means of their models
        samples            v drawn from layer k's machine after 1,000 Gibbs sweeps, then down by means
        weights            a histogram of W_k, ``weight_edges`` its bins
        activities         a histogram of h_k over the examples, ``activity_edges`` its bins

    Pictures are ``(n, C, H, W)``, 0 black and 1 white but for rounding and Gaussian units; filters have any sign. They
    are missing where the inputs are no pictures, filters also where a layer below is none that weights could be
    multiplied through; reconstructions where a layer learnt with targets.

    Args:
        taught: The layers, from the first on, in evaluation mode.
        inputs: Some examples as the network takes them.
        spec: What they look like.
        examples: Whether examples of the data may be shown.
        generator: Source of the samples, on the layers' device.

    Returns:
        Arrays by name.
    """
    pictures = _Pictures.of(spec, taught[0].layer)
    found: list[Arrays] = []
    h, back = inputs, None
    for k, one in enumerate(taught):
        weight = one.layer.affine.weight
        assert isinstance(weight, Tensor)
        for module in one.layer.modules.values():
            h = module(h)
        arrays: Arrays = {}
        arrays["weights"], arrays["weight_edges"] = _histogram(weight)
        arrays["activities"], arrays["activity_edges"] = _histogram(h)
        if pictures is not None:
            back = _back_projected(one.layer, back, first=k == 0)
            filters = pictures.filters(one.layer, back)
            if filters is not None:
                arrays["filters"] = filters
            down = _down(taught[: k + 1])
            if down is not None and examples:
                arrays["originals"] = inputs[:PICTURES].float().div(255).cpu().numpy()
                arrays["reconstructions"] = pictures.shown(down(h[:PICTURES]))
            if down is not None and isinstance(one.model, RBM):
                arrays["samples"] = pictures.shown(down(_sampled(one.model, generator)))
        found.append(arrays)
    return found


@dataclass(frozen=True)
class _Pictures:
    """How numbers that the first layer takes become pictures."""

    shape: tuple[int, int, int]
    scaling: PixelScaling

    @classmethod
    def of(cls, spec: object, first: HiddenLayer) -> _Pictures | None:
        """Return it where the inputs are pictures that a scaling of pixels reads, and not features made of them."""
        scaling = next((m for m in first.modules.values() if isinstance(m, PixelScaling)), None)
        if not isinstance(spec, ImageSpec) or scaling is None or "features" in first.modules:
            return None
        return cls((spec.channels, spec.height, spec.width), scaling)

    def shown(self, values: Tensor) -> NDArray[Any]:
        """Undo the scaling of pixels.

        Returns:
            ``(n, C, H, W)``, 0 to 1.
        """
        pixels = (values.reshape(-1, *self.shape) - self.scaling.shift) / (255.0 * self.scaling.scale)
        return pixels.float().cpu().numpy()

    def filters(self, layer: HiddenLayer, back: Tensor | None) -> NDArray[Any] | None:
        """Return the first filters as pictures, if they are any.

        Returns:
            ``(n, C, h, w)`` or None.
        """
        c, h, w = self.shape
        if back is not None and back.shape[1] == c * h * w:
            return back[:FILTERS].reshape(-1, c, h, w).float().cpu().numpy()
        kernel = layer.affine.weight
        assert isinstance(kernel, Tensor)
        if layer.number == 1 and isinstance(layer.affine, nn.Conv2d) and kernel.shape[1] == c:
            return kernel[:FILTERS].float().cpu().numpy()
        return None


def _back_projected(layer: HiddenLayer, below: Tensor | None, *, first: bool) -> Tensor | None:
    """Return W_k … W_1 of dense layers, ``(units, inputs)``."""
    if not isinstance(layer.affine, nn.Linear) or (below is None and not first):
        return None
    weight = layer.affine.weight
    if below is None:
        return weight
    return weight @ below if weight.shape[1] == len(below) else None


def _down(taught: Sequence[TaughtLayer]) -> Callable[[Tensor], Tensor] | None:
    """Return what leads from the last layer's units to the first one's inputs, by means, if all layers have models."""
    models = [one.model for one in taught]
    if any(not isinstance(model, RBM | Autoencoder) for model in models):
        return None

    def down(h: Tensor) -> Tensor:
        for model in reversed(models):
            if isinstance(model, RBM):
                h = model.visible_given(h.flatten(1))
            else:
                assert isinstance(model, Autoencoder) and model.likelihood is not None
                outputs = model.decode(h)
                h = model.likelihood.mean(outputs.flatten(1)).reshape(outputs.shape)
        return h

    return down


def _sampled(rbm: RBM, generator: Generator) -> Tensor:
    """Return hidden units of independent chains."""
    v = rbm.visible.sample(rbm.weight.new_zeros(PICTURES, rbm.n_visible), generator)
    return rbm.sample_hidden(rbm.gibbs(v, _SWEEPS, generator), generator)


def _histogram(values: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    flat = values.detach().flatten().double().cpu().numpy()
    low, high = float(flat.min()), float(flat.max())
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-30):
        low, high = low - 0.5, high + 0.5
    return np.histogram(flat, bins=_BINS, range=(low, high))
