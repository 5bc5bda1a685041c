"""What can be told of a path before anything heavy is imported: is it there, what is it, may it be read?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lamina.data.named import is_named
from lamina.data.named.catalogue import ENTRIES, folded
from lamina.errors import ConfigError, MachineError, nearest, shown


def check_source(source: str) -> None:
    """Refuse a source that is not there, may not be read, or is of a kind that comes later.

    Args:
        source: A data set's name, a file, or a folder.

    Raises:
        ConfigError: If there is no such thing, or lamina cannot fit it yet.
    """
    if source == "-":
        return
    where = shown(source, 200)
    if not source:
        raise ConfigError("no source was given", mend="name a file, a folder of pictures, or a data set")
    if not _exists(source):
        if is_named(source):
            return
        looks_like_name = os.sep not in source and "." not in source
        guess = neighbour(source) or (
            nearest(folded(source), [entry.name for entry in ENTRIES]) if looks_like_name else ""
        )
        mend = "check the path"
        if looks_like_name:
            mend = "check the path, or name a data set: `lamina data list` shows them"
        raise ConfigError(f"there is no such file or folder{guess}", where=where, mend=mend)
    check_readable(source)
    if Path(source).suffix.lower() == ".txt" and not Path(source).is_dir():
        raise ConfigError(
            "lamina cannot fit a text file yet (a character language model comes later)",
            where=where,
            mend="if it is a table, rename it to .csv or .tsv",
        )


def check_input(source: str) -> None:
    """Refuse an input that is neither a readable file or folder, nor a data set's name, nor ``-``."""
    if not (is_named(source) and not _exists(source)):
        check_file(source)


def check_file(path: str) -> None:
    """Refuse an input that is not a readable file; ``-`` is standard input.

    Raises:
        ConfigError: If it is not there.
    """
    if path == "-":
        return
    if not _exists(path):
        raise ConfigError(f"there is no such file{neighbour(path)}", where=shown(path, 200), mend="check the path")
    check_readable(path)


def check_run(run: str) -> None:
    """Refuse a run that is not a folder.

    Raises:
        ConfigError: If it is not there or is no run folder.
    """
    where = shown(run, 200)
    if not _exists(run):
        raise ConfigError(
            f"there is no such run{neighbour(run)}", where=where, mend="give the folder that `lamina fit` wrote"
        )
    place = Path(run)
    if not place.is_dir():
        from lamina.io.foreign import refuse_foreign

        refuse_foreign(run)
    check_readable(run)


def check_readable(path: str) -> None:
    """Refuse what may not be read, naming owner and mode.

    Raises:
        MachineError: If the operating system refuses reading.
    """
    needed = os.R_OK | os.X_OK if Path(path).is_dir() else os.R_OK
    if os.access(path, needed):
        return
    status = os.stat(path)
    try:
        import pwd

        owner = pwd.getpwuid(status.st_uid).pw_name
    except (ImportError, KeyError):
        owner = str(status.st_uid)
    raise MachineError(
        f"may not be read: owner {shown(owner)}, mode {stat.filemode(status.st_mode)}",
        where=shown(path, 200),
        mend="change its permissions (chmod), or run as its owner",
    )


def neighbour(path: str) -> str:
    """Return ``; did you mean "x"?`` for the file of the same folder with the nearest name, or nothing."""
    place = Path(path)
    try:
        names = [entry.name for entry in place.parent.iterdir()]
    except OSError:
        return ""
    return nearest(place.name, names[:10_000])


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path) and os.path.exists(path)
    except ValueError:  # a NUL in the name
        return False
