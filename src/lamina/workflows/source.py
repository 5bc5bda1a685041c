"""What a SOURCE is: a named data set, a table, an archive of arrays, or a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.data.arrays import Arrays, read_npz
from lamina.data.images import ImagePreparation, ImageSet, read_image_files, read_image_folder
from lamina.data.named import is_named, load_named
from lamina.data.tables.frame import table_from
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.read import read_table
from lamina.data.tables.table import Table
from lamina.data.tables.targets import FEW_INTEGERS
from lamina.data.without_target import without_target
from lamina.errors import ConfigError, shown
from lamina.runs.settings import Settings

PICTURE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


@dataclass(frozen=True)
class Opened:
    """A source that was read.

    Attributes:
        data: A table or pictures.
        target: The column to predict if the source says so, else empty.
        stem: A name for the run.
    """

    data: Table | ImageSet
    target: str
    stem: str

    @property
    def summary(self) -> str:
        """How large it is, in words."""
        if isinstance(self.data, ImageSet):
            _, channels, height, width = self.data.pixels.shape
            kind = "grey" if channels == 1 else "colour"
            return f"{len(self.data):,} pictures of {width} x {height} pixels, {kind}"
        return f"{self.data.n_rows:,} rows x {len(self.data.names)} columns"


def open_source(
    source: str,
    settings: Settings,
    *,
    data_dir: str | None = None,
    say: Callable[[str], None] | None = None,
    cache: Path | None = None,
) -> Opened:
    """Read a source; its structure is seen from what it is.

    Args:
        source: A name of ``lamina data list`` (where no file or folder has that name), a path, or ``-`` for a CSV table
            on standard input.
        settings: How tables and pictures are read.
        data_dir: Where named data sets lie.
        say: Receives lines while files are fetched.
        cache: Where pictures that do not fit into memory are decoded to.

    Returns:
        The data.

    Raises:
        ConfigError: If the source is of a kind that cannot be fitted.
    """
    if is_named(source) and not os.path.exists(source):
        named = load_named(source, data_dir=data_dir, say=say)
        if isinstance(named, ImageSet):
            return Opened(named, "class", named.name)
        table = table_from(named.columns, name=named.name)
        return Opened(table, named.target, named.name)
    path, unlabelled = Path(source), settings.drop_unlabelled or settings.learn_unlabelled
    if path.is_dir():
        images = read_image_folder(
            path, size=settings.image_size, skip_bad=settings.skip_bad, cache=cache, unlabelled=unlabelled
        )
        return Opened(images, "class", path.resolve().name)
    ending = path.suffix.lower()
    if ending == ".txt":
        raise ConfigError(
            "lamina cannot fit a text file yet (a character language model comes later)",
            where=shown(source, 200),
            mend="if it is a table, rename it to .csv or .tsv",
        )
    if ending == ".npz":
        arrays = read_npz(path, unlabelled=unlabelled)
        if isinstance(arrays, Arrays):
            return Opened(_table_of_arrays(arrays, settings), "y", path.stem)
        return Opened(arrays, "class", path.stem)
    return Opened(table_of(source, settings), "", "stdin" if source == "-" else path.name.split(".")[0])


def _table_of_arrays(arrays: Arrays, settings: Settings) -> Table:
    columns: dict[str, Any] = {f"x{i}": arrays.x[:, i] for i in range(arrays.x.shape[1])}
    marked: dict[str, Any] = {}
    if arrays.y is not None:
        several = arrays.y.ndim == 2
        given = {f"y{t}": arrays.y[:, t] for t in range(arrays.y.shape[1])} if several else {"y": arrays.y}
        marked = _with_gaps(given, settings)
        columns |= {**given, **marked}
    return replace(table_from(columns, name=arrays.name), marked=frozenset(marked))


def _with_gaps(targets: dict[str, np.ndarray], settings: Settings) -> dict[str, Any]:
    """Return the target columns in which -1 stands for no class, with missing cells in its place."""
    asked = settings.drop_unlabelled or settings.learn_unlabelled
    most = FEW_INTEGERS if settings.task is None else np.inf
    found = {}
    for name, values in targets.items():
        if values.dtype.kind == "i" and settings.task != "number":
            gone = without_target(values, asked=asked, most=most)
            if gone.any():
                found[name] = pa.array(values.astype(np.int64), mask=gone)
    return found


def table_of(source: str, settings: Settings) -> Table:
    """Read a table with the settings' way of reading.

    Returns:
        The table.
    """
    return read_table(
        source,
        encoding=settings.encoding,
        delimiter=settings.delimiter,
        header=settings.header,
        text_columns=settings.categorical,
        clip_inf=settings.clip_inf,
        decimal=settings.decimal,
    )


def open_input(
    source: str,
    settings: Settings,
    preparation: TablePreparation | ImagePreparation,
    *,
    data_dir: str | None = None,
) -> Table | ImageSet:
    """Read what is to be predicted: a table for a table model, a picture or a folder of them for a picture model.

    Args:
        source: As for ``open_source``; for pictures also a single file or a folder without classes.
        settings: How tables are read.
        preparation: The model's: columns that were text in training are read as text again.
        data_dir: Where named data sets lie.

    Returns:
        The data.
    """
    path = Path(source)
    if isinstance(preparation, ImagePreparation):
        if path.is_dir() or path.suffix.lower() in PICTURE_ENDINGS:
            return read_image_files([source] if path.is_file() else source, preparation.spec)
        return open_source(source, settings, data_dir=data_dir).data
    settings = replace(settings, categorical=(*settings.categorical, *preparation.text_columns))
    if path.is_dir():
        return table_of(source, settings)  # which says what the folder holds
    return open_source(source, settings, data_dir=data_dir).data
