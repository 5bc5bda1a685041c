"""Folders of picture files to one array: ``root/class/*.png`` and the like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.data.images.decode import MAX_PIXELS, Header, decode, explained, pillow_limits, read_header
from lamina.data.images.imageset import PART_NAMES, TRAIN, ImageSet
from lamina.data.images.listing import Listing, few, list_classes, list_files
from lamina.data.images.store import room_for_pixels
from lamina.data.spec import ImageSpec
from lamina.data.without_target import NO_CLASS
from lamina.errors import ConfigError, DataError, shown

DEFAULT_SIDE = 64  # pixels a side where the pictures differ in size and none is asked for
LARGE_SIDE = 128  # pixels a side from which the cost of training is worth a word

_CHUNK = 32  # files a task: a task costs about as much as the header of one picture
_T = TypeVar("_T")


def read_image_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_limit: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    min_classes: int = 2,
    unlabelled: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Read ``root/class/*`` or ``root/{train,valid,test}/class/*``.

    Pictures of one size keep it. Otherwise all become squares whose side is the median of the shorter sides, at most
    ``DEFAULT_SIDE``: the shorter side is fitted and the centre cut out. They are grey if all of them are grey.
    Hidden and system files are passed over; files that are no pictures by their ending are noted.

    Args:
        path: The root folder.
        size: Side of the square, or (height, width), in pixels; None by the rule above.
        skip_bad: Leave damaged pictures out and count them, instead of refusing the folder.
        max_pixels: Refuse a picture with more pixels than this by its header.
        memory_limit: Bytes of pixels held in memory, half of what is available by default; above it they are
            decoded into a memory-mapped file in ``cache``.
        cache: Folder for that file.
        classes: The class names in the order of their codes, where a model fixes them; others are refused.
        min_classes: Refuse fewer class folders than this.
        unlabelled: Whether the folder ``unlabelled`` beside those of the training pictures is no class; its pictures
            have the code -1.
        progress: Called with (pictures decoded, pictures in all).

    Returns:
        The pictures with codes, class names and, in the second layout, parts.

    Raises:
        ConfigError: If ``size`` is below 1.
        DataError: If the folder or a file cannot be used: the message names it.
    """  # noqa: DOC502
    root = Path(path)
    wanted = _checked_size(size)
    listing = list_classes(root, classes=classes, min_classes=min_classes, unlabelled=unlabelled)
    with pillow_limits(max_pixels):
        headers, bad = _for_each(
            listing.files,
            lambda i: read_header(listing.files[i], max_pixels=max_pixels, name=_place(root, listing, i)),
            skip_bad,
        )
        kept = [i for i in range(len(listing.files)) if i not in bad]
        _refuse_empty_classes(root, listing, kept, bad)
        known = [headers[i] for i in kept]
        spec, notes = _common_form(known, wanted)
        pixels, file_note = room_for_pixels(
            (len(kept), spec.channels, spec.height, spec.width),
            name=root.name or str(root),
            memory_limit=memory_limit,
            cache=cache,
        )
        hashes = [b""] * len(kept)

        def decode_into(row: int) -> None:
            i = kept[row]
            pixels[row] = decode(listing.files[i], spec, max_pixels=max_pixels, name=_place(root, listing, i))
            hashes[row] = hashlib.blake2b(pixels[row].data, digest_size=16).digest()

        _, bad_rows = _for_each([listing.files[i] for i in kept], decode_into, skip_bad, progress)
    bad.update({kept[row]: error for row, error in bad_rows.items()})
    pixels, rows = _without(pixels, bad_rows)
    kept, hashes = [kept[row] for row in rows], [hashes[row] for row in rows]
    _refuse_empty_classes(root, listing, kept, bad)
    pixels, grey_note = _grey_if_all_grey(pixels)
    if pixels.flags.writeable:
        pixels.flags.writeable = False
    notes = [*listing.notes(), *notes, *grey_note, *_skipped(bad), *([file_note] if file_note else [])]
    labels = np.asarray(listing.labels, np.int64)[kept]
    part = np.asarray(listing.parts, np.int8)[kept] if listing.parts else None
    return ImageSet(
        name=root.resolve().name or str(root),
        pixels=pixels,
        labels=labels,
        classes=listing.classes,
        paths=tuple(listing.shown[i] for i in kept),
        part=part,
        notes=tuple(notes),
        warnings=tuple(_twins(hashes, labels, part, [listing.shown[i] for i in kept])),
    )


def read_image_files(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    spec: ImageSpec,
    *,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_limit: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Read pictures without labels in the form that a model expects.

    Args:
        paths: A folder (with its subfolders), one file, or several files.
        spec: Channels, height and width wanted; converted by the same rules as at fit.
        skip_bad: Leave damaged pictures out and count them.
        max_pixels: Refuse a picture with more pixels than this.
        memory_limit: As for ``read_image_folder``.
        cache: As for ``read_image_folder``.
        progress: Called with (pictures decoded, pictures in all).

    Returns:
        The pictures; ``paths`` says which they are.

    Raises:
        DataError: If there are none or one cannot be used.
    """
    listing = list_files(paths)
    root = Path(paths) if isinstance(paths, str | os.PathLike) and Path(paths).is_dir() else Path()
    pixels, file_note = room_for_pixels(
        (len(listing.files), spec.channels, spec.height, spec.width),
        name=root.name or "pictures",
        memory_limit=memory_limit,
        cache=cache,
    )
    with pillow_limits(max_pixels):

        def decode_into(row: int) -> None:
            name = _place(root, listing, row)
            pixels[row] = decode(listing.files[row], spec, max_pixels=max_pixels, name=name)

        _, bad = _for_each(listing.files, decode_into, skip_bad, progress)
    pixels, rows = _without(pixels, bad)
    if not rows:
        raise DataError(
            f"none of the {len(listing.files):,} pictures can be read",
            where=root.name,
            mend="give at least one sound picture",
        )
    notes = [*listing.notes(), *_skipped(bad), *([file_note] if file_note else [])]
    return ImageSet(
        name=root.resolve().name or "pictures",
        pixels=pixels,
        paths=tuple(listing.shown[row] for row in rows),
        notes=tuple(notes),
    )


def _for_each(
    files: Sequence[str],
    act: Callable[[int], _T],
    skip_bad: bool,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[int, _T], dict[int, DataError]]:
    """Call ``act(i)`` for every file by a few threads (Pillow decodes without the interpreter's lock).

    Threads rather than processes: nothing to pickle, no shared memory to run out of, no worker to die alone.

    Returns:
        The results and, with ``skip_bad``, the errors, by index.

    Raises:
        DataError: The error of the first file in order, without ``skip_bad``.
    """  # noqa: DOC502

    def chunk(start: int) -> tuple[dict[int, _T], dict[int, DataError]]:
        done: dict[int, _T] = {}
        failed: dict[int, DataError] = {}
        for i in range(start, min(start + _CHUNK, len(files))):
            try:
                done[i] = act(i)
            except DataError as error:
                failed[i] = error
                if not skip_bad:
                    break
        return done, failed

    results: dict[int, _T] = {}
    errors: dict[int, DataError] = {}
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(max_workers=min(8, threads), thread_name_prefix="pictures")
    try:
        for done, failed in pool.map(chunk, range(0, len(files), _CHUNK)):
            results |= done
            errors |= failed
            if failed and not skip_bad:
                break
            if progress is not None:
                progress(len(results) + len(errors), len(files))
    finally:
        pool.shutdown(cancel_futures=True)
    errors = {i: explained(error, files[i]) for i, error in errors.items()}
    if errors and not skip_bad:
        raise errors[min(errors)]
    return results, errors


def _common_form(headers: Sequence[Header], wanted: tuple[int, int] | None) -> tuple[ImageSpec, list[str]]:
    # Choose channels and size, and say what that does to the pictures.
    channels = 1 if all(header.grey for header in headers) else 3
    sizes = {(header.height, header.width) for header in headers}
    notes = []
    if wanted is None and len(sizes) == 1:
        height, width = next(iter(sizes))
        if max(height, width) > LARGE_SIDE:
            notes.append(f"pictures of {width} x {height} are kept; a smaller size trains faster: size={DEFAULT_SIDE}")
    else:
        side = min(DEFAULT_SIDE, int(np.median([min(header.height, header.width) for header in headers])))
        height, width = wanted or (side, side)
        if sizes != {(height, width)}:
            areas = sorted(sizes, key=lambda one: (one[0] * one[1], one))
            small, large = areas[0], areas[-1]
            said = f"{len(sizes):,} sizes from {small[1]} x {small[0]} to {large[1]} x {large[0]}"
            said = f"size {small[1]} x {small[0]}" if len(sizes) == 1 else said
            notes.append(f"{said}: resized to {width} x {height}, shorter side fitted, centre cut out")
    for count, what in (
        (sum(header.turned for header in headers), "turned upright as their EXIF data say"),
        (sum(header.transparent for header in headers), "with transparency laid over white"),
        (sum(header.animated for header in headers), "with several frames: the first is used"),
        (sum(header.mode.startswith("I") for header in headers), "of 16 bits brought to 8"),
        (sum(header.mode not in {"L", "RGB", "RGBA", "LA", "1", "P"} and not header.mode.startswith("I")
             for header in headers), "converted to red, green, blue"),
        (sum(header.grey for header in headers) if channels == 3 else 0, "that are grey, read as colour like the rest"),
    ):  # fmt: skip
        if count:
            notes.append(f"{count:,} pictures {what}")
    return ImageSpec(channels, height, width), notes


def _grey_if_all_grey(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[str]]:
    # Keep one channel where colour pictures have three equal ones; exact, as luma of (v, v, v) is v.
    if pixels.shape[1] == 1:
        return pixels, []
    for start in range(0, len(pixels), 256):
        block = pixels[start : start + 256]
        if not (np.array_equal(block[:, 0], block[:, 1]) and np.array_equal(block[:, 0], block[:, 2])):
            return pixels, []
    grey = pixels[:, :1] if isinstance(pixels, np.memmap) else np.ascontiguousarray(pixels[:, :1])
    return grey, ["all pictures are stored in colour but grey: one channel is used"]


def _without(pixels: NDArray[np.uint8], bad: dict[int, DataError]) -> tuple[NDArray[np.uint8], list[int]]:
    # Close the gaps of rows that were not decoded, in place (the array may be larger than memory).
    rows = [row for row in range(len(pixels)) if row not in bad]
    if bad:
        for to, row in enumerate(rows):
            if to != row:
                pixels[to] = pixels[row]
    return pixels[: len(rows)], rows


def _twins(
    hashes: Sequence[bytes], labels: NDArray[np.int64], part: NDArray[np.int8] | None, names: Sequence[str]
) -> list[str]:
    # Warn of equal pictures under two classes, and on both sides of a division.
    first: dict[bytes, list[int]] = {}
    for row, digest in enumerate(hashes):
        first.setdefault(digest, []).append(row)
    groups = [rows for rows in first.values() if len(rows) > 1]
    warned = []
    conflicts = [rows for rows in groups if len({int(labels[row]) for row in rows} - {NO_CLASS}) > 1]
    if conflicts:
        shown_pairs = []
        for every in conflicts[:3]:
            rows = [row for row in every if labels[row] != NO_CLASS]
            other = next(row for row in rows if labels[row] != labels[rows[0]])
            shown_pairs.append(f"{few([names[rows[0]]])} = {few([names[other]])}")
        more = ", ..." if len(conflicts) > 3 else ""
        warned.append(f"W-CONFLICT {len(conflicts):,} pictures lie in two classes: {'; '.join(shown_pairs)}{more}")
    if part is not None:
        for one in range(TRAIN + 1, len(PART_NAMES)):
            both = [rows for rows in groups if {TRAIN, one} <= {int(part[row]) for row in rows}]
            if both:
                count = sum(int(part[row]) == one for rows in both for row in rows)
                example = next(row for row in both[0] if part[row] == one)
                warned.append(
                    f"W-DUP {count:,} pictures of the {PART_NAMES[one]} part are also in train: {few([names[example]])}"
                )
    return warned


def _refuse_empty_classes(root: Path, listing: Listing, kept: Sequence[int], bad: dict[int, DataError]) -> None:
    if not bad:
        return
    present = {listing.labels[i] for i in kept} | {NO_CLASS}
    for i in sorted(bad):
        if listing.labels[i] not in present:
            name = listing.classes[listing.labels[i]]
            raise DataError(
                f'no sound picture is left of class "{few([name])}": {bad[i].what}',
                where=_place(root, listing, i),
                mend="add sound pictures, or remove the class folder",
            )


def _skipped(bad: dict[int, DataError]) -> list[str]:
    if not bad:
        return []
    names = [f"{bad[i].where} ({bad[i].what})" for i in sorted(bad)[:3]]
    return [f"{len(bad):,} damaged pictures left out: {'; '.join(names)}{'; ...' if len(bad) > 3 else ''}"]


def _place(root: Path, listing: Listing, i: int) -> str:
    return shown(root / listing.shown[i] if root != Path() else listing.shown[i], 200)


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ConfigError(f"size must be at least 1 pixel, got {size}", mend=f"try size={DEFAULT_SIDE}")
    return height, width
