"""Stacked independent subspace analysis: a second layer over what copies of a first give in a window."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import conv2d

from lamina.autoencoders.patches import random_patches
from lamina.autoencoders.subspace_analysis import SubspaceAnalysis
from lamina.errors import ConfigError

_AT_ONCE = 1 << 22  # numbers of a block


class StackedSubspaceAnalysis(nn.Module):
    """Two layers of independent subspace analysis over pictures.

        first:   p_g at each place of a window, patch × patch pixels each, ``stride`` apart   (q × q places)
        second:  q_g of all of those, G₁ q² numbers, reduced and whitened by their principal components

    The first layer is learnt on small patches and copied to all places; the second is learnt, after it and greedily, on
    what the copies give in larger windows: a window's side is patch + (q - 1) stride. Pictures of any size go through
    as through a convolution, and every window, ``stride`` apart, gives G₂ numbers.

    Args:
        first: Learnt on patches of C · patch² numbers.
        second: Learnt on the G₁ q² responses of a window, places last.
        channels: C.
        patch: Side of a patch, pixels.
        stride: From one patch to the next, pixels.
        both: Whether the whitened responses of the first layer follow the second's features, as the reference has them
            for its classifier.

    Raises:
        ConfigError: If the layers do not fit on one another.

    Reference: Le, Zou, Yeung & Ng, "Learning Hierarchical Invariant Spatio-Temporal Features for Action Recognition
    with Independent Subspace Analysis", CVPR 2011, section 3.2 (for blocks of video; pictures here).
    """

    def __init__(
        self,
        first: SubspaceAnalysis,
        second: SubspaceAnalysis,
        *,
        channels: int,
        patch: int,
        stride: int,
        both: bool = False,
    ) -> None:
        super().__init__()
        groups = len(first.weight) // first.size
        self.places = round((len(second.mean) / groups) ** 0.5)
        if len(first.mean) != channels * patch**2 or groups * self.places**2 != len(second.mean) or stride < 1:
            raise ConfigError(
                f"layers of {len(first.mean)} and {len(second.mean)} inputs, the first of {groups} groups, do not fit "
                f"each other and patches of {channels} × {patch} × {patch} numbers",
                where="StackedSubspaceAnalysis",
                mend="build it with StackedSubspaceAnalysis.fit",
            )
        self.first, self.second = first, second
        self.channels, self.patch, self.stride, self.both = channels, patch, stride, both

    @classmethod
    def fit(
        cls,
        images: Float[Tensor, "N C H W"],
        *,
        patch: int,
        window: int,
        stride: int,
        groups: tuple[int, int],
        size: int = 2,
        components: tuple[int | None, int | None] = (None, None),
        n_patches: int = 20_000,
        max_steps: int = 500,
        both: bool = False,
        generator: Generator | None = None,
    ) -> StackedSubspaceAnalysis:
        """Learn the first layer on random patches, then the second on random windows.

        Args:
            images: Pictures.
            patch: Side of a patch, pixels.
            window: Side of a window, pixels; patch + (q - 1) stride for a whole q.
            stride: From one patch to the next, pixels.
            groups: G₁ and G₂.
            size: Filters of a group, in both layers.
            components: Principal components that each layer keeps; None is all in which its inputs vary.
            n_patches: Patches, and windows, that are drawn.
            max_steps: See ``SubspaceAnalysis.fit``.
            both: See the class.
            generator: Source of places and starts; None is PyTorch's default generator.

        Returns:
            The module, of the pictures' type.

        Raises:
            ConfigError: If a window does not fit its patches or the pictures, or a layer has too many groups.
        """
        if stride < 1 or window < patch or (window - patch) % stride:
            raise ConfigError(
                f"a window of {window} pixels holds no whole number of patches of {patch}, {stride} apart",
                where="StackedSubspaceAnalysis",
                mend=f"use window={patch + stride}",
            )
        channels = images.shape[1]
        patches = random_patches(images, patch, n_patches, generator)
        first = SubspaceAnalysis.fit(
            patches, groups[0], size, components=components[0], max_steps=max_steps, generator=generator
        )
        windows = random_patches(images, window, n_patches, generator).view(-1, channels, window, window)
        pooled = [_pooled(some, first, patch, stride).flatten(1) for some in torch.split(windows, 1_000)]
        second = SubspaceAnalysis.fit(
            torch.cat(pooled), groups[1], size, components=components[1], max_steps=max_steps, generator=generator
        )
        return cls(first, second, channels=channels, patch=patch, stride=stride, both=both)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F h w"]:
        """Return the features of every window, some pictures at a time; no gradient is recorded.

        Args:
            x: Pictures, not smaller than a window.

        Returns:
            F = G₂, and with ``both`` the second layer's whitened inputs after them.
        """
        second, maps = self.second, x.shape[2] * x.shape[3] // self.stride**2
        some = max(1, _AT_ONCE // (maps * max(len(self.first.weight), len(second.whitening))))
        found = []
        with torch.no_grad():
            for pictures in torch.split(x, some):
                pooled = _pooled(pictures, self.first, self.patch, self.stride)
                z = _convolved(pooled, second.whitening, second.mean, self.places, 1)
                features = second.pool(torch.einsum("fk,nkhw->nfhw", second.weight, z), 1)
                found.append(torch.cat([features, z], 1) if self.both else features)
        return torch.cat(found)

    def first_layer(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N G h w"]:
        """Return what the first layer gives, at every patch."""
        with torch.no_grad():
            return _pooled(x, self.first, self.patch, self.stride)


def _pooled(x: Tensor, layer: SubspaceAnalysis, side: int, stride: int) -> Tensor:
    return layer.pool(_convolved(x, layer.filters, layer.mean, side, stride), 1)


def _convolved(x: Tensor, rows: Tensor, mean: Tensor, side: int, stride: int) -> Tensor:
    # rows (F, C side²) of each patch less its mean.
    return conv2d(x, rows.view(len(rows), x.shape[1], side, side), -(rows @ mean), stride=stride)
