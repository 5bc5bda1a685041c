"""Where data sets lie: the folder given, else ``LAMINA_DATA``, else the platform's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from lamina.errors import MachineError

VARIABLE = "LAMINA_DATA"


def cache_folder() -> Path:
    """Return the platform's cache folder for lamina (on Linux ``$XDG_CACHE_HOME/lamina`` or ``~/.cache/lamina``).

    Raises:
        MachineError: If there is no home folder to put it into.
    """
    import platformdirs

    try:
        folder = Path(platformdirs.user_cache_dir("lamina", appauthor=False))
    except (RuntimeError, OSError, KeyError) as error:
        folder = Path("~")
        cause: Exception | None = error
    else:
        cause = None
    if not folder.is_absolute():  # "~" that could not be resolved
        raise MachineError(
            "there is no home folder for the cache of data sets",
            mend=f"name a folder: --data-dir FOLDER, or set {VARIABLE}",
        ) from cause
    return folder


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that data sets are read from and fetched into.

    Args:
        data_dir: The folder asked for, if any.
    """
    named = data_dir if data_dir is not None else os.environ.get(VARIABLE) or None
    return Path(named).expanduser() if named is not None else cache_folder()


def find(folder: Path, entry_name: str, file_name: str) -> Path | None:
    """Return the file of a data set if it lies in ``folder``, packed or unpacked, in its own subfolder or beside it."""
    stem = file_name.removesuffix(".gz")
    for place in (folder / entry_name, folder):
        for name in dict.fromkeys((file_name, stem)):
            if (place / name).is_file() and (place != folder or _belongs(folder, entry_name)):
                return place / name
    return None


def _belongs(folder: Path, entry_name: str) -> bool:
    # Say whether files directly in ``folder`` are this data set's: MNIST and Fashion-MNIST share their file names.
    return folder.name.casefold().replace("_", "-") == entry_name
