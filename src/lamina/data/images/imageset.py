"""A set of labelled pictures in one array."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamina.errors import DataError

TRAIN, VALID, TEST = 0, 1, 2
PART_NAMES = ("train", "valid", "test")

_CHUNK = 16 * 2**20  # bytes hashed at a time, so that a memory-mapped set is never copied whole


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one size with what is known of each.

    Args:
        name: What messages call the set: a data set's name or a folder's.
        pixels: (N, C, H, W) ``uint8``, C = 1 (grey) or 3 (red, green, blue); may be a read-only memory map.
        labels: (N,) ``int64`` codes into ``classes``, -1 for a picture without a class; or ``float64`` targets; or None
            where there are none.
        classes: Class names in the order of their codes; empty for numbers and for unlabelled pictures.
        paths: N relative file names for showing and messages, or None for pictures that never were files.
        part: (N,) ``int8``: 0 train, 1 valid, 2 test, where the source fixes the division; else None.
        notes: What was done to the pictures, for the person who gave them.
        warnings: What looks wrong with them, each beginning with its ``W-`` code.

    Raises:
        DataError: If the arrays do not fit each other.
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[str, ...] | None = None
    part: NDArray[np.int8] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] not in {1, 3}:
            raise DataError(
                f"pictures must be uint8 (N, 1 or 3, H, W), got {pixels.dtype} {pixels.shape}",
                where=self.name,
                mend="give 8-bit pixels, channels before rows",
            )
        for what, values in (("labels", self.labels), ("file names", self.paths), ("parts", self.part)):
            if values is not None and len(values) != len(pixels):
                raise DataError(
                    f"{len(pixels)} pictures but {len(values)} {what}",
                    where=self.name,
                    mend="give one for each picture, in the same order",
                )

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: ArrayLike | slice) -> ImageSet:
        """Return the set of the pictures ``rows``, in that order, with the same classes.

        Args:
            rows: Indices, a mask of N booleans, or a slice (which copies no pixels).

        Returns:
            The smaller set; its notes and warnings are those of the whole.
        """
        chosen: Any = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(chosen, slice) and chosen.size == 0 and chosen.dtype != np.bool_:
            chosen = chosen.astype(np.int64)
        positions = np.arange(len(self))[chosen]
        return replace(
            self,
            pixels=self.pixels[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            paths=None if self.paths is None else tuple(self.paths[int(i)] for i in positions),
            part=None if self.part is None else self.part[chosen],
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of the content: pixels, labels, class names and parts (not names or places).

        Returns:
            64 hexadecimal digits, equal for equal content on every machine.
        """
        labels = None if self.labels is None else np.ascontiguousarray(self.labels)
        if labels is not None:
            labels = labels.astype("<i8" if labels.dtype.kind in "iub" else "<f8")
        head = {
            "shape": self.pixels.shape,
            "labels": None if labels is None else str(labels.dtype),
            "classes": self.classes,
            "part": self.part is not None,
        }
        digest = hashlib.sha256(json.dumps(head).encode())
        step = max(1, _CHUNK // max(1, int(np.prod(self.pixels.shape[1:]))))
        for start in range(0, len(self), step):
            digest.update(np.ascontiguousarray(self.pixels[start : start + step]).data)
        if labels is not None:
            digest.update(labels.tobytes())
        if self.part is not None:
            digest.update(self.part.astype(np.int8).tobytes())
        return digest.hexdigest()

    def location(self, row: int) -> str:
        """Return where picture ``row`` came from: its file name, or ``name[row]`` counted from 0.

        Returns:
            Text for a message; show it through ``lamina.errors.shown``.
        """
        return self.paths[row] if self.paths is not None else f"{self.name}[{row}]"
