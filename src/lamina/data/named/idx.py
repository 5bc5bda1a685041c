"""The IDX format of MNIST: a big-endian header, then the numbers.

    0  0  type  axes | size of each axis, 4 bytes | the numbers, last axis fastest

Types: 08 unsigned byte, 09 signed byte, 0B 16-bit, 0C 32-bit, 0D float, 0E double. Files packed with gzip are unpacked
while they are read, with a cap. Reference: LeCun, Cortes & Burges, "The MNIST database", section on file formats.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.data.named.extract import unpacked
from lamina.errors import DataError, shown

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_MEND = "delete the file so that it is fetched again, or copy it anew"


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 2**31) -> NDArray[Any]:
    """Read an IDX file, packed with gzip or not.

    Args:
        path: The file.
        max_bytes: Most bytes that it may hold unpacked.

    Returns:
        The array, in the machine's byte order.

    Raises:
        DataError: If it is not IDX or not whole: file, byte offset, expected and found.
    """  # noqa: DOC502
    return parse_idx(read_unpacked(path, max_bytes=max_bytes), shown(path, 200))


def read_unpacked(path: str | os.PathLike[str], *, max_bytes: int = 2**31) -> bytes:
    """Read a file, unpacked if it is gzip.

    Returns:
        The content.

    Raises:
        DataError: If it cannot be unpacked or holds more than ``max_bytes``.
    """
    path = Path(path)
    where = shown(path, 200)
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == _GZIP
            stream.seek(0)
            if packed:
                return unpacked(stream, max_bytes=max_bytes, where=where)
            content = stream.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=where, mend="check the path") from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"the gzip file is cut short or damaged ({shown(error)})", where=where, mend=_MEND) from error
    if len(content) > max_bytes:
        raise DataError(f"holds more than the {max_bytes:,} bytes expected", where=where, mend=_MEND)
    return content


def parse_idx(content: bytes, where: str) -> NDArray[Any]:
    """Turn the content of an IDX file into an array.

    Args:
        content: All of it.
        where: What messages call the file.

    Returns:
        The array, in the machine's byte order.

    Raises:
        DataError: If it is not IDX or not whole.
    """
    if content[:2] == _GZIP:
        raise DataError(
            "byte 0: expected 00 00, found 1f 8b: a gzip file packed with gzip again",
            where=where,
            mend="unpack it once",
        )
    if len(content) < 4 or content[:2] != b"\0\0":
        found = content[:4].hex(" ") or "nothing"
        raise DataError(f"byte 0: expected 00 00 (the start of an IDX file), found {found}", where=where, mend=_MEND)
    kind, axes = content[2], content[3]
    if kind not in _TYPES:
        raise DataError(f"byte 2: expected a type 08, 09, 0b, 0c, 0d or 0e, found {kind:02x}", where=where, mend=_MEND)
    start = 4 + 4 * axes
    if axes == 0 or len(content) < start:
        raise DataError(
            f"byte {len(content) if axes else 3}: expected the sizes of {axes or 'at least 1'} axes, found "
            f"{'the end of the file' if axes else 'none'}",
            where=where,
            mend=_MEND,
        )
    shape = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    dtype = np.dtype(_TYPES[kind])
    expected = start + dtype.itemsize
    for size in shape:
        expected = start + (expected - start) * size
    if len(content) != expected:
        what = "cut short" if len(content) < expected else "too long"
        raise DataError(
            f"{what} at byte {min(len(content), expected):,}: expected {expected:,} bytes for {shape}, "
            f"found {len(content):,}",
            where=where,
            mend=_MEND,
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def check_pair(images: NDArray[Any], labels: NDArray[Any], images_where: str, labels_where: str) -> None:
    """Refuse pictures and labels that do not belong together.

    Raises:
        DataError: If the axes or the counts are wrong.
    """
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"byte 2: expected unsigned bytes, 3 axes (type and axes 08 03), found {images.dtype}, {images.ndim} axes",
            where=images_where,
            mend=_MEND,
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise DataError(
            f"byte 2: expected unsigned bytes, 1 axis (type and axes 08 01), found {labels.dtype}, {labels.ndim} axes",
            where=labels_where,
            mend=_MEND,
        )
    if len(images) != len(labels):
        raise DataError(
            f"byte 4: expected {len(images):,} labels, one for each picture of {images_where}, found {len(labels):,}",
            where=labels_where,
            mend="take both files from the same release",
        )
