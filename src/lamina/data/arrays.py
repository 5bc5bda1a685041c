"""NumPy archives: ``.npz`` files with ``x`` and ``y``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.data.images.imageset import ImageSet
from lamina.data.images.store import available_memory
from lamina.data.without_target import NO_CLASS, without_target
from lamina.errors import DataError, MachineError, shown

_MEND_SAVE = "save it with numpy.savez(file, x=inputs, y=targets)"


@dataclass(frozen=True)
class Arrays:
    """Examples as rows of a matrix.

    Args:
        name: The file's name without its ending.
        x: (N, D) ``float64``; finite, or with NaN for missing values where that was allowed.
        y: (N,) or (N, T): numbers, booleans, or text; NaN and empty text stand for no target; None where the file has
            none.
        notes: What was done, for the person who gave the file.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[Any] | None
    notes: tuple[str, ...] = ()


def read_npz(
    path: str | os.PathLike[str],
    *,
    allow_missing: bool = False,
    need_targets: bool = True,
    unlabelled: bool = False,
    memory_limit: int | None = None,
) -> Arrays | ImageSet:
    """Read ``x`` and ``y`` from an ``.npz`` file.

    A two-axis ``x`` gives ``Arrays``. Three axes (N, H, W) or four, (N, C, H, W) or (N, H, W, C) with 1 or 3 channels,
    give pictures: whole numbers 0 to 255 as they are, floating-point numbers 0 to 255 rounded, and if none is above
    1 they are taken as 0 to 1 and multiplied by 255 first. Whole-number, boolean and text targets of pictures are
    classes, floating-point ones numbers. An example without a class has the code -1: by an empty text, or by -1 where
    ``without_target`` takes it so. Nothing is ever unpickled.

    Args:
        path: The file.
        allow_missing: Whether NaN in a two-axis ``x`` stands for a missing value, instead of being refused.
        need_targets: Whether a file without ``y`` is refused (at predict it need not have one).
        unlabelled: Whether pictures without a class were asked for, to be left out or learnt from.
        memory_limit: Most bytes that ``x`` and ``y`` may take unpacked; half of what is available by default.

    Returns:
        Vectors or pictures.

    Raises:
        DataError: If the file cannot be used; the message names the array and the row.
        MachineError: If it may not be read or does not fit into memory.
    """  # noqa: DOC502
    path = Path(path)
    where = shown(path, 200)
    limit = available_memory() // 2 if memory_limit is None else memory_limit
    found = _members(path, where, limit, need_targets)
    x, notes = found["x"], []
    y = found.get("y")
    for key, array in found.items():
        if array.dtype.kind not in ("biuf" if key == "x" else "biufUS"):
            raise DataError(
                f"array {key!r} holds {array.dtype}, not numbers", where=where, mend="save it as a numeric array"
            )
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"array {key!r} has no rows (shape {array.shape})", where=where, mend=_MEND_SAVE)
    if y is not None:
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if len(y) != len(x):
            raise DataError(
                f"x has {len(x):,} rows but y has {len(y):,}", where=where, mend="give one target for each row"
            )
        if y.ndim > 2:
            raise DataError(f"y has {y.ndim} axes {y.shape}", where=where, mend="give y as (N,) or (N, T)")
        _refuse_not_finite(y, "y", where, missing=True)
    if x.ndim in {3, 4}:
        return _pictures(x, y, path.stem, where, unlabelled)
    if x.ndim == 1:
        x = x[:, None]
        notes.append("x has one axis: read as one column")
    if x.ndim != 2 or x.shape[1] == 0:
        raise DataError(
            f"x has shape {x.shape}",
            where=where,
            mend="give (N, D) for vectors, (N, H, W) or (N, C, H, W) for pictures",
        )
    _refuse_not_finite(x, "x", where, missing=allow_missing)
    return Arrays(path.stem, x.astype(np.float64), y, tuple(notes))


def _members(path: Path, where: str, limit: int, need_targets: bool) -> dict[str, NDArray[Any]]:
    # Read the arrays called x and y, their unpacked size checked beforehand.
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=where, mend="check the path") from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise DataError(f"not a whole .npz file ({shown(error)})", where=where, mend=_MEND_SAVE) from error
    except OSError as error:
        raise MachineError(f"cannot be read ({error.strerror or error})", where=where, mend="check the file") from error
    names = [name.removesuffix(".npy") for name in sizes]
    keys = {key: next((n for n in (key, key.upper()) if n in names), None) for key in ("x", "y")}
    if keys["x"] is None or (keys["y"] is None and need_targets):
        lacking = " and ".join(repr(key) for key in ("x", "y") if keys[key] is None)
        listed = ", ".join(shown(name, 30) for name in names[:20]) or "nothing"
        raise DataError(
            f"there is no array {lacking}; the file holds {listed}{', ...' if len(names) > 20 else ''}",
            where=where,
            mend=_MEND_SAVE,
        )
    wanted = {key: name for key, name in keys.items() if name is not None}
    size = sum(sizes.get(f"{name}.npy", sizes.get(name, 0)) for name in wanted.values())
    if size > limit:
        raise MachineError(
            f"its arrays take {size / 1e6:,.0f} MB unpacked, {limit / 1e6:,.0f} MB of memory are at hand",
            where=where,
            mend="give fewer rows, a smaller type such as uint8, or a machine with more memory",
        )
    arrays: dict[str, NDArray[Any]] = {}
    for key, name in wanted.items():
        try:
            with np.load(path, allow_pickle=False) as archive_arrays:
                arrays[key] = archive_arrays[name]
        except (ValueError, EOFError, KeyError, OSError, zipfile.BadZipFile, zlib.error, SyntaxError) as error:
            if "allow_pickle" in str(error) or "Object arrays" in str(error):
                raise DataError(
                    f"array {name!r} holds Python objects, which lamina never unpickles",
                    where=where,
                    mend=f"save it as numbers or text: {name}.astype(float) or .astype(str)",
                ) from error
            raise DataError(
                f"array {name!r} is damaged ({shown(error)})", where=where, mend="make or copy the file anew"
            ) from error
        if not isinstance(arrays[key], np.ndarray):
            raise DataError(f"member {shown(name)!r} is not an array", where=where, mend=_MEND_SAVE)
    return arrays


def _refuse_not_finite(array: NDArray[Any], key: str, where: str, *, missing: bool) -> None:
    if array.dtype.kind != "f":
        return
    bad = np.isinf(array) if missing else ~np.isfinite(array)
    if not bad.any():
        return
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    place = f"row {first[0]}" + (f", column {', '.join(map(str, first[1:]))}" if len(first) > 1 else "")
    more = int(bad.sum()) - 1
    raise DataError(
        f"{array[first]} in {place} of {key} (counted from 0){f', and {more:,} more' if more else ''}",
        where=where,
        mend="correct or leave out those rows",
    )


def _pictures(x: NDArray[Any], y: NDArray[Any] | None, name: str, where: str, unlabelled: bool) -> ImageSet:
    notes = []
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[1] in {1, 3}:
        if x.shape[3] in {1, 3}:
            notes.append(f"x {x.shape} is read as (N, channels, height, width)")
    elif x.shape[3] in {1, 3}:
        x = x.transpose(0, 3, 1, 2)
        notes.append("x is read as (N, height, width, channels)")
    else:
        raise DataError(
            f"x has shape {x.shape}: no axis of 1 or 3 channels", where=where, mend="give (N, C, H, W) with C 1 or 3"
        )
    if 0 in x.shape:
        raise DataError(f"x has shape {x.shape}: no pixels", where=where, mend=_MEND_SAVE)
    labels, classes = _targets(y, where, unlabelled)
    pixels, pixel_note = _to_bytes(x, where)
    return ImageSet(name, pixels, labels, classes, notes=(*notes, *pixel_note))


def _to_bytes(x: NDArray[Any], where: str) -> tuple[NDArray[np.uint8], Sequence[str]]:
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x), []
    if x.dtype.kind == "b":
        return np.ascontiguousarray(x).astype(np.uint8) * np.uint8(255), ["pixels of False and True became 0 and 255"]
    _refuse_not_finite(x, "x", where, missing=False)
    low, high = x.min(), x.max()
    if low < 0 or high > 255:
        raise DataError(
            f"pixels of x run from {low:g} to {high:g}", where=where, mend="scale them to 0 to 1, or to 0 to 255"
        )
    if x.dtype.kind in "iu":
        return np.ascontiguousarray(x).astype(np.uint8), []
    factor = 255.0 if high <= 1 else 1.0
    out = np.empty(x.shape, np.uint8)
    for row, picture in enumerate(x):  # one picture at a time: the set may be half of the memory
        out[row] = np.rint(picture.astype(np.float64) * factor)
    span = "0 to 1 were multiplied by 255 and" if factor > 1 else "0 to 255 were"
    return out, [f"floating-point pixels from {span} rounded to 8 bits"]


def _targets(y: NDArray[Any] | None, where: str, unlabelled: bool) -> tuple[NDArray[Any] | None, tuple[str, ...]]:
    if y is None:
        return None, ()
    if y.ndim != 1:
        raise DataError(f"y has shape {y.shape}; pictures take one target each", where=where, mend="give y as (N,)")
    if y.dtype.kind == "f":
        return y.astype(np.float64), ()
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "backslashreplace")
    gone = without_target(y, asked=unlabelled)
    values, found = np.unique(y[~gone], return_inverse=True)
    codes = np.full(len(y), NO_CLASS, np.int64)
    codes[~gone] = found
    return codes, tuple(str(value) for value in values.tolist())
