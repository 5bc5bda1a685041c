"""A generation: a folder of files that is there whole, with a manifest of hashes, or not at all.

    name/manifest.json      format, lamina's version, meta, size and SHA-256 of each file; guarded by its own SHA-256
    name/model.safetensors  ...

It is written beside its place under a temporary name, every file synced, the folder synced, renamed, the folder above
synced, read back and compared; only then does the writer return. A generation of the same name is moved to
``.name.old`` for the moment between two renames, and readers look there too, so that one of the two is always found.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lamina._version import __version__
from lamina.errors import CheckpointError, ConfigError, LaminaError, MachineError, shown
from lamina.io import atomic, filesystem
from lamina.io.atomic import Content
from lamina.io.filesystem import patiently, refuse
from lamina.io.foreign import refuse_foreign
from lamina.io.runfolder import check_name
from lamina.io.strict_json import guarded_bytes, parse_guarded, read_checked

FORMAT = 1
MANIFEST = "manifest.json"
_MOST_MANIFEST = 256 << 20
_MEND = "use an older checkpoint, or restore the folder from a copy"


@dataclass(frozen=True)
class Generation:
    """A verified generation.

    Attributes:
        folder: Where it was read from.
        meta: What the writer said about it.
        files: The contents that were asked for, by name; every file was verified, kept or not.
        entries: Size in bytes and SHA-256 of every file, by name.
        notes: What the reader had to work around, for the user.
    """

    folder: Path
    meta: dict[str, Any]
    files: dict[str, bytes] = field(repr=False)
    entries: dict[str, tuple[int, str]] = field(repr=False)
    notes: tuple[str, ...] = ()

    def stream(self, name: str) -> Iterator[bytes]:
        """Read one file piece by piece, hashing on the way: for a file that need not fit into memory.

        What came before must not be used until the last piece has arrived: only then is the hash known.

        Yields:
            The bytes in order.

        Raises:
            CheckpointError: If the file is missing, truncated or changed.
        """
        if name not in self.entries:
            raise CheckpointError(f"holds no file {shown(name)}", where=shown(self.folder, 200), mend=_MEND)
        yield from _verified(self.folder / name, *self.entries[name])


def write_generation(parent: str | Path, name: str, files: Mapping[str, Content], meta: Mapping[str, object]) -> Path:
    """Write a generation, replacing one of the same name if there is one.

    Raises ``MachineError`` if the disk refuses or does not give back what was written; what was at the place
    before is there still.

    Args:
        parent: The folder that holds it; created if missing.
        name: Its name, ``[A-Za-z0-9._-]{1,80}`` without a leading dot.
        files: The contents by file name (same rule); an iterable of pieces is written as it comes.
        meta: What JSON holds, to be read back with the files; NaN and infinity become null.

    Returns:
        Its folder, synced and read back.

    Raises:
        ConfigError: If a name is not allowed, or something else than a generation is at its place.
    """
    parent = atomic.make_folder(parent)
    target, temporary = parent / check_name(name), atomic.temporary_beside(parent / name)
    for inner in files:
        if check_name(inner).casefold() == MANIFEST:
            raise ConfigError(f'the file name "{MANIFEST}" is reserved in a generation')
    guarded_bytes(meta_only := {"meta": dict(meta)}, "generation", FORMAT)  # refused before anything is written
    try:
        _recover(target)
        patiently(filesystem.active.mkdir, temporary)
        listed = {}
        for inner, content in files.items():
            size, digest = atomic.write_new(temporary / inner, content)
            listed[inner] = {"size": size, "sha256": digest}
        manifest = {"lamina": __version__, **meta_only, "files": listed}
        atomic.write_new(temporary / MANIFEST, guarded_bytes(manifest, "generation", FORMAT))
        patiently(filesystem.active.fsync_folder, temporary)
        _place(temporary, target, files)
    except BaseException as error:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                atomic.remove(temporary)
        if isinstance(error, OSError):
            refuse(error, target)
        raise
    return target


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _place(temporary: Path, target: Path, files: Mapping[str, Content]) -> None:
    """Rename the synced folder to its place and verify it there; on any error put back what was there before.

    Raises ``OSError`` if the operating system refuses (a lamina error if the read-back differs).
    """
    system, aside = filesystem.active, _aside(target)
    replaces = os.path.lexists(target)
    placed = False
    try:
        if replaces:
            patiently(system.rename, target, aside)
        patiently(system.rename, temporary, target)
        placed = True
        patiently(system.fsync_folder, target.parent)
        _read_back(target, files)
    except BaseException:
        with contextlib.suppress(OSError):
            if placed:
                patiently(system.rename, target, temporary)
            if replaces and os.path.lexists(aside):
                patiently(system.rename, aside, target)
        raise
    if replaces:
        with contextlib.suppress(OSError):  # the new one is safe: what remains of the old is cleared next time
            atomic.remove(aside)


def _read_back(target: Path, files: Mapping[str, Content]) -> None:
    """Read everything again: compare with what is still in memory (faster than a hash), hash what came in pieces.

    Raises:
        MachineError: If the disk gives back something else.
    """
    try:
        for name, (size, digest) in read_manifest(target).entries.items():
            content = files[name]
            if isinstance(content, bytes | bytearray | memoryview | list | tuple):
                _compare(target / name, content)
            else:
                for _ in _verified(target / name, size, digest):
                    pass
    except CheckpointError as error:
        raise MachineError(
            f"was not given back by the disk as it was written ({error})",
            where=shown(target, 200),
            mend="check the disk, or choose another one",
        ) from error


def _compare(path: Path, content: Content) -> None:
    try:
        behind = atomic.first_difference(path, content)
    except FileNotFoundError as error:
        raise CheckpointError("is missing", where=shown(path, 200), mend=_MEND) from error
    if behind is not None:
        raise CheckpointError(f"differs behind byte {behind}", where=shown(path, 200), mend=_MEND)


def _recover(target: Path) -> None:
    """Clear up after a writer that was killed between its two renames.

    Raises ``OSError`` if the operating system refuses.

    Raises:
        ConfigError: If something that lamina did not write is at the place.
    """
    aside = _aside(target)
    if os.path.lexists(target) and not _ours(target):
        raise ConfigError(
            "exists and is not a lamina folder; it is left as it is",
            where=shown(target, 200),
            mend="choose another name, or remove it yourself",
        )
    if not os.path.lexists(aside):
        return
    if os.path.lexists(target) and (_sound(target) or not _sound(aside)):
        atomic.remove(aside)
        return
    if os.path.lexists(target):
        atomic.remove(target)
    patiently(filesystem.active.rename, aside, target)


def _ours(folder: Path) -> bool:
    return (
        folder.is_dir() and not folder.is_symlink() and (os.path.lexists(folder / MANIFEST) or not os.listdir(folder))
    )


def _sound(folder: Path) -> bool:
    try:
        _read(folder, keep=())
    except CheckpointError:
        return False
    return True


def read_generation(folder: str | Path, *, keep: Collection[str] | None = None) -> Generation:
    """Read a generation and verify every file of it.

    Raises ``CheckpointError``: names the file and what is wrong: missing, truncated, changed, newer, or not
    lamina's.

    Args:
        folder: The generation's folder.
        keep: The files whose contents to return; None for all. The others are verified piece by piece, and can be read
            with ``Generation.stream``.

    Returns:
        The generation; ``notes`` says if the copy before it had to be taken.
    """
    folder = Path(folder)
    first: CheckpointError | None = None
    for _ in range(5):  # again only while another process is replacing it
        before = _identity(folder)
        try:
            return _read(folder, keep)
        except CheckpointError as error:
            first = first or error
        with contextlib.suppress(CheckpointError):
            if _aside(folder).is_dir():
                found = _read(_aside(folder), keep)
                return replace(found, notes=(f"{first}; the copy before it was used",))
        if _identity(folder) == before:
            break
    raise first or CheckpointError("cannot be read", where=shown(folder, 200), mend=_MEND)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def read_manifest(folder: str | Path) -> Generation:
    """Read what a generation says of itself, without reading its files.

    Returns:
        The generation without contents; nothing but the manifest was verified.

    Raises:
        CheckpointError: If the manifest is missing or damaged, or the folder is not lamina's.
    """
    folder = Path(folder)
    refuse_foreign(folder, MANIFEST)
    path = folder / MANIFEST
    where = shown(path, 200)
    manifest = parse_guarded(read_checked(path, _MOST_MANIFEST), "generation", FORMAT, where, exact=True)
    meta, listed = manifest.get("meta"), manifest.get("files")
    if not isinstance(meta, dict) or not isinstance(listed, dict):
        raise CheckpointError('"meta" and "files" must be objects', where=where, mend=_MEND)
    entries: dict[str, tuple[int, str]] = {}
    for name, entry in listed.items():
        size, digest = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or not isinstance(digest, str) or not _allowed(name):
            raise CheckpointError(f"$.files.{shown(name)} is not an entry", where=where, mend=_MEND)
        entries[name] = (size, digest)
    return Generation(folder, meta, {}, entries)


def _allowed(name: str) -> bool:
    try:
        check_name(name)
    except LaminaError:
        return False
    return True


def _read(folder: Path, keep: Collection[str] | None) -> Generation:
    found = read_manifest(folder)
    files = {}
    for name, (size, digest) in found.entries.items():
        if keep is None or name in keep:
            files[name] = b"".join(_verified(folder / name, size, digest))
        else:
            for _ in _verified(folder / name, size, digest):
                pass
    return replace(found, files=files)


def _verified(path: Path, size: int, digest: str) -> Iterator[bytes]:
    where = shown(path, 200)
    running, seen = hashlib.sha256(), 0
    try:
        on_disk = os.stat(path).st_size
        if on_disk != size:
            word = "truncated" if on_disk < size else "too long"
            raise CheckpointError(f"is {word}: {on_disk} bytes instead of {size}", where=where, mend=_MEND)
        for piece in atomic.read_pieces(path):
            running.update(piece)
            seen += len(piece)
            yield piece
    except FileNotFoundError as error:
        raise CheckpointError("is missing", where=where, mend=_MEND) from error
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", where=where, mend=_MEND) from error
    if seen != size or running.hexdigest() != digest:
        raise CheckpointError(
            "was changed or damaged after it was written (its SHA-256 differs)", where=where, mend=_MEND
        )
