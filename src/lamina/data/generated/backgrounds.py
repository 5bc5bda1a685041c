"""What is put behind things: uniform noise, correlated noise, patches of photographs."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamina.data.generated.parts import NOISE, SIDE
from lamina.data.images.augmentation.hashed import normals, uniform_pairs, uniforms
from lamina.data.images.decode import refit
from lamina.data.images.imageset import ImageSet
from lamina.data.spec import ImageSpec
from lamina.data.stream import as_tensor
from lamina.errors import ConfigError

_BANDWIDTH = 6.0  # of the reference's Gaussian kernel, in pixels
_MOST_PIXELS = 64_000_000


def sample_pictures() -> ImageSet:
    """Return the two photographs that come with scikit-learn (a temple, a flower), grey.

    Returns:
        (2, 1, 427, 640). Two are few: backgrounds are more alike than those of the reference's twenty, and the task is
        easier.
    """
    pictures: list[NDArray[np.uint8]] = import_module("sklearn.datasets").load_sample_images().images
    height, width, _ = pictures[0].shape
    spec = ImageSpec(1, height, width)
    grey = [refit(np.ascontiguousarray(picture.transpose(2, 0, 1)), spec) for picture in pictures]
    return ImageSet("sample-pictures", np.stack(grey))


class Patches:
    """Random patches of 28 × 28 pixels of a pool of pictures, flat ones left out.

    A picture is drawn, each alike, then a place in it, each alike among those where the standard deviation of the
    patch is at least ``least_spread``; pictures without such a place are never drawn. The reference has patches of 20
    photographs found on the web, made grey, "patches with low pixel variance" left out; it does not say how low,
    which photographs, and how large they were.

    Args:
        pictures: At least 28 × 28 pixels each; colour is made grey. ``sample_pictures()``, or a folder of your own:
            ``read_image_files(folder, ImageSpec(1, 400, 400))``.
        least_spread: Standard deviation of the pixels of a patch, black 0 and white 1.

    Raises:
        ConfigError: If the pictures are too small or too many, or all patches are flatter than allowed.
    """

    def __init__(self, pictures: ImageSet, *, least_spread: float = 0.1) -> None:
        pixels = pictures.pixels
        n, channels, height, width = pixels.shape
        if min(height, width) < SIDE or n * height * width > _MOST_PIXELS:
            raise ConfigError(
                f"{n:,} pictures of {width} x {height} pixels",
                where="Patches",
                mend=f"give pictures of at least {SIDE} pixels a side, of {_MOST_PIXELS // 10**6} million in all",
            )
        if channels != 1:
            pixels = np.stack([refit(picture, ImageSpec(1, height, width)) for picture in pixels])
        places, counts = [], []
        for number, picture in enumerate(pixels):
            rough = np.flatnonzero(_rough(picture[0], least_spread))
            if len(rough):
                top, left = np.divmod(rough, width - SIDE + 1)
                places.append((number * height + top) * width + left)
                counts.append(len(rough))
        if not places:
            raise ConfigError(
                f"no patch of the pictures has a standard deviation of {least_spread:g}",
                where="Patches",
                mend="give pictures with more in them, or a lower least_spread",
            )
        self._pixels = as_tensor(np.ascontiguousarray(pixels).reshape(-1))
        self._places = torch.from_numpy(np.concatenate(places))  # of the upper left pixel, in all pixels
        self._counts = torch.tensor(counts)
        self._first = self._counts.cumsum(0) - self._counts
        steps = torch.arange(SIDE)
        self._inside = steps[:, None] * width + steps

    def draw(self, indices: Tensor, part: int, seed: int, lane: int) -> Tensor:
        """Return a patch for each example: a function of its arguments alone.

        Args:
            indices: (N,) numbers of the examples.
            part: Which part they belong to.
            seed: Any whole number.
            lane: Which two random numbers of each example decide.

        Returns:
            (N, 1, 28, 28) float32 from 0 to 1.
        """
        u = uniforms(indices, part, seed, range(lane, lane + 2))
        picture = (u[0] * len(self._counts)).long()
        place = self._places[self._first[picture] + (u[1] * self._counts[picture]).long()]
        return self._pixels[place[:, None, None, None] + self._inside].float().div_(255)


def _rough(picture: NDArray[np.uint8], least_spread: float) -> NDArray[np.bool_]:
    # Say of each place whether the patch there varies enough: n Σx² - (Σx)² >= (255 n s)², in whole numbers.
    values = picture.astype(np.int64)
    total, squares = _sums(values), _sums(values**2)
    rough: NDArray[np.bool_] = SIDE**2 * squares - total**2 >= (255 * SIDE**2 * least_spread) ** 2
    return rough


def _sums(values: NDArray[np.int64]) -> NDArray[np.int64]:
    # Sum over every window of 28 x 28, from running sums along both axes.
    for axis in (0, 1):
        running: NDArray[Any] = np.insert(values.cumsum(axis), 0, 0, axis)
        n = running.shape[axis]
        values = running.take(range(SIDE, n), axis) - running.take(range(n - SIDE), axis)
    return values


def uniform_noise(indices: Tensor, part: int, seed: int) -> Tensor:
    """Return pixels that are each one of the 256 grey levels, all as likely.

    Returns:
        (N, 1, 28, 28) float32 multiples of 1/255 from 0 to 1, a function of the arguments alone.
    """
    u = uniform_pairs(indices, part, seed, NOISE, SIDE**2 // 2)  # two numbers a hash: the halves of the picture
    levels = u.permute(1, 0, 2).reshape(-1, 1, SIDE, SIDE)
    return levels.mul(256).floor_().div_(255)


class CorrelatedNoise:
    """Noise whose neighbouring pixels are alike, each pixel still uniform.

        x = Φ(z),  z ~ N(0, γ K + (1 - γ) I),  K_ij = exp(-‖p_i - p_j‖² / (2 · 6²)),  p_i the place of pixel i

    Φ is the distribution function of N(0, 1), ½ (1 + erf(z / √2)). γ = 0 is ``uniform_noise`` but for its 256 levels.
    The reference gives "a Gaussian kernel function with kernel bandwidth 6"; that the square is divided by 2 · 6²
    and not by 6² is our reading.

    Args:
        gamma: γ, 0 to 1; the reference has 0, 0.2, 0.4, 0.6, 0.8 and 1.

    Raises:
        ConfigError: If γ is not within 0 to 1.
    """

    def __init__(self, gamma: float) -> None:
        if not 0 <= gamma <= 1:
            raise ConfigError(
                f"gamma must be within 0 to 1, got {gamma}", where="CorrelatedNoise", mend="try gamma=0.6"
            )
        along = torch.arange(SIDE, dtype=torch.float64)
        kernel = torch.exp(-(along[:, None] - along).square() / (2 * _BANDWIDTH**2))
        # K is the Kronecker product of the kernel of the rows and that of the columns, and so are its eigenvectors: the
        # square root of the covariance is taken in their basis, a product from the left and one from the right.
        values, vectors = torch.linalg.eigh(kernel)
        values = values.clamp_min(0.0)
        self._root = (gamma * torch.outer(values, values) + (1 - gamma)).sqrt().float()
        self._vectors = vectors.float()

    def draw(self, indices: Tensor, part: int, seed: int) -> Tensor:
        """Return noise for each example: a function of its arguments alone.

        Returns:
            (N, 1, 28, 28) float32 from 0 to 1.
        """
        z = normals(indices, part, seed, NOISE, SIDE**2).view(-1, 1, SIDE, SIDE)
        z = self._vectors @ (self._root * z) @ self._vectors.T
        return torch.erf(z.div_(math.sqrt(2))).add_(1).mul_(0.5)
