"""Preparations as layers in front of a network: what was learnt of them is kept in buffers, with the weights."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lamina.data.preprocessing import (
    GlobalContrast,
    LocalContrast,
    RangeScaling,
    Spectrogram,
    Sphering,
    Standardisation,
)


class Elementwise(nn.Module):
    """y = (x - centre) ⊙ factor + offset, each number of an example for itself.

    Input and output (N, ...).

    Args:
        shape: Of an example.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.centre: Tensor
        self.factor: Tensor
        self.offset: Tensor
        self.register_buffer("centre", torch.zeros(shape))
        self.register_buffer("factor", torch.ones(shape))
        self.register_buffer("offset", torch.zeros(shape))

    @staticmethod
    def of(preparation: Standardisation | RangeScaling) -> Elementwise:
        """Return the layer that computes what a preparation of single numbers does."""
        if isinstance(preparation, Standardisation):
            centre = preparation.mean
        else:
            centre = preparation.minimum / 2 + preparation.maximum / 2
        at, above = preparation.transform(np.stack([centre, centre + 1]))
        made = Elementwise(centre.shape)
        _fill(made, centre=centre, factor=above - at, offset=at)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return (x - self.centre) * self.factor + self.offset


class Projection(nn.Module):
    """y = V (x - mean), an example read as one vector.

    Input (N, ...) of D numbers an example; output (N, k), or of the input's shape where it is kept.

    Args:
        shape: Of an example.
        width: k.
        keep_shape: Whether y has the shape of x.
    """

    def __init__(self, shape: tuple[int, ...], width: int, *, keep_shape: bool) -> None:
        super().__init__()
        self.mean: Tensor
        self.weight: Tensor
        self.register_buffer("mean", torch.zeros(math.prod(shape)))
        self.register_buffer("weight", torch.zeros(width, math.prod(shape)))
        self.keep_shape = keep_shape

    @staticmethod
    def of(sphering: Sphering, width: int) -> Projection:
        """Return the layer that computes what sphering does.

        Args:
            sphering: Learnt from examples.
            width: Numbers that come out: components beyond those in which the examples vary are 0.

        Returns:
            The layer.
        """
        shape, n = sphering.mean.shape, sphering.mean.size
        units = np.eye(n).reshape(n, *shape) + sphering.mean
        rows = sphering.transform(units).reshape(n, -1).T
        made = Projection(shape, width, keep_shape=sphering.kind == "zca")
        _fill(made, mean=sphering.mean.reshape(-1), weight=np.pad(rows, ((0, width - len(rows)), (0, 0))))
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        y = nn.functional.linear(x.flatten(1) - self.mean, self.weight)
        return y.view_as(x) if self.keep_shape else y


class Computed(nn.Module):
    """A preparation of which nothing is learnt: the contrast of pictures, the spectrogram of signals.

    Input (N, C, H, W), or (N, T) signals, whose spectrograms come out as vectors.

    Args:
        preparation: What is computed.
    """

    def __init__(self, preparation: GlobalContrast | LocalContrast | Spectrogram) -> None:
        super().__init__()
        self.preparation = preparation

    def forward(self, x: Tensor) -> Tensor:
        """Return what is computed, on the device of x."""
        near = x.cpu() if x.device.type == "mps" else x  # which has no float64
        y = self.preparation.transform(near).to(x.device)
        return y.flatten(1) if isinstance(self.preparation, Spectrogram) else y

    def extra_repr(self) -> str:
        """Return what is computed."""
        return repr(self.preparation)


class _Buffered(Protocol):
    def get_buffer(self, target: str) -> Tensor: ...


def _fill(module: _Buffered, **arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        module.get_buffer(name).copy_(torch.from_numpy(np.asarray(array)))
