"""Preparations in front of a network: scaling, sphering, contrast, spectrograms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from lamina.data.preprocessing import (
    GlobalContrast,
    LocalContrast,
    RangeScaling,
    Spectrogram,
    Sphering,
    Standardisation,
)
from lamina.runs.prepared import Computed, Elementwise, Projection
from lamina.runs.stage import Reads, Shape, refusal

_MOST_SPHERED = 4096
"""Numbers of an example that are sphered together at most: the matrix has as many rows and columns."""


@dataclass(frozen=True)
class Standardise:
    """Each number of an example to mean 0 and deviation 1 over the training part (``Standardisation``)."""

    reads: ClassVar[Reads] = "all"
    code: ClassVar[bool] = False

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the shape of the examples."""
        return Elementwise(shape), shape

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer with the inputs' means and deviations."""
        return Elementwise.of(Standardisation.fit(inputs))


@dataclass(frozen=True)
class Range:
    """The training part's smallest value of each number to ``low``, the largest to ``high`` (``RangeScaling``).

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float = -1.0
    high: float = 1.0
    reads: ClassVar[Reads] = "all"
    code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise refusal(f"low must be below high, got {self.low:g} and {self.high:g}", "use range:low=-1:high=1")

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the shape of the examples."""
        return Elementwise(shape), shape

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer with the inputs' ranges."""
        return Elementwise.of(RangeScaling.fit(inputs, (self.low, self.high)))


@dataclass(frozen=True)
class _Whitening:
    """Sphering: no correlation, equal variances.

    Attributes:
        epsilon: Added to each component's variance; keeps weak ones from being blown up.
    """

    epsilon: float = 0.01
    reads: ClassVar[Reads] = "all"
    code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.epsilon >= 0.0:
            raise refusal(f"epsilon must be at least 0, got {self.epsilon:g}", "use epsilon=0.01")

    def _size(self, shape: Shape) -> int:
        size = math.prod(shape)
        if size > _MOST_SPHERED:
            raise refusal(
                f"at most {_MOST_SPHERED:,} numbers are sphered together, and an example has {size:,}",
                "use image_size=32, or leave sphering out",
            )
        return size


@dataclass(frozen=True)
class ZCA(_Whitening):
    """Sphered inputs that stay as near to the inputs as can be, in their shape (``Sphering`` of kind zca)."""

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the shape of the examples."""
        return Projection(shape, self._size(shape), keep_shape=True), shape

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer that spheres the inputs."""
        return Projection.of(Sphering.fit(inputs, "zca", epsilon=self.epsilon), inputs[0].numel())


@dataclass(frozen=True)
class PCA(_Whitening):
    """The strongest principal components, each of the same variance (``Sphering`` of kind pca).

    Attributes:
        components: How many; None keeps as many as an example has numbers, those without variance 0.
    """

    components: int | None = None

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the number of components."""  # noqa: DOC501
        size = self._size(shape)
        width = self.components or size
        if width > size:
            raise refusal(f"an example of {size} numbers has no {width} components", f"use components={size}")
        return Projection(shape, width, keep_shape=False), (width,)

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer that projects onto the inputs' components."""
        found = Sphering.fit(inputs, "pca", components=self.components, epsilon=self.epsilon)
        return Projection.of(found, self.components or inputs[0].numel())


@dataclass(frozen=True)
class GlobalContrastStage:
    """Every picture with mean 0 and the same contrast: options as of ``GlobalContrast``, in standardised pixels.

    Attributes:
        s: Wanted deviation.
        lam: Added to the picture's variance.
        epsilon: Least deviation to divide by.
    """

    s: float = 1.0
    lam: float = 0.0
    epsilon: float = 1e-8
    reads: ClassVar[Reads] = "pictures"
    code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._preparation()

    def _preparation(self) -> GlobalContrast:
        return GlobalContrast(self.s, self.lam, self.epsilon)

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the shape of the examples."""
        return Computed(self._preparation()), shape

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer, of which nothing is learnt."""
        return Computed(self._preparation())


@dataclass(frozen=True)
class LocalContrastStage:
    """The same contrast in every window of a picture: options as of ``LocalContrast``, in standardised pixels.

    Attributes:
        size: Side of the window, odd.
        sigma: Deviation of a Gaussian window in pixels; None weighs all of it alike.
        s: Wanted deviation.
        lam: Added to a window's variance.
        epsilon: Least deviation to divide by.
    """

    size: int = 9
    sigma: float | None = None
    s: float = 1.0
    lam: float = 0.0
    epsilon: float = 1e-4
    reads: ClassVar[Reads] = "pictures"
    code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size % 2 == 0:
            raise refusal(f"size must be odd, got {self.size}", "use size=9")
        self._preparation()

    def _preparation(self) -> LocalContrast:
        return LocalContrast(self.size, self.sigma, self.s, self.lam, self.epsilon)

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the shape of the examples."""
        return Computed(self._preparation()), shape

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer, of which nothing is learnt."""
        return Computed(self._preparation())


@dataclass(frozen=True)
class SpectrogramStage:
    """The power of a row of samples by time and frequency: options as of ``Spectrogram``.

    Attributes:
        rate: Samples a second.
        frame: Samples of a frame.
        hop: Samples from one frame to the next.
        bands: Mel bands; None keeps the frequencies themselves.
        cepstra: Cepstral coefficients of the bands; None keeps the bands.
    """

    rate: float = 16_000.0
    frame: int = 400
    hop: int = 160
    bands: int | None = None
    cepstra: int | None = None
    reads: ClassVar[Reads] = "vectors"
    code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._preparation()

    def _preparation(self) -> Spectrogram:
        return Spectrogram(self.rate, self.frame, self.hop, self.bands, cepstra=self.cepstra)

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer, and the number of powers."""  # noqa: DOC501
        if shape[0] < self.frame:
            raise refusal(
                f"a signal of {shape[0]} samples is shorter than a frame of {self.frame}",
                f"use spectrogram:frame={max(2, shape[0] // 4)}:hop={max(1, shape[0] // 8)}",
            )
        frames = 1 + (shape[0] - self.frame) // self.hop
        return Computed(self._preparation()), (frames * (self.cepstra or self.bands or self.frame // 2 + 1),)

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer, of which nothing is learnt."""
        return Computed(self._preparation())
