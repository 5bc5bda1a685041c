"""Room for decoded pictures: memory while they fit, else a memory-mapped file in the cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamina.errors import MachineError

CACHE_NAME = "pixels.npy"


def available_memory() -> int:
    """Return the bytes of memory that new data may take without swapping.

    Returns:
        The kernel's estimate where it gives one, else all physical memory, else 4 GiB.
    """
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 4 * 2**30


def room_for_pixels(
    shape: tuple[int, ...], *, name: str, memory_limit: int | None, cache: str | os.PathLike[str] | None
) -> tuple[NDArray[np.uint8], str | None]:
    """Return a ``uint8`` array of ``shape`` to be filled, and a note if it lies in a file.

    Args:
        shape: (N, C, H, W).
        name: What messages call the pictures.
        memory_limit: Bytes that may be held in memory; None takes half of what is available.
        cache: Folder for the file where they do not fit.

    Raises:
        MachineError: If they do not fit and there is no folder, or it cannot be written or is too full.
    """
    size = int(np.prod(shape, dtype=np.int64))
    limit = available_memory() // 2 if memory_limit is None else memory_limit
    if size <= limit:
        return np.empty(shape, np.uint8), None
    wants = (
        f"{shape[0]:,} pictures of {shape[3]} x {shape[2]} take {size / 1e6:,.0f} MB, "
        f"memory for them is {limit / 1e6:,.0f} MB"
    )
    if cache is None:
        raise MachineError(wants, where=name, mend="ask for a smaller size, or name a cache folder for the pixels")
    try:
        pixels = _create_memory_map(Path(cache), shape, size)
    except OSError as error:
        raise MachineError(
            f"{wants}, and the cache folder cannot take them ({error.strerror or error})",
            where=str(cache),
            mend="name a folder on a disk with room, or ask for a smaller size",
        ) from error
    return pixels, f"{wants}: kept in {Path(cache) / CACHE_NAME}"


def _create_memory_map(folder: Path, shape: tuple[int, ...], size: int) -> NDArray[np.uint8]:
    # The one place of this room that writes. The file is scratch space, rebuilt from the pictures at every read and
    # never taken for a result, so it needs neither the manifest nor the sync of lamina.io; its room on the disk is
    # reserved, so that filling it cannot fail late.
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CACHE_NAME
    path.unlink(missing_ok=True)  # a set that still maps the old file keeps it: never truncate under a reader
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return pixels
