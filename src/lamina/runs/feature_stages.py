"""What can be made of the inputs in front of a network, by name: expansions and codes beside the preparations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from lamina.autoencoders.dictionary import learn_dictionary
from lamina.autoencoders.kmeans_features import KMeansFeatures
from lamina.autoencoders.matching_pursuit import MatchingPursuitFeatures
from lamina.nn import ACTIVATIONS, PolynomialBasis
from lamina.nn.classics.extreme_learning_machine import RandomUnits
from lamina.runs.preparation_stages import (
    PCA,
    ZCA,
    GlobalContrastStage,
    LocalContrastStage,
    Range,
    SpectrogramStage,
    Standardise,
)
from lamina.runs.stage import Reads, Shape, Stage, refusal


@dataclass(frozen=True)
class Polynomial:
    """Powers of each number, without the constant (``PolynomialBasis``).

    Attributes:
        degree: The highest.
    """

    degree: int = 2
    reads: ClassVar[Reads] = "vectors"
    code: ClassVar[bool] = False

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and ``degree`` times as many numbers."""
        return PolynomialBasis(self.degree, constant=False), (self.degree * shape[0],)

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer, of which nothing is learnt."""
        return PolynomialBasis(self.degree, constant=False)


@dataclass(frozen=True)
class Random:
    """Hidden units that are drawn and never learnt, as in an extreme learning machine (``RandomUnits``).

    Attributes:
        units: How many.
        activation: Of ``lamina.nn.ACTIVATIONS``, but one that nothing is learnt of.
        scale: Deviation of a unit's sum, for inputs of unit variance, from each of weights and bias.
    """

    units: int = 500
    activation: str = "tanh"
    scale: float = 1.0
    reads: ClassVar[Reads] = "vectors"
    code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if any(True for _ in self._undrawn(1).parameters()):
            fixed = [name for name, (make, _) in ACTIVATIONS.items() if not list(make().parameters())]
            raise refusal(
                f"random units stay as they are drawn, and {self.activation} learns",
                f"choose one of {', '.join(fixed)}",
            )

    def _undrawn(self, width: int) -> RandomUnits:
        with torch.device("meta"):  # nothing is drawn
            return RandomUnits(width, self.units, self.activation, self.scale)

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the number of units."""
        return self._undrawn(shape[0]).to_empty(device=torch.get_default_device()), (self.units,)

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return units drawn by the seed."""
        generator = Generator().manual_seed(seed)
        return RandomUnits(inputs.shape[1], self.units, self.activation, self.scale, generator)


@dataclass(frozen=True)
class MatchingPursuit:
    """Codes of orthogonal matching pursuit over a learnt dictionary, signs apart (Coates & Ng 2011).

    Attributes:
        atoms: Of the dictionary; twice as many features.
        k: Most atoms of a code.
    """

    atoms: int = 128
    k: int = 1
    reads: ClassVar[Reads] = "vectors"
    code: ClassVar[bool] = True

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the number of features."""  # noqa: DOC501
        most = min(self.atoms, shape[0])
        if not 1 <= self.k <= most:
            raise refusal(f"k must lie between 1 and {most}, got {self.k}", "use k=1")
        return MatchingPursuitFeatures(torch.ones(shape[0], self.atoms), self.k, split_signs=True), (2 * self.atoms,)

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
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
    reads: ClassVar[Reads] = "pictures"
    code: ClassVar[bool] = True

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the number of features."""
        numbers = shape[0] * self.size**2
        module = KMeansFeatures(
            torch.zeros(numbers),
            torch.eye(numbers),
            torch.zeros(self.centroids, numbers),
            size=self.size,
            stride=self.stride,
            grid=self.grid,
            contrast=_CONTRAST,
        )
        return module, (module.n_features,)

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
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

STAGES: dict[str, type[Stage]] = {
    "global-contrast": GlobalContrastStage,
    "k-means": KMeans,
    "local-contrast": LocalContrastStage,
    "omp": MatchingPursuit,
    "pca": PCA,
    "polynomial": Polynomial,
    "random": Random,
    "range": Range,
    "spectrogram": SpectrogramStage,
    "standardise": Standardise,
    "zca": ZCA,
}
