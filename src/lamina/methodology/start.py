"""How a network starts: scheme of the weights, those of an earlier run, their scale, pre-training of its layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lamina.data.stream import Stream
from lamina.initialisers import initialise
from lamina.likelihoods import Likelihood
from lamina.methodology.pretrained import PretrainedLayer
from lamina.methodology.pretraining import Watch, pretrain
from lamina.nn.data_driven_scale import data_driven_scale
from lamina.runs.features import make_features
from lamina.runs.initialisation_line import read_initialisation
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.transfer import freeze, initialise_from

SMALL_FOR_WIDE = (
    "uniform_2.4 starts wide layers far too small: a standard deviation of 2.4 / (in √3), where 1 / √in keeps the "
    "signal; xavier, glorot and he do"
)
"""What is said of a scheme that is kept for comparison."""


class Started(NamedTuple):
    """What a network started from.

    Attributes:
        copied: The weights that were copied from an earlier run, by name, as they were.
        pretrained: What became of the layers that were pre-trained.
    """

    copied: dict[str, Tensor]
    pretrained: tuple[PretrainedLayer, ...]


def start(
    model: nn.Module,
    settings: Settings,
    likelihood: Likelihood,
    data: Stream,
    say: Callable[[str], None],
    *,
    every: Stream | None = None,
    spec: object = None,
    watch: Watch | None = None,
) -> Started:
    """Give a network the start that the settings ask for, in place.

    Args:
        model: Freshly built, on its device.
        settings: Without an open choice.
        likelihood: Reads its outputs.
        data: The training examples.
        say: Receives what was copied from an earlier run, and what is known against the scheme.
        every: The inputs of all examples, unlabelled ones among them, for learning without targets; None is ``data``.
        spec: What the examples look like.
        watch: Who is told of pre-training, and where it is kept.

    Returns:
        What was copied, and what became of the layers. A network of a kind that a setting cannot be applied to is a
        ``ConfigError``.
    """
    copied: dict[str, Tensor] = {}
    generator = torch.Generator(next(model.parameters()).device).manual_seed(settings.seed)
    if settings.initialisation is not None:
        choice = read_initialisation(settings.initialisation)
        initialise(model, choice.scheme, generator, bias=choice.bias)
        if choice.name == "uniform_2.4":
            say(SMALL_FOR_WIDE)
    if settings.start_from is not None:
        source = Predictor.load(Path(settings.start_from)).model
        done = initialise_from(model, source)
        left = (*done.absent, *done.reshaped)
        rest = f"; as drawn: {', '.join(left)}" if left else ""
        copied = {name: p.detach().clone() for name, p in model.named_parameters() if name in done.copied}
        say(f"{len(done.copied)} of {len(done.copied) + len(left)} weights from {settings.start_from}{rest}")
    if settings.features is not None:
        make_features(model, settings.features, data, settings.seed)
    if settings.data_scale:
        data_driven_scale(model, next(iter(data.batches(0))).inputs)
    layers = pretrain(model, settings, likelihood, data, every=every or data, spec=spec, watch=watch or Watch(say=say))
    if settings.freeze:
        freeze(model, *settings.freeze)
    return Started(copied, layers)
