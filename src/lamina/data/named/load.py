"""Named data sets into memory."""

from __future__ import annotations

import hashlib
import io
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.data.images.imageset import TEST, TRAIN, ImageSet
from lamina.data.named.catalogue import Entry, RemoteFile, entry
from lamina.data.named.extract import read_archive
from lamina.data.named.fetch import Say, fetch
from lamina.data.named.idx import check_pair, parse_idx, read_unpacked
from lamina.data.named.network import Rules
from lamina.data.named.places import data_folder, find
from lamina.data.named.table import NamedTable
from lamina.errors import DataError, shown
from lamina.io.option_lines import read_options

_LOADERS = {
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
}
_ARCHIVE_CAP = 64 * 2**20
_MEND = "delete the file so that it is fetched again, or put the published one there"


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    rules: Rules | None = None,
    say: Say | None = None,
) -> NamedTable | ImageSet:
    """Read a data set, fetching its files first if they are not there; see ``lamina.data.named.load_named``.

    Returns:
        A table or pictures.
    """
    one = entry(name)
    options = name.split(":")[1:]
    if one.computed:
        from lamina.data.named.computed import compute

        source = (
            load(one.made_from, data_dir=data_dir, offline=offline, rules=rules, say=say) if one.made_from else None
        )
        return compute(one, options, source)
    read_options(one.name, options, {}, where="data")
    if one.bundled:
        return _digits(one) if one.kind == "pictures" else _bundled_table(one)
    folder = data_folder(data_dir)
    fetch(one, folder, offline=offline, rules=rules, say=say)
    return _idx_pictures(one, folder) if one.kind == "pictures" else _california(one, folder)


def content(one: Entry, file: RemoteFile, folder: Path) -> tuple[bytes, Path]:
    """Return the unpacked, verified content of a file of a data set, and where it lies.

    Raises:
        DataError: If it is not there, not whole, or not the published one.
    """
    path = find(folder, one.name, file.name)
    if path is None:
        raise DataError(f"{file.name} is gone", where=shown(folder / one.name, 200), mend="fetch the data set again")
    where = shown(path, 200)
    if file.member:
        data = path.read_bytes()
        expected = file.sha256
    else:
        data = read_unpacked(path, max_bytes=file.content_size)
        expected = file.content_sha256
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        if not file.member:
            parse_idx(data, where)  # says at which byte, where the file is not even whole
        raise DataError(
            f"not the published content: SHA-256 {expected} expected, {found} found", where=where, mend=_MEND
        )
    return data, path


def _idx_pictures(one: Entry, folder: Path) -> ImageSet:
    # Read the training and the test part, in this order.
    images, labels = [], []
    for pair in (one.files[:2], one.files[2:]):
        arrays, places = [], []
        for file in pair:
            data, path = content(one, file, folder)
            places.append(shown(path, 200))
            arrays.append(parse_idx(data, places[-1]))
        check_pair(arrays[0], arrays[1], *places)
        images.append(arrays[0])
        labels.append(arrays[1])
    part = np.repeat(np.array([TRAIN, TEST], np.int8), [len(images[0]), len(images[1])])
    return ImageSet(one.name, np.concatenate(images)[:, None], np.concatenate(labels).astype(np.int64), one.classes,
                    part=part)  # fmt: skip


def _digits(one: Entry) -> ImageSet:
    # The 17 levels v become (255 v + 8) // 16, that is 255 v / 16 rounded to the nearest whole number, halves upwards:
    # 0 gives 0 and 16 gives 255. (16 p + 127) // 255 takes it back, so nothing is lost.
    bunch = _sklearn_loader(one.name)()
    levels = np.asarray(bunch.images)
    pixels = ((levels.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    return ImageSet(
        one.name,
        pixels[:, None],
        np.asarray(bunch.target, np.int64),
        one.classes,
        notes=("levels 0 to 16 are brought to 0 to 255",),
    )


def _bundled_table(one: Entry) -> NamedTable:
    bunch = _sklearn_loader(one.name)(**({"scaled": False} if one.name == "diabetes" else {}))
    features = np.asarray(bunch.data, np.float64)
    columns: dict[str, NDArray[Any]] = {str(key): features[:, i] for i, key in enumerate(bunch.feature_names)}
    target = np.asarray(bunch.target)
    if one.task == "classification":
        target = np.asarray([str(key) for key in bunch.target_names])[target]
    columns[one.target] = target
    return NamedTable(one.name, columns, one.target, one.task)


def _sklearn_loader(name: str) -> Any:
    return getattr(import_module("sklearn.datasets"), _LOADERS[name])


def _california(one: Entry, folder: Path) -> NamedTable:
    # Read the districts and form the rates that scikit-learn's copy of this data set has, column for column.
    (file,) = one.files
    _, path = content(one, file, folder)
    data = read_archive(path, {file.member: "data"}, max_bytes=_ARCHIVE_CAP, exact=False)["data"]
    try:
        raw = np.loadtxt(io.BytesIO(data), delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise DataError(f"{file.member}: {shown(error)}", where=shown(path, 200), mend=_MEND) from error
    if raw.shape != (one.n, 9):
        raise DataError(f"{file.member} has shape {raw.shape}, not {(one.n, 9)}", where=shown(path, 200), mend=_MEND)
    longitude, latitude, age, rooms, bedrooms, population, households, income, value = raw.T
    columns: dict[str, NDArray[Any]] = {
        "MedInc": income,
        "HouseAge": age,
        "AveRooms": rooms / households,
        "AveBedrms": bedrooms / households,
        "Population": population,
        "AveOccup": population / households,
        "Latitude": latitude,
        "Longitude": longitude,
        one.target: value / 100_000.0,
    }
    return NamedTable(
        one.name, columns, one.target, one.task, ("rooms, bedrooms and occupation per household; value in 100,000 $",)
    )
