"""Fetching the files of a data set: mirrors in turn, resumed where it was cut, whole and verified or not there.

A file grows as ``NAME.part`` and gets its name only when its SHA-256 is right, so a name means a whole file. One
process at a time fetches a data set. The transfer is our own: it resumes, limits size and
redirections, and leaves all writing to ``lamina.io``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from lamina.data.named.catalogue import Entry, RemoteFile
from lamina.data.named.network import CutOff, NextMirror, Rules, transfer
from lamina.data.named.places import VARIABLE, find
from lamina.errors import MachineError, shown
from lamina.io import lock_folder, make_folder, publish, remove

Say = Callable[[str], None]


def fetch(
    entry: Entry, folder: Path, *, offline: bool = False, rules: Rules | None = None, say: Say | None = None
) -> None:
    """Fetch those files of a data set that are not in ``folder/NAME`` yet.

    Args:
        entry: The data set.
        folder: The folder of all data sets.
        offline: Refuse to use the network.
        rules: What is allowed; the strict rules by default.
        say: Called with lines for the user.

    Raises:
        MachineError: If a file cannot be had, or the folder cannot be written: names what to put where.
    """  # noqa: DOC501
    rules = rules or Rules()
    say = say or (lambda line: None)
    if not _missing(entry, folder):
        return
    if offline:
        raise _not_to_be_had(entry, folder, "the network is not to be used")
    place = folder / entry.name
    try:
        make_folder(place)
        with _alone(place, entry.name, rules, say):
            for file in _missing(entry, folder):  # again: whoever held the lock may have fetched them
                _fetch_one(entry, file, place, rules, say)
    except MachineError as error:
        if "--data-dir" in error.mend:
            raise
        raise MachineError(
            error.what,
            where=error.where or shown(place, 200),
            mend=f"{error.mend + '; or ' if error.mend else ''}name another folder: --data-dir FOLDER, or {VARIABLE}",
        ) from error


def _fetch_one(entry: Entry, file: RemoteFile, place: Path, rules: Rules, say: Say) -> None:
    part = place / f"{file.name}.part"
    failures: list[str] = []
    for mirror in entry.mirrors:
        url = mirror + file.name
        host = urlsplit(url).hostname or mirror
        say(f"fetching {file.name}{f' ({file.size / 1e6:.1f} MB)' if file.size else ''} from {host}")
        why = _from_mirror(url, file, part, rules, say)
        if why is None:
            publish(part, place / file.name)
            return
        say(f"{host}: {why}")
        failures.append(f"{host}: {why}")
    raise _not_to_be_had(entry, place.parent, "; ".join(failures))


def _from_mirror(url: str, file: RemoteFile, part: Path, rules: Rules, say: Say) -> str | None:
    # Fetch one file from one mirror; return None when it is whole and right, else why not.
    why, attempt = "", 0
    while attempt < rules.tries:
        if attempt:
            time.sleep(rules.pause * 2 ** (attempt - 1))
        before = part.stat().st_size if part.is_file() else 0
        try:
            transfer(url, part, file.size, rules)
        except NextMirror as error:
            return str(error)
        except CutOff as error:
            why = str(error)
            say(f"{urlsplit(url).hostname}: {why}")
            attempt += 1
            continue
        found = _sha256(part)
        if found == file.sha256:
            return None
        remove(part)
        why = f"wrong content: SHA-256 {file.sha256} expected, {found} found"
        if not before:
            return why
        attempt += 1  # the bytes that were here before may have been the wrong ones: once more from the beginning
    return why


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(entry: Entry, folder: Path) -> list[RemoteFile]:
    return [file for file in entry.files if find(folder, entry.name, file.name) is None]


@contextmanager
def _alone(place: Path, name: str, rules: Rules, say: Say) -> Iterator[None]:
    # Hold the lock of a data set's folder; wait for another process, and say for whom.
    until = time.monotonic() + rules.patience
    said = ""
    while True:
        held = lock_folder(place, patience=0.0)
        try:
            lock = held.__enter__()
            break
        except MachineError as error:
            if "in use" not in error.what or time.monotonic() >= until:
                raise
            if error.what != said:
                said = error.what
                say(f"{name} {said}: waiting for it")
            time.sleep(0.1)
    if lock.note:
        say(lock.note)
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def _not_to_be_had(entry: Entry, folder: Path, why: str) -> MachineError:
    files = _missing(entry, folder) or list(entry.files)
    return MachineError(
        f"cannot be fetched: {why}",
        where=entry.name,
        mend=f"put {_wanted(files)} into {shown(folder / entry.name, 200)}, or name the folder that holds them: "
        f"--data-dir FOLDER, or {VARIABLE}",
    )


def _wanted(files: Sequence[RemoteFile]) -> str:
    return ", ".join(
        f"{file.name} ({f'{file.size:,} bytes, ' if file.size else ''}SHA-256 {file.sha256})" for file in files
    )
