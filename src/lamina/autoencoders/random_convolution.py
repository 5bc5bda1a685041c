"""Convolutional features from kernels that never learn: random, designed by hand or learnt elsewhere."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from lamina.errors import ConfigError

Rectification = Literal["absolute", "relu", "tanh-absolute", "none"]
Pooling = Literal["average", "max", "root-mean-square"]


class FixedConvolution(nn.Module):
    """One stage of features whose kernels never learn: convolution, rectification, contrast, pooling.

        y_k = Σ_c w_kc * x_c                                                                  valid convolution
        r = |y|  or  max(0, y)  or  |tanh y|
        v_k = r_k - m,   m_ij = Σ_pq g_pq mean_k r_k,i+p,j+q                                   subtractive
        n_k = v_k / max(c, σ),   σ_ij = √(Σ_pq g_pq mean_k v²_k,i+p,j+q),   c = mean_ij σ      divisive
        pooled over windows of ``pool`` × ``pool``, ``pool_stride`` apart: mean, max, or √(mean of squares)

    g is a Gaussian whose window is what lies within the map, its weights made to add up to 1 again. Rectification and
    contrast do more for such a stage than learning the kernels: with both, random kernels come close to learnt ones
    where there are few labels. Kernels are buffers: an optimizer never sees them, and no gradient reaches them; inputs
    do get theirs. Stages follow one another in an ``nn.Sequential``; a linear classifier ends it.

    Args:
        weight: w, (K, C, k, k): ``random_kernels``, Gabor functions, or centroids of ``KMeansFeatures`` as pictures.
        rectification: r.
        contrast: Side of g's window, odd; g's standard deviation is a quarter of it. 0 leaves this step out.
        pooling: Which pooling.
        pool: Side of a pooling window; 1 leaves pooling out.
        pool_stride: From one window to the next; None is ``pool``.

    Raises:
        ConfigError: If an argument is out of range.

    References: Jarrett, Kavukcuoglu, Ranzato & LeCun, "What Is the Best Multi-Stage Architecture for Object
    Recognition?", ICCV 2009, section 2 (there second-stage kernels see some of the maps only, here all, and a gain
    follows tanh); Saxe, Koh, Chen, Bhand, Suresh & Ng, "On Random Weights and Unsupervised Feature Learning", ICML
    2011 (root-mean-square pooling without contrast; there the root of the sum).
    """

    def __init__(
        self,
        weight: Float[Tensor, "K C k k"],
        *,
        rectification: Rectification = "absolute",
        contrast: int = 9,
        pooling: Pooling = "average",
        pool: int = 4,
        pool_stride: int | None = None,
    ) -> None:
        super().__init__()
        if rectification not in get_args(Rectification) or pooling not in get_args(Pooling):
            raise ConfigError(
                f"unknown rectification {rectification!r} or pooling {pooling!r}",
                where="FixedConvolution",
                mend=f"use one of {', '.join(get_args(Rectification))}, and one of {', '.join(get_args(Pooling))}",
            )
        stride = pool if pool_stride is None else pool_stride
        if contrast < 0 or (contrast and contrast % 2 == 0) or min(pool, stride) < 1:
            raise ConfigError(
                f"contrast must be odd or 0 and pool and its stride at least 1, got {contrast!r}, {pool!r}, {stride!r}",
                where="FixedConvolution",
                mend="use contrast=9, pool=4",
            )
        self.weight: Tensor
        self.register_buffer("weight", weight.detach().clone())
        self.rectification, self.contrast = rectification, contrast
        self.pooling, self.pool, self.pool_stride = pooling, pool, stride

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return the pooled maps."""
        maps = conv2d(x, self.weight)
        if self.rectification == "relu":
            maps = maps.relu()
        elif self.rectification != "none":
            maps = (maps.tanh() if self.rectification == "tanh-absolute" else maps).abs()
        if self.contrast:
            maps = _same_contrast(maps, self.contrast)
        if self.pooling == "max":
            return max_pool2d(maps, self.pool, self.pool_stride)
        if self.pooling == "average":
            return avg_pool2d(maps, self.pool, self.pool_stride)
        return _root(avg_pool2d(maps.square(), self.pool, self.pool_stride))

    def extra_repr(self) -> str:
        """Return the sizes and the steps."""
        kernels, channels, side, _ = self.weight.shape
        return (
            f"{channels}, {kernels}, size={side}, rectification={self.rectification}, contrast={self.contrast}, "
            f"pooling={self.pooling}, pool={self.pool}, pool_stride={self.pool_stride}"
        )


def random_kernels(
    kernels: int, channels: int, size: int, generator: Generator | None = None
) -> Float[Tensor, "K C k k"]:
    """Draw kernels with normal weights, each of length 1.

    Args:
        kernels: K.
        channels: C.
        size: Side, pixels.
        generator: Source of the weights; None is PyTorch's default generator.

    Returns:
        On the CPU, float32 (or the default type).

    Raises:
        ConfigError: If a size is below 1.
    """
    if min(kernels, channels, size) < 1:
        raise ConfigError(
            f"sizes must be at least 1, got {kernels!r}, {channels!r} and {size!r}", where="random_kernels"
        )
    weight = torch.randn(kernels, channels, size, size, generator=generator)
    kept: Tensor = weight / weight.flatten(1).norm(dim=1)[:, None, None, None]
    return kept


def _same_contrast(maps: Tensor, window: int) -> Tensor:
    offsets = torch.arange(window, dtype=maps.dtype, device=maps.device) - window // 2
    g = torch.exp(-0.5 * (offsets * 4 / window) ** 2)
    inside = _blurred(maps.new_ones(1, 1, *maps.shape[2:]), g)
    centred = maps - _blurred(maps.mean(1, keepdim=True), g) / inside
    deviation = _root(_blurred(centred.square().mean(1, keepdim=True), g) / inside)
    # Where a whole picture is flat, c is 0 and so is what stands above it.
    floor = deviation.mean((2, 3), keepdim=True).clamp_min(torch.finfo(maps.dtype).eps)
    return centred / torch.maximum(deviation, floor)


def _blurred(x: Tensor, g: Tensor) -> Tensor:
    # (N, 1, h, w) by a separable window, zeros outside.
    side = len(g)
    return conv2d(
        conv2d(x, g.view(1, 1, side, 1), padding=(side // 2, 0)), g.view(1, 1, 1, side), padding=(0, side // 2)
    )


def _root(x: Tensor) -> Tensor:
    # With a finite slope at 0, so that inputs can be trained through it.
    return (x + math.sqrt(torch.finfo(x.dtype).tiny)).sqrt()
