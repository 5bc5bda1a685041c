"""Greedy learning of a layer as the encoder of an autoencoder of its inputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate
from torch.optim import SGD, Optimizer

from lamina.autoencoders.autoencoder import Autoencoder, Inputs, reading
from lamina.autoencoders.corruption import Corruption
from lamina.autoencoders.reconstruction import Reconstruction
from lamina.autoencoders.transposed_convolution import transposed_convolution
from lamina.data.stream import InMemory, Stream
from lamina.errors import ConfigError
from lamina.nn.linear import linear
from lamina.nn.tied_linear import Convolution, TiedLinear
from lamina.penalties.base import Penalty
from lamina.training.gradient_step import GradientStep
from lamina.training.hidden_layers import HiddenLayer
from lamina.training.step import Step


@dataclass(frozen=True)
class AutoencoderLayer:
    """A ``LayerLearner``: the layer becomes the encoder of an autoencoder, trained in place; the decoder is new.

        min  -(1/N) Σ_n log p(x_n | g(f(x̃_n))) + penalty,   f the layer with its activation,   g affine

    For ``lamina.training.pretrain_greedy``: with it stacked autoencoders, with a corruption stacked denoising ones,
    with ``Contractive()`` stacked contractive ones. Any activation and normalisation may follow the weight; dropout is
    in effect while the layer learns. A convolution's decoder is a transposed convolution; behind pooling, the pooled
    maps are first repeated to the size of the convolution's.

    Attributes:
        rate: Learning rate. The loss is summed over the inputs, so that hundreds of them ask for a small one.
        corruption: See ``Reconstruction``.
        tied: Whether g uses the layer's weights.
        likelihood: "bernoulli" for inputs between 0 and 1, "gaussian" for others; None looks at all inputs of the layer
            and takes the first where it can.
        penalty: See ``Reconstruction``.
        optimizer: Makes the optimizer, called with the parameters and ``lr=rate``; ``torch.optim.Adam`` with a rate of
            0.001 wants less care.

    Raises:
        ConfigError: If the rate is not above 0.

    References: Bengio, Lamblin, Popovici & Larochelle, "Greedy Layer-Wise Training of Deep Networks", NeurIPS 2006;
    Vincent, Larochelle, Bengio & Manzagol, ICML 2008, section 2.3 (denoising); Rifai, Vincent, Muller, Glorot &
    Bengio, ICML 2011 (contractive); Masci, Meier, Cireşan & Schmidhuber, ICANN 2011 (convolutions).
    """

    rate: float = 0.1
    corruption: Corruption | None = None
    tied: bool = True
    likelihood: Inputs | None = None
    penalty: Penalty | None = None
    optimizer: Callable[..., Optimizer] = SGD

    def __post_init__(self) -> None:
        if not self.rate > 0.0:
            raise ConfigError(f"rate must be above 0, got {self.rate!r}", where="AutoencoderLayer", mend="use 0.1")

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> Step:
        """Return the step that trains the layer and a new decoder.

        Args:
            layer: One with an affine or convolution module.
            inputs: What the layer sees.
            generator: Source of the decoder's weights and of the corruption.

        Returns:
            A step whose model is an ``Autoencoder``.
        """
        some = next(iter(inputs.batches(0))).inputs[:2]
        kind = self.likelihood or ("bernoulli" if _all_between(inputs) else "gaussian")
        likelihood = reading(kind, some[0].numel(), "AutoencoderLayer")
        encoder = layer.encoder
        with torch.device(generator.device):
            decoder = self._decoder(layer, some, generator)
        model = Autoencoder(encoder, decoder.to(next(encoder.parameters())), likelihood)
        objective = Reconstruction(likelihood, self.corruption, self.penalty, generator)
        return GradientStep(model, objective, self.optimizer(list(model.parameters()), lr=self.rate))

    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        """Do nothing: the layer itself has learnt."""

    def _decoder(self, layer: HiddenLayer, some: Tensor, generator: Generator) -> nn.Module:
        affine, shapes = layer.affine, _shapes(layer.encoder, some)
        code = shapes[-1]
        if isinstance(affine, nn.Linear) and some.ndim == 2:
            if not self.tied:
                return linear(code.numel(), affine.in_features, "glorot", generator)
            if code != shapes[0]:
                raise ConfigError(
                    f"the code {tuple(code)} is not as wide as the affine map {tuple(shapes[0])}: nothing to tie",
                    where=f"AutoencoderLayer, {layer.name}",
                    mend="use tied=False",
                )
            return TiedLinear(affine)
        if isinstance(affine, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            return self._maps_decoder(affine, shapes, some.shape[2:], generator)
        raise ConfigError(
            f"cannot decode {type(affine).__name__} over inputs {tuple(some.shape[1:])}",
            where=f"AutoencoderLayer, {layer.name}",
            mend="use nn.Linear over vectors, or a convolution",
        )

    def _maps_decoder(
        self, affine: Convolution, shapes: list[torch.Size], size: torch.Size, generator: Generator
    ) -> nn.Module:
        own, code = shapes[0], shapes[-1]
        maps = [shape for shape in shapes if len(shape) == len(own)][-1]
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        if code != maps:
            modules["unflatten"] = nn.Unflatten(1, tuple(maps))
        if maps[1:] != own[1:]:
            modules["repeat"] = _Repeat(own[1:])
        modules["transposed"] = transposed_convolution(
            affine, size, channels=maps[0], tied=self.tied, generator=generator
        )
        return nn.Sequential(modules)


class _Repeat(nn.Module):
    # Repeats the values of pooled maps, up to a size.

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, h: Tensor) -> Tensor:
        return interpolate(h, self.size, mode="nearest")


@torch.no_grad()
def _shapes(encoder: nn.Sequential, some: Tensor) -> list[torch.Size]:
    """Return the shape, without the batch axis, of what each module of an encoder gives."""
    mode = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    h, shapes = some.to(next(encoder.parameters())), []
    for module in encoder:
        h = module(h)
        shapes.append(h.shape[1:])
    for module, was in mode:
        module.training = was
    return shapes


def _all_between(inputs: Stream) -> bool:
    """Return whether all inputs lie between 0 and 1: an epoch is looked through until one does not."""
    if isinstance(inputs, InMemory) and inputs.augment is None and inputs.rows is None:
        return _between(inputs.data.inputs)
    return all(_between(batch.inputs) for batch in inputs.batches(0))


def _between(x: Tensor) -> bool:
    return bool((x.amin() >= 0.0) & (x.amax() <= 1.0))
