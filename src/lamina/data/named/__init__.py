"""Data sets by name. Listing them imports nothing heavy; loading one imports what it needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.data.named.catalogue import ENTRIES, Entry, entry, folded
from lamina.data.named.places import data_folder, find
from lamina.errors import MachineError, shown

if TYPE_CHECKING:
    from lamina.data.images.imageset import ImageSet
    from lamina.data.named.check import FileCheck
    from lamina.data.named.table import NamedTable

__all__ = ["DataCard", "check_named", "is_named", "list_named", "load_named"]


@dataclass(frozen=True)
class DataCard:
    """What is known of a data set before it is read.

    Args:
        name: How it is asked for.
        kind: ``table`` or ``pictures``.
        n: Number of examples.
        description: One line.
        source: Who made it, where it was published.
        licence: As its source states it.
        bytes: Size on the disk, or of what is fetched; 0 where that is not known.
        where: ``with scikit-learn``, ``computed``, the folder that it or what it is made from lies in, or ``to be
            fetched``.
    """

    name: str
    kind: str
    n: int
    description: str
    source: str
    licence: str
    bytes: int
    where: str


def list_named(data_dir: str | os.PathLike[str] | None = None) -> list[DataCard]:
    """Return the card of every data set.

    Args:
        data_dir: Folder of data sets; by default ``LAMINA_DATA``, else the platform's cache folder.
    """
    return [
        DataCard(one.name, one.kind, one.n, one.description, one.source, one.licence, one.bytes, _where(one, data_dir))
        for one in ENTRIES
    ]


def is_named(name: str) -> bool:
    """Return whether a data set has this name, with options behind it or without."""
    return any(one.name == folded(name) for one in ENTRIES)


def load_named(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    say: Callable[[str], None] | None = None,
) -> NamedTable | ImageSet:
    """Read a data set, fetching its files first if they are not there.

    Args:
        name: Its name; ``list_named()`` has them all. Those that are computed take options, for instance
            ``mnist-rotation:train=1000:valid=200:test=5000:seed=1``.
        data_dir: Folder of data sets; by default ``LAMINA_DATA``, else the platform's cache folder.
        offline: Never use the network.
        say: Called with lines for the user while files are fetched.

    Returns:
        A table, or pictures; the parts are set where the source fixes them (MNIST: train and test).

    Raises:
        ConfigError: If there is no such name or option.
        DataError: If a file is damaged or not the published one.
        MachineError: If a file cannot be had: names, sizes, hashes, and the folder to put them into.
    """  # noqa: DOC502
    from lamina.data.named.load import load

    return load(name, data_dir=data_dir, offline=offline, say=say)


def check_named(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> list[FileCheck]:
    """Hash every file of a data set and compare with what was published; nothing is fetched.

    Args:
        name: Its name.
        data_dir: As for ``load_named``.

    Returns:
        One result a file, with ``file``, ``where``, ``ok`` and ``what``.

    Raises:
        ConfigError: If there is no such name.
    """  # noqa: DOC502
    entry(name)
    from lamina.data.named.check import check

    return check(name, data_dir=data_dir)


def _where(one: Entry, data_dir: str | os.PathLike[str] | None) -> str:
    if one.bundled:
        return "with scikit-learn"
    if one.computed:
        return _where(entry(one.made_from), data_dir) if one.made_from else "computed"
    try:
        folder = data_folder(data_dir)
    except MachineError:
        return "to be fetched"
    found = [find(folder, one.name, file.name) for file in one.files]
    first = found[0]
    return shown(first.parent, 200) if first is not None and all(found) else "to be fetched"
