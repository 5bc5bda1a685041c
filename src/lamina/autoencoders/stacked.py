"""Stacked autoencoders: layers that were trained one by one, unrolled into one deep autoencoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy

from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.errors import ConfigError
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.nn.tied_linear import TiedLinear
from lamina.training.greedy import GreedyLayer


def unroll(layers: Sequence[GreedyLayer], *, tied: bool = True) -> Autoencoder:
    """Return the deep autoencoder that greedily trained ones make, all encoders and then all decoders.

        f = f_L ∘ … ∘ f_1,   g = g_1 ∘ m_2 ∘ g_2 ∘ … ∘ m_L ∘ g_L,   m_k the mean of what layer k's outputs mean

    m is the sigmoid where layer k read its inputs as probabilities, and nothing where as real numbers. Untrained, it
    computes just the layers' reconstructions one within another; ``Reconstruction`` with its ``likelihood``
    fine-tunes it. It is made of the network's own layers, so that fine-tuning it is fine-tuning them; the network with
    its output layer can follow.

    Args:
        layers: What ``pretrain_greedy`` returned, with ``AutoencoderLayer`` as the learner.
        tied: False gives the decoder weights of its own, equal at the start, where it was trained with the encoder's:
            a deep autoencoder fine-tunes to a lower error so.

    Returns:
        An autoencoder of what the first layer with a weight reads.

    Raises:
        ConfigError: If there are no layers, or a layer's model is no autoencoder.

    Reference: Bengio, Lamblin, Popovici & Larochelle, "Greedy Layer-Wise Training of Deep Networks", NeurIPS 2006;
    Vincent, Larochelle, Lajoie, Bengio & Manzagol, "Stacked Denoising Autoencoders", JMLR 11, 2010, section 3.4.
    """
    if not layers:
        raise ConfigError("there are no layers to unroll", where="unroll")
    encoder: OrderedDict[str, nn.Module] = OrderedDict()
    decoder: list[tuple[str, nn.Module]] = []
    for trained in layers:
        model, layer = trained.model, trained.layer
        if not isinstance(model, Autoencoder):
            raise ConfigError(
                f'layer "{layer.name}" was trained as {type(model).__name__}, which has no decoder of its own',
                where="unroll",
                mend="use AutoencoderLayer, or unroll_rbms for restricted Boltzmann machines",
            )
        encoder.update(layer.encoder.named_children())
        if decoder and isinstance(model.likelihood, Bernoulli):
            decoder.append((f"sigmoid{layer.number - 1}", nn.Sigmoid()))
        decoder.append((layer.name, model.decoder if tied else _untied(model.decoder)))
    first = layers[0].model
    assert isinstance(first, Autoencoder)
    return Autoencoder(nn.Sequential(encoder), nn.Sequential(OrderedDict(reversed(decoder))), first.likelihood)


def _untied(decoder: nn.Module) -> nn.Module:
    """Return a decoder that computes the same with weights of its own."""
    if isinstance(decoder, TiedLinear):
        return decoder.untied()
    return deepcopy(decoder)  # a transposed convolution's weight is the encoder's, its copy's is not
