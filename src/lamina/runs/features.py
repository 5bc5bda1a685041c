"""The setting ``features``: what stands between the inputs and the network, made once from them and then fixed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from lamina.autoencoders.dictionary import learn_dictionary
from lamina.autoencoders.kmeans_features import KMeansFeatures
from lamina.autoencoders.matching_pursuit import MatchingPursuitFeatures
from lamina.data.spec import ImageSpec, VectorSpec
from lamina.data.stream import Stream
from lamina.errors import ConfigError, nearest, shown
from lamina.io.option_lines import options_of, read_options

Spec = VectorSpec | ImageSpec

_EXAMPLES = 20_000
"""Features are made from so many training examples at most."""


class Features(Protocol):
    """What a line asks for."""

    def layers(self, spec: Spec) -> tuple[OrderedDict[str, nn.Module], int]:
        """Return the layers, their buffers still to be filled, and how many numbers come out."""
        ...

    def make(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer called ``features``, made from what goes into it."""
        ...


@dataclass(frozen=True)
class MatchingPursuit:
    """Codes of orthogonal matching pursuit over a learnt dictionary, signs apart (Coates & Ng 2011).

    Attributes:
        atoms: Of the dictionary; twice as many features.
        k: Most atoms of a code.
    """

    atoms: int = 128
    k: int = 1

    def layers(self, spec: Spec) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build the layers.

        Returns:
            They, and the width behind them.

        Raises:
            ConfigError: If a code cannot have so many atoms.
        """
        width = _width(spec)
        if not 1 <= self.k <= min(self.atoms, width):
            raise ConfigError(
                f"k must lie between 1 and {min(self.atoms, width)}, got {self.k}", where="features", mend="use k=1"
            )
        flat = OrderedDict[str, nn.Module]([("flatten", nn.Flatten())] if isinstance(spec, ImageSpec) else [])
        flat["features"] = MatchingPursuitFeatures(torch.ones(width, self.atoms), self.k, split_signs=True)
        return flat, 2 * self.atoms

    def make(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return codes over a dictionary learnt from the inputs."""
        dictionary = learn_dictionary(inputs, self.atoms, self.k, generator=Generator().manual_seed(seed))
        return MatchingPursuitFeatures(dictionary, self.k, split_signs=True)


@dataclass(frozen=True)
class KMeans:
    """Triangle features of k-means over whitened patches, pooled over a grid (Coates, Lee & Ng 2011).

    Attributes:
        centroids: How many.
        size: Side of a patch.
        stride: From patch to patch.
        grid: Cells along a side.
    """

    centroids: int = 200
    size: int = 6
    stride: int = 1
    grid: int = 2

    def layers(self, spec: Spec) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build the layers.

        Returns:
            They, and the width behind them.

        Raises:
            ConfigError: If the inputs are no pictures.
        """
        if not isinstance(spec, ImageSpec):
            raise ConfigError("k-means features are for pictures", where="features", mend="use features=omp")
        numbers = spec.channels * self.size**2
        module = KMeansFeatures(
            torch.zeros(numbers),
            torch.eye(numbers),
            torch.zeros(self.centroids, numbers),
            size=self.size,
            stride=self.stride,
            grid=self.grid,
            contrast=_CONTRAST,
        )
        return OrderedDict[str, nn.Module](features=module), module.n_features

    def make(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return features by centroids of the inputs' patches."""
        return KMeansFeatures.fit(
            inputs,
            self.centroids,
            self.size,
            stride=self.stride,
            grid=self.grid,
            contrast=_CONTRAST,
            generator=Generator().manual_seed(seed),
        )


_CONTRAST = 10 / 64**2  # of standardised pixels: their spread is about 64 of 255 grey levels

FEATURES: dict[str, type[MatchingPursuit] | type[KMeans]] = {"omp": MatchingPursuit, "k-means": KMeans}


def read_features(line: str) -> MatchingPursuit | KMeans:
    """Read ``NAME[:OPTION=VALUE...]``.

    Args:
        line: For instance ``omp:atoms=200:k=2``.

    Returns:
        What it asks for.

    Raises:
        ConfigError: If there is no such, or an option is wrong.
    """
    name, *rest = line.split(":")
    name = name.strip()
    if name not in FEATURES:
        raise ConfigError(
            f'there are no features "{shown(name)}"{nearest(name, list(FEATURES))}',
            where="features",
            mend=f"features: {', '.join(FEATURES)}",
        )
    made = FEATURES[name](**read_options(name, rest, options_of(FEATURES[name]), where="features"))
    for entry in fields(made):
        if not 1 <= getattr(made, entry.name) <= 100_000:
            raise ConfigError(f"{entry.name} must be at least 1", where="features", mend=f"use {entry.name}=1")
    return made


def feature_layers(line: str, spec: Spec) -> tuple[OrderedDict[str, nn.Module], int]:
    """Return the layers that stand before a network's own, the last of which standardises each feature.

    Args:
        line: See ``read_features``.
        spec: What the inputs look like.

    Returns:
        Modules by name, and how many numbers come out.

    Raises:
        ConfigError: If they cannot be made of such inputs.
    """
    if isinstance(spec, VectorSpec) and spec.cardinalities:
        raise ConfigError(
            "features are made of numbers, and there are columns of categories",
            where="features",
            mend="leave these out with ignore=, or leave features out",
        )
    layers, width = read_features(line).layers(spec)
    layers["feature_norm"] = nn.BatchNorm1d(width, affine=False)
    return layers, width


@torch.no_grad()
def make_features(model: nn.Module, line: str, data: Stream, seed: int) -> None:
    """Make the features of a network from training examples, in place.

    Args:
        model: A chain with a layer called ``features``.
        line: What was asked for.
        data: The training examples.
        seed: Decides what is drawn.
    """
    assert isinstance(model, nn.Sequential)
    names = [name for name, _ in model.named_children()]
    before = list(model.children())[: names.index("features")]
    taken, n = [], 0
    for batch in data.batches(0):
        x = batch.inputs
        for layer in before:
            x = layer(x)
        taken.append(x)
        n += len(x)
        if n >= _EXAMPLES:
            break
    inputs = torch.cat(taken)
    made = read_features(line).make(inputs.cpu(), seed)
    model.get_submodule("features").load_state_dict(made.state_dict())


def _width(spec: Spec) -> int:
    if isinstance(spec, ImageSpec):
        return spec.channels * spec.height * spec.width
    return spec.n_numeric
