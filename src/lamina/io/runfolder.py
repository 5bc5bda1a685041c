"""Names of runs and files, and numbered run folders that no two processes share."""

from __future__ import annotations

import re
from pathlib import Path

from lamina.errors import ConfigError, shown
from lamina.io import filesystem
from lamina.io.atomic import make_folder
from lamina.io.filesystem import patiently, refuse

_MOST = 80
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{_MOST}}}")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))})


def check_name(name: str, what: str = "name") -> str:
    """Check that a name is safe as a file name on every system: ``[A-Za-z0-9._-]{1,80}``, no leading dot.

    Args:
        name: The name.
        what: What it names, for the message.

    Returns:
        The name.

    Raises:
        ConfigError: If it is not allowed.
    """
    if (
        _NAME.fullmatch(name) is None
        or name.startswith(".")
        or name.endswith(".")
        or name.split(".", 1)[0].casefold() in _DEVICES
    ):
        raise ConfigError(
            f'the {what} "{shown(name)}" is not allowed',
            mend=f"use 1 to {_MOST} of the characters A-Z a-z 0-9 . _ - (no dot first or last, no device name as CON)",
        )
    return name


def check_run_name(name: str) -> str:
    """Check a run name that the user gave.

    Raises ``ConfigError`` if it is not ``[A-Za-z0-9._-]{1,80}``, begins or ends with a dot, or is a device name.

    Returns:
        The name.
    """
    return check_name(name, "run name")


def clean_name(text: str, otherwise: str = "run") -> str:
    """Return the nearest allowed name to ``text``: other characters become ``-``, at most 60 are kept.

    Returns:
        A name that ``check_name`` accepts; ``otherwise`` if nothing is left.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:60].strip(".-")
    return f"{otherwise}-{name}" if name.split(".", 1)[0].casefold() in _DEVICES else name or otherwise


def new_numbered(parent: str | Path, stem: str) -> Path:
    """Create the next numbered folder, as in ``runs/churn-1``, ``runs/churn-2``.

    Two processes at the same instant get two folders: the number belongs to whoever creates the folder.

    Raises ``MachineError`` if it cannot be created.

    Args:
        parent: The folder for them; created if missing.
        stem: What they are called after; cleaned to allowed characters.

    Returns:
        The new, empty folder.
    """
    parent, stem = make_folder(parent), clean_name(stem)
    system = filesystem.active
    try:
        taken = (re.fullmatch(rf"{re.escape(stem)}-([0-9]{{1,9}})", name) for name in patiently(system.listdir, parent))
        number = max((int(found[1]) for found in taken if found), default=0) + 1
        while True:
            folder = parent / f"{stem}-{number}"
            try:
                patiently(system.mkdir, folder)
            except FileExistsError:
                number += 1
                continue
            patiently(system.fsync_folder, parent)
            return folder
    except OSError as error:
        refuse(error, parent, "cannot hold a new folder")
