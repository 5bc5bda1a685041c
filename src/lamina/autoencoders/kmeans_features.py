"""K-means features: centroids of whitened patches, and how far every patch of a picture is from each."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import layer_norm, normalize, unfold

from lamina.autoencoders.patches import random_patches
from lamina.data.preprocessing import Sphering
from lamina.errors import ConfigError

Encoding = Literal["triangle", "hard", "threshold"]
Clustering = Literal["euclidean", "spherical"]

_AT_ONCE = 1 << 22  # numbers of a block
_ROUNDS = 20  # of spherical k-means; it settles in about ten


class KMeansFeatures(nn.Module):
    """Features of pictures from centroids of their patches, summed over the cells of a grid.

        p = (patch - its mean) / √(its variance + λ),   z = V (p - µ)                    at every ``stride``-th place
        triangle:   f_k = max(0, mean_j d_j - d_k),   d_k = ‖z - c_k‖
        hard:       f_k = 1 for the nearest centroid, else 0
        threshold:  f_k = max(0, c_k·z - α)
        feature (k, cell) = Σ_{places in the cell} f_k                                   grid × grid cells

    About half the triangle's features are zero at each place: those of centroids farther off than the mean. Everything
    is fixed once fitted: nothing learns by gradient, and none is recorded. A linear classifier behind standardised
    features is the usual end.

    The buffers are the first three arguments: ``KMeansFeatures(**state_dict, size=…)`` rebuilds it.

    Args:
        mean: µ, (D,), D = C · size².
        whitening: V, (D, D).
        centroids: c, (K, D).
        size: Side of a patch, pixels.
        stride: From one patch to the next, pixels.
        grid: Cells along a side: 2 sums over the four quadrants. Earlier cells take the place that is left over.
        encoding: f.
        contrast: λ, above 0, in the squared units of the pixels; 10 for pixels from 0 to 255.
        threshold: α, at least 0; for the encoding of that name alone.

    Raises:
        ConfigError: If the shapes do not go together, or an argument is out of range.

    References: Coates, Lee & Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011,
    section 3; Coates & Ng, "Learning Feature Representations with K-Means", in Neural Networks: Tricks of the Trade,
    2nd edition, 2012.
    """

    def __init__(
        self,
        mean: Float[Tensor, " D"],
        whitening: Float[Tensor, "D D"],
        centroids: Float[Tensor, "K D"],
        *,
        size: int,
        stride: int = 1,
        grid: int = 2,
        encoding: Encoding = "triangle",
        contrast: float = 10 / 255**2,
        threshold: float = 0.25,
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.whitening: Tensor
        self.centroids: Tensor
        for name, value in {"mean": mean, "whitening": whitening, "centroids": centroids}.items():
            self.register_buffer(name, value.detach().clone())
        _check(size, stride, grid, encoding, contrast=contrast, threshold=threshold)
        if len(mean) % size**2:
            raise ConfigError(
                f"patches of side {size} do not have {len(mean)} numbers",
                where="KMeansFeatures",
                mend="build it with KMeansFeatures.fit",
            )
        self.size, self.stride, self.grid, self.encoding = size, stride, grid, encoding
        self.contrast, self.threshold = contrast, threshold

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        images: Float[Tensor, "N C H W"],
        centroids: int,
        size: int,
        *,
        stride: int = 1,
        grid: int = 2,
        encoding: Encoding = "triangle",
        clustering: Clustering = "euclidean",
        contrast: float = 10 / 255**2,
        whitening: float = 0.1,
        threshold: float = 0.25,
        n_patches: int = 50_000,
        generator: Generator | None = None,
    ) -> KMeansFeatures:
        """Draw patches, normalise and whiten them, and find their centroids.

            euclidean:  c_k = mean of the z nearest to it            (scikit-learn's MiniBatchKMeans)
            spherical:  ‖c_k‖ = 1,   c_k ∝ c_k + Σ_{n: k = argmax_j |c_j·z_n|} (c_k·z_n) z_n

        Args:
            images: Pictures.
            centroids: K.
            size: Side of a patch, pixels; 6 to 8 is usual.
            stride: From one patch to the next, pixels; 1 is best and dearest.
            grid: See the class.
            encoding: See the class; "threshold" goes with spherical clustering.
            clustering: Which k-means.
            contrast: λ, in the squared units of the pixels.
            whitening: ε of ``lamina.data.preprocessing.Sphering`` (zca), in the units of normalised patches: their
                variance is 1.
            threshold: α.
            n_patches: How many patches are drawn, at least K; they take n_patches · C · size² numbers.
            generator: Source of the patches and the first centroids; None is PyTorch's default generator.

        Returns:
            The module, of the pictures' type.

        Raises:
            ConfigError: If there are fewer patches than centroids, a patch does not fit, or a name is unknown.
        """
        if not 1 <= centroids <= n_patches or clustering not in get_args(Clustering):
            raise ConfigError(
                f"{centroids!r} centroids of {n_patches!r} patches by {clustering!r} clustering",
                where="KMeansFeatures",
                mend=f"draw more patches than centroids; clustering is one of {', '.join(get_args(Clustering))}",
            )
        _check(size, stride, grid, encoding, contrast=contrast, threshold=threshold)
        patches = _normalised(random_patches(images, size, n_patches, generator), contrast)
        sphering = Sphering.fit(patches, "zca", epsilon=whitening)
        scale = torch.from_numpy((sphering.variances + whitening) ** -0.5)
        rows = torch.from_numpy(sphering.components)
        mean, matrix = torch.from_numpy(sphering.mean).to(patches), ((rows.mT * scale) @ rows).to(patches)
        z = (patches - mean) @ matrix
        found = (
            _euclidean(z, centroids, generator) if clustering == "euclidean" else _spherical(z, centroids, generator)
        )
        return cls(
            mean,
            matrix,
            found,
            size=size,
            stride=stride,
            grid=grid,
            encoding=encoding,
            contrast=contrast,
            threshold=threshold,
        )

    @property
    def n_features(self) -> int:
        """K · grid²."""
        return len(self.centroids) * self.grid**2

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Return the features, some pictures at a time.

        Args:
            x: Pictures with at least grid × grid places for patches.

        Returns:
            F = K · grid²: all of a centroid's cells next to one another, row by row.

        Raises:
            ConfigError: If the pictures are too small.
        """
        height, width = ((side - self.size) // self.stride + 1 for side in x.shape[2:])
        if min(height, width) < self.grid:
            raise ConfigError(
                f"pictures of {tuple(x.shape[2:])} pixels have {height} × {width} places for patches of {self.size}",
                where="KMeansFeatures",
                mend=f"use larger pictures, or a grid below {self.grid}",
            )
        found = x.new_empty(len(x), self.n_features)
        some = max(1, _AT_ONCE // (height * width * max(len(self.centroids), len(self.mean))))
        for start in range(0, len(x), some):
            pictures = x[start : start + some]
            patches = unfold(pictures, self.size, stride=self.stride).mT
            codes = self.encode(_normalised(patches, self.contrast))
            maps = codes.mT.reshape(len(pictures), -1, height, width)
            rows = [part.sum(2) for part in maps.tensor_split(self.grid, 2)]
            cells = [part.sum(2) for row in rows for part in row.tensor_split(self.grid, 2)]
            found[start : start + some] = torch.stack(cells, 2).flatten(1)
        return found

    def encode(self, patches: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """Return f of patches whose contrast is normalised already."""
        z = (patches - self.mean) @ self.whitening.mT
        products = z @ self.centroids.mT
        if self.encoding == "threshold":
            return (products - self.threshold).clamp_min_(0.0)
        squared = products.mul_(-2.0).add_(self.centroids.square().sum(1)).add_(z.square().sum(-1, keepdim=True))
        if self.encoding == "hard":
            return torch.zeros_like(squared).scatter_(-1, squared.argmin(-1, keepdim=True), 1.0)
        distances = squared.clamp_min_(0.0).sqrt_()
        return (distances.mean(-1, keepdim=True) - distances).clamp_min_(0.0)


def _check(size: int, stride: int, grid: int, encoding: str, *, contrast: float, threshold: float) -> None:
    if min(size, stride, grid) < 1:
        raise ConfigError(
            f"size, stride and grid must be at least 1, got {size!r}, {stride!r} and {grid!r}",
            where="KMeansFeatures",
            mend="use size=6, stride=1, grid=2",
        )
    if encoding not in get_args(Encoding) or not 0 < contrast < math.inf or not 0 <= threshold < math.inf:
        raise ConfigError(
            f"encoding {encoding!r}, contrast {contrast!r} or threshold {threshold!r} is out of range",
            where="KMeansFeatures",
            mend=f"use one of {', '.join(get_args(Encoding))}, contrast above 0 and threshold at least 0",
        )


def _normalised(patches: Tensor, contrast: float) -> Tensor:
    # (p - mean) / √(variance + λ), the variance over all numbers of a patch.
    return layer_norm(patches, patches.shape[-1:], eps=contrast)


def _euclidean(z: Tensor, k: int, generator: Generator | None) -> Tensor:
    from sklearn.cluster import MiniBatchKMeans

    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    fitted = MiniBatchKMeans(k, batch_size=2_048, n_init=1, random_state=seed).fit(z.cpu().numpy())
    return torch.from_numpy(fitted.cluster_centers_).to(z)


def _spherical(z: Tensor, k: int, generator: Generator | None) -> Tensor:
    centroids = normalize(torch.randn(k, z.shape[1], generator=generator).to(z))
    for _ in range(_ROUNDS):
        sums, counts = centroids.clone(), z.new_zeros(k)
        for block in torch.split(z, max(1, _AT_ONCE // k)):
            products = block @ centroids.mT
            nearest = products.abs().argmax(1, keepdim=True)
            sums.index_add_(0, nearest[:, 0], products.gather(1, nearest) * block)
            counts += torch.bincount(nearest[:, 0], minlength=k)
        # A centroid that no patch is nearest to starts anew from one of them.
        empty = counts == 0
        sums[empty] = z[torch.randint(len(z), (int(empty.sum()),), generator=generator).to(z.device)]
        centroids = normalize(sums)
    return centroids
