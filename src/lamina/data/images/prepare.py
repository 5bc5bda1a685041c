"""What a model needs to know of its training pictures: their form and the statistics of each channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lamina.data.images.decode import refit
from lamina.data.images.imageset import ImageSet
from lamina.data.spec import ImageSpec
from lamina.errors import CheckpointError, ConfigError, DataError

_CHUNK = 2**20  # pixels summed at a time


@dataclass(frozen=True)
class ImageReport:
    """What ``ImagePreparation.transform`` had to do.

    Args:
        resized: Number of pictures of another size.
        converted: Number of pictures with other channels.
        notes: The same for the user, empty if nothing was done.
    """

    resized: int = 0
    converted: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImagePreparation:
    """Brings pictures to the form of the training part and standardises each channel.

        normalise(x) = (x / 255 - mean_c) / std_c = x * scale_c + shift_c

    mean and std are taken over all pixels of channel c of the training rows, in units of full brightness (0 to 1);
    they come from exact sums of whole numbers, so the order of the rows does not matter. A constant channel is
    divided by 1.

    Args:
        spec: Channels, height and width that the model sees.
        mean: (C,) ``float64``.
        std: (C,) ``float64``, above 0.
        notes: What the fit had to say.
    """

    spec: ImageSpec
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    _constants: dict[torch.device, tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def fit(cls, images: ImageSet, rows: ArrayLike | slice | None = None) -> ImagePreparation:
        """Learn form and statistics from some rows, which should be the training part.

        Args:
            images: The pictures.
            rows: Indices, a mask, or a slice; None takes all.

        Returns:
            The preparation.

        Raises:
            DataError: If there are no rows.
        """
        chosen = np.arange(len(images))[
            slice(None) if rows is None else rows if isinstance(rows, slice) else _index(rows)
        ]
        if len(chosen) == 0:
            raise DataError("no pictures to learn from", where=images.name, mend="give at least one training picture")
        _, channels, height, width = images.pixels.shape
        total, squares, low, high = [0] * channels, [0] * channels, [255] * channels, [0] * channels
        step = max(1, _CHUNK // (channels * height * width))
        for start in range(0, len(chosen), step):
            block = images.pixels[chosen[start : start + step]]
            for channel in range(channels):
                values = block[:, channel].ravel().astype(np.float64)  # whole numbers: sums below 2^53 are exact
                total[channel] += int(values.sum())
                squares[channel] += int(values @ values)
                low[channel] = min(low[channel], int(block[:, channel].min()))
                high[channel] = max(high[channel], int(block[:, channel].max()))
        n = len(chosen) * height * width
        mean = np.array([one / n / 255 for one in total])
        # In Python's whole numbers, so that the difference of two large sums loses nothing.
        std = np.array([math.sqrt((n * q - s * s) / (n * n)) / 255 for s, q in zip(total, squares, strict=True)])
        constant = np.array(low) == np.array(high)
        notes: tuple[str, ...] = ()
        if constant.any():
            which = "all pixels" if constant.all() else f"channel {', '.join(map(str, np.flatnonzero(constant)))}"
            notes = (f"{which} of the training pictures have one value: divided by 1 instead of a spread of 0",)
        return cls(ImageSpec(channels, height, width), mean, np.where(constant, 1.0, std), notes)

    def transform(self, images: ImageSet) -> tuple[NDArray[np.uint8], ImageReport]:
        """Bring pictures to ``spec``; those that have it already are returned as they are, without a copy.

        Args:
            images: Any set.

        Returns:
            ``uint8`` (N, C, H, W) and what was done.
        """
        spec = self.spec
        _, channels, height, width = images.pixels.shape
        other_size, other_channels = (height, width) != (spec.height, spec.width), channels != spec.channels
        if not (other_size or other_channels):
            return images.pixels, ImageReport()
        pixels = np.empty((len(images), spec.channels, spec.height, spec.width), np.uint8)
        for row, picture in enumerate(images.pixels):
            pixels[row] = refit(picture, spec)
        notes = []
        if other_size:
            notes.append(f"{len(images):,} pictures resized from {width} x {height} to {spec.width} x {spec.height}")
        if other_channels:
            notes.append(f"{len(images):,} pictures converted to {'grey' if spec.channels == 1 else 'colour'}")
        return pixels, ImageReport(len(images) * other_size, len(images) * other_channels, tuple(notes))

    def normalise(
        self, batch: Shaped[Tensor, "N C H W"], out: Float[Tensor, "N C H W"] | None = None
    ) -> Float[Tensor, "N C H W"]:
        """Standardise a batch on its own device: one conversion, one multiply-add.

        Args:
            batch: ``uint8``, or ``float32`` from 0 to 255 (after augmentation).
            out: ``float32`` memory to write to; a loop that gives the same memory again saves the page faults of a
                fresh allocation, which cost more than the arithmetic.

        Returns:
            ``float32`` of the same shape: ``out``, or new memory.
        """
        known = self._constants.get(batch.device)
        if known is None:
            scale = torch.from_numpy(1.0 / (255.0 * self.std)).to(batch.device, torch.float32).reshape(-1, 1, 1)
            shift = torch.from_numpy(-self.mean / self.std).to(batch.device, torch.float32).reshape(-1, 1, 1)
            known = self._constants[batch.device] = (scale, shift)
        scale, shift = known
        # One pass converts and multiplies into new memory (the batch may be a view of the whole set), one adds in
        # place; torch.addcmul is three times slower here, because its broadcasting is not vectorised.
        return torch.mul(batch, scale, out=out).add_(shift)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Return the preparation as JSON and arrays, for the run folder.

        Returns:
            A dict of plain values and a dict of arrays.
        """
        spec = self.spec
        facts = {
            "kind": "images",
            "channels": spec.channels,
            "height": spec.height,
            "width": spec.width,
            "notes": list(self.notes),
        }
        return facts, {"mean": self.mean, "std": self.std}

    @classmethod
    def from_state(cls, facts: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> ImagePreparation:
        """Rebuild a preparation from ``state()``; every value is checked.

        Args:
            facts: The dict of plain values.
            arrays: The dict of arrays.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If a value is missing or cannot be.
        """  # noqa: DOC501, DOC502
        sizes = [facts.get(key) for key in ("channels", "height", "width")]
        notes = facts.get("notes", [])
        if facts.get("kind") != "images" or not all(type(size) is int and size >= 1 for size in sizes):
            raise _bad_state(f"kind {facts.get('kind')!r}, sizes {sizes}")
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            raise _bad_state("its notes are not texts")
        spec = ImageSpec(*(int(size) for size in sizes if size is not None))
        if spec.channels not in {1, 3} or set(arrays) != {"mean", "std"}:
            raise _bad_state(f"{spec.channels} channels, arrays {sorted(arrays)}")
        mean, std = (np.asarray(arrays[key], np.float64) for key in ("mean", "std"))
        if not (mean.shape == std.shape == (spec.channels,) and np.isfinite(mean).all() and np.isfinite(std).all()):
            raise _bad_state(f"mean {mean.shape} and std {std.shape} for {spec.channels} channels")
        if not (std > 0).all():
            raise _bad_state("a spread that is not above 0")
        return cls(spec, mean, std, tuple(notes))


def _index(rows: ArrayLike) -> NDArray[Any]:
    index = np.asarray(rows)
    if index.size == 0 and index.dtype != np.bool_:
        return index.astype(np.int64)
    if index.dtype.kind not in "iub" or index.ndim != 1:
        raise ConfigError(
            f"rows must be whole numbers or booleans in one axis, got {index.dtype} {index.shape}",
            mend="give row numbers, a mask, or a slice",
        )
    return index


def _bad_state(what: str) -> CheckpointError:
    return CheckpointError(
        f"the preparation of the pictures cannot be used: {what}",
        mend="restore the run folder from a copy, or fit anew",
    )
