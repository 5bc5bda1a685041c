"""A lock on a folder: one run at a time, with the holder's name beside it.

The lock is the operating system's (``filelock``), so it ends with the process that holds it, however that ends. Who
holds it stands in ``.lock.owner``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lamina.errors import MachineError, shown
from lamina.io import atomic
from lamina.io.filesystem import refuse
from lamina.io.strict_json import dump_json

LOCK, OWNER = ".lock", ".lock.owner"


@dataclass(frozen=True)
class Lock:
    """A lock that is held.

    Attributes:
        folder: What it locks.
        note: Whom it was taken over from, if that process died holding it; else empty.
    """

    folder: Path
    note: str = ""


@contextlib.contextmanager
def lock_folder(path: str | Path, *, patience: float = 10.0) -> Iterator[Lock]:
    """Hold the lock of a folder.

    Raises ``MachineError`` if a living process holds it: names its pid and host. Raises ``MachineError`` if the
    lock file cannot be made.

    Args:
        path: The folder; it must exist.
        patience: Seconds to wait for what a dead holder left running: data workers that were forked from it keep
            its lock until they notice.

    Yields:
        The lock; its ``note`` says if a dead process held it before.
    """
    import socket

    import filelock

    path = Path(path)
    if not path.is_dir():  # filelock would create it
        refuse(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), path, "cannot be locked")
    lock = filelock.FileLock(path / LOCK, timeout=0, thread_local=False)
    until = time.monotonic() + patience
    while True:
        try:
            lock.acquire()
            break
        except filelock.Timeout as error:
            owner = _owner(path)
            if owner is None or not _dead(owner) or time.monotonic() > until:
                _refuse_held(path, owner, error)
            time.sleep(0.05)
        except OSError as error:
            refuse(error, path, "cannot be locked")
    holder = os.getpid()
    try:
        before = _owner(path)
        own = {"pid": holder, "host": socket.gethostname(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        atomic.write_file(path / OWNER, dump_json(own).encode("ascii") + b"\n")
        note = f"{shown(path, 200)}: taken over from process {before[0]} on {before[1]}, which ended" if before else ""
        yield Lock(path, note)
    finally:
        if os.getpid() == holder:  # a forked worker that leaves this block frees nothing
            with contextlib.suppress(OSError):
                atomic.remove(path / OWNER)
            lock.release()


def _owner(path: Path) -> tuple[int, str] | None:
    """Return pid and host of the holder, if they are written and readable."""
    try:
        owner = json.loads(atomic.read_bytes(path / OWNER, 4096))
        return int(owner["pid"]), shown(owner["host"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _dead(owner: tuple[int, str]) -> bool:
    import socket

    return owner[1] == shown(socket.gethostname()) and not atomic.alive(owner[0])


def _refuse_held(path: Path, owner: tuple[int, str] | None, error: Exception) -> NoReturn:
    who = f"process {owner[0]} on {owner[1]}" if owner else "another process"
    mend = "wait for it to end, or stop it" + (f" (kill {owner[0]} on {owner[1]})" if owner else "")
    raise MachineError(f"is in use by {who}", where=shown(path, 200), mend=mend) from error
