"""What a model is told of its inputs: sizes only, never data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VectorSpec:
    """One row of a table as a vector: the numeric block first, then one code per categorical feature.

    Args:
        n_numeric: Width of the numeric block (standardised numbers, missing indicators, parts of dates).
        cardinalities: Number of codes of each categorical feature, the code 0 (unseen) included.
    """

    n_numeric: int
    cardinalities: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Columns of the input matrix: ``n_numeric + len(cardinalities)``."""
        return self.n_numeric + len(self.cardinalities)


@dataclass(frozen=True)
class ImageSpec:
    """Pictures of one size, (N, channels, height, width).

    Args:
        channels: 1 for grey, 3 for red, green, blue.
        height: Rows of pixels.
        width: Columns of pixels.
    """

    channels: int
    height: int
    width: int
