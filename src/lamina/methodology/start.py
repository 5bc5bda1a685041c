"""How a network starts: scheme of the weights, those of an earlier run, their scale, layer-by-layer pre-training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lamina.data.stream import Stream
from lamina.errors import ConfigError
from lamina.initialisers import initialise
from lamina.likelihoods import Likelihood
from lamina.nn.data_driven_scale import data_driven_scale
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.layerwise import pretrain_layerwise
from lamina.training.objective import Supervised
from lamina.training.transfer import freeze, initialise_from


def start(
    model: nn.Module, settings: Settings, likelihood: Likelihood, data: Stream, say: Callable[[str], None]
) -> dict[str, Tensor]:
    """Give a network the start that the settings ask for, in place.

    Args:
        model: Freshly built, on its device.
        settings: Without an open choice.
        likelihood: Reads its outputs.
        data: The training examples.
        say: Receives what was copied from an earlier run.

    Returns:
        The weights that were copied, by name, as they were.

    Raises:
        ConfigError: If the network is of a kind that a setting cannot be applied to.
    """
    copied: dict[str, Tensor] = {}
    generator = torch.Generator(next(model.parameters()).device).manual_seed(settings.seed)
    if settings.initialisation is not None:
        initialise(model, settings.initialisation, generator)
    if settings.start_from is not None:
        source = Predictor.load(Path(settings.start_from)).model
        done = initialise_from(model, source)
        left = (*done.absent, *done.reshaped)
        rest = f"; as drawn: {', '.join(left)}" if left else ""
        copied = {name: p.detach().clone() for name, p in model.named_parameters() if name in done.copied}
        say(f"{len(done.copied)} of {len(done.copied) + len(left)} weights from {settings.start_from}{rest}")
    if settings.data_scale:
        data_driven_scale(model, next(iter(data.batches(0))).inputs)
    if settings.pretrain:
        if not isinstance(model, nn.Sequential):
            raise ConfigError(
                "layer-by-layer pre-training needs a chain of layers",
                where="pretrain",
                mend="use model=mlp, or pretrain=0",
            )
        pretrain_layerwise(
            model,
            data,
            Supervised(likelihood),
            epochs=settings.pretrain,
            generator=torch.Generator().manual_seed(settings.seed + 1),
        )
    if settings.freeze:
        freeze(model, *settings.freeze)
    return copied
