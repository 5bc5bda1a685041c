"""Are the files of a data set the published ones?"""

from __future__ import annotations

import os
from dataclasses import dataclass

from lamina.data.named.catalogue import entry
from lamina.data.named.load import content, load
from lamina.data.named.places import data_folder, find
from lamina.errors import DataError, shown


@dataclass(frozen=True)
class FileCheck:
    """The state of one file.

    Args:
        file: Its name, or the data set's where it comes with scikit-learn or is computed.
        where: Where it lies; empty if it is not there.
        ok: Whether every byte is right.
        what: What was found, for the user.
    """

    file: str
    where: str
    ok: bool
    what: str


def check(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> list[FileCheck]:
    """Hash every file of a data set; nothing is fetched. See ``lamina.data.named.check_named``.

    Returns:
        One result a file.
    """
    one = entry(name)
    if one.bundled:
        found = load(name)
        right = len(found) == one.n
        return [FileCheck(one.name, "scikit-learn", right, f"{len(found):,} examples" + ("" if right else "!"))]
    if one.computed:
        if one.made_from:
            return check(one.made_from, data_dir=data_dir)
        return [FileCheck(one.name, "computed", ok=True, what="has no files")]
    folder = data_folder(data_dir)
    results = []
    for file in one.files:
        path = find(folder, one.name, file.name)
        if path is None:
            results.append(FileCheck(file.name, "", ok=False, what="not there"))
            continue
        try:
            content(one, file, folder)
        except DataError as error:
            results.append(FileCheck(file.name, shown(path, 200), ok=False, what=error.what))
        else:
            results.append(FileCheck(file.name, shown(path, 200), ok=True, what="the published content"))
    return results
