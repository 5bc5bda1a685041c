"""Features that are made of the inputs once and stay as they are, in front of a network: a setting in one line."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lamina.data.spec import ImageSpec, VectorSpec
from lamina.data.stream import Stream
from lamina.errors import ConfigError, nearest, shown
from lamina.io.option_lines import options_of, read_options
from lamina.runs.feature_stages import STAGES
from lamina.runs.stage import Shape, Stage

Spec = VectorSpec | ImageSpec

_EXAMPLES = 20_000
"""Features are made from so many training examples at most."""

_AT_ONCE = 1_000
"""So many of them go through a layer together."""


@dataclass(frozen=True)
class _Named:
    """A stage, and the word that it was asked for by."""

    name: str
    stage: Stage


def read_features(line: str) -> list[_Named]:
    """Read ``NAME[:OPTION=VALUE...]``, or several joined by ``+``, of which each is made of what the one before gives.

    Args:
        line: For instance ``omp:atoms=200:k=2`` or ``global-contrast+zca:epsilon=0.1``.

    Returns:
        The stages, in order. A name or an option that there is not is a ``ConfigError``.
    """
    return [_read_one(part) for part in re.split(r"\+(?!\d)", line)]  # 1e+3 is one number


def _read_one(text: str) -> _Named:
    name, *rest = text.split(":")
    name = name.strip()
    if name not in STAGES:
        raise ConfigError(
            f'there are no features "{shown(name)}"{nearest(name, list(STAGES))}',
            where="features",
            mend=f"features: {', '.join(STAGES)}",
        )
    kind = STAGES[name]
    options = read_options(name, rest, options_of(kind), where="features")
    for key, value in options.items():
        if type(value) is int and not 1 <= value <= 100_000:
            raise ConfigError(f"{key} must be at least 1 and at most 100,000", where="features", mend=f"use {key}=1")
    try:
        return _Named(name, kind(**options))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.what}", where="features", mend=error.mend) from None


def feature_layers(line: str, spec: Spec) -> tuple[OrderedDict[str, nn.Module], int]:
    """Return the layers that stand before a network's own.

    Pictures are made vectors where a stage reads vectors, and at the end. Behind a code (``omp``, ``k-means``) that
    comes last each feature is standardised.

    Args:
        line: See ``read_features``.
        spec: What the inputs look like.

    Returns:
        Modules by name, their buffers still to be filled, and how many numbers come out.

    Raises:
        ConfigError: If they cannot be made of such inputs.
    """
    if isinstance(spec, VectorSpec) and spec.cardinalities:
        raise ConfigError(
            "features are made of numbers, and there are columns of categories",
            where="features",
            mend="leave these out with ignore=, or leave features out",
        )
    shape: Shape = (spec.channels, spec.height, spec.width) if isinstance(spec, ImageSpec) else (spec.n_numeric,)
    layers = OrderedDict[str, nn.Module]()
    stages = read_features(line)
    for name, named in zip(_names(stages), stages, strict=True):
        if named.stage.reads == "pictures" and len(shape) == 1:
            got = "vectors come from the features before it" if isinstance(spec, ImageSpec) else "these are vectors"
            mend = "put it first" if isinstance(spec, ImageSpec) else "use features=zca"
            raise ConfigError(f"{named.name} features are for pictures, and {got}", where="features", mend=mend)
        if named.stage.reads == "vectors" and len(shape) > 1:
            layers["flatten"], shape = nn.Flatten(), (math.prod(shape),)
        layers[name], shape = named.stage.layer(shape)
    if len(shape) > 1:
        layers["flatten"], shape = nn.Flatten(), (math.prod(shape),)
    if stages[-1].stage.code:
        layers["feature_norm"] = nn.BatchNorm1d(shape[0], affine=False)
    return layers, shape[0]


@torch.no_grad()
def make_features(model: nn.Module, line: str, data: Stream, seed: int) -> None:
    """Make the features of a network from training examples, in place.

    Args:
        model: A chain with layers called ``features``, ``features2``, ….
        line: What was asked for.
        data: The training examples.
        seed: Decides what is drawn.

    Raises:
        ConfigError: If the examples cannot have what is asked for, as more components than they vary in.
    """
    assert isinstance(model, nn.Sequential)
    stages = read_features(line)
    made = dict(zip(_names(stages), enumerate(stages), strict=True))
    x = _some(data)
    for name, layer in model.named_children():
        if name in made:
            k, named = made.pop(name)
            try:
                layer.load_state_dict(named.stage.made(x.cpu(), seed + k).state_dict())
            except ConfigError as error:
                raise ConfigError(f"{named.name}: {error.what}", where="features", mend=error.mend) from None
        if not made:
            return
        x = torch.cat([layer(part) for part in torch.split(x, _AT_ONCE)])


def _some(data: Stream) -> torch.Tensor:
    taken, n = [], 0
    for batch in data.batches(0):
        taken.append(batch.inputs)
        n += len(batch.inputs)
        if n >= _EXAMPLES:
            break
    return torch.cat(taken)


def _names(stages: Sequence[_Named]) -> list[str]:
    return ["features", *(f"features{k}" for k in range(2, len(stages) + 1))]
