"""Files that are whole or not there: temporary file, sync, rename, sync of the folder.

A reader sees the old content or the new one at every instant, also after a kill or a power cut, and a failed write
leaves the old content. ``write_file`` returns only when the new content is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lamina.errors import ConfigError, shown
from lamina.io import filesystem
from lamina.io.filesystem import APPEND, CREATE, READ, patiently, refuse

if TYPE_CHECKING:
    from concurrent import futures

Chunk = bytes | bytearray | memoryview
Content = Chunk | Iterable[Chunk]

_PIECE = 4 << 20
_IN_PARALLEL = 1 << 20
_BEHIND = 16
_COMPARED = 256 << 10
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-(?P<host>[0-9a-f]{6})[0-9a-f]{12}\.tmp", re.DOTALL)
_HOUR = 3600.0


def write_file(path: str | Path, chunks: Content, *, overwrite: bool = True) -> None:
    """Write a file so that its place holds either what was there before or all of the new content.

    A temporary file beside ``path`` is created (never through a link), written, synced, renamed, and the folder synced.
    A symbolic link at ``path`` is itself replaced, not followed.

    Raises ``ConfigError`` if the file is there and ``overwrite`` is false. Raises ``MachineError`` if the disk or
    the operating system refuses; the old file (or, if only the last sync failed, the whole new one) is there then.

    Args:
        path: The file; its folder must exist.
        chunks: The content, whole or piece by piece, so that it need not fit into memory.
        overwrite: Whether a file that is there already may be replaced.
    """
    path = Path(path)
    system = filesystem.active
    if not overwrite and os.path.lexists(path):
        _refuse_taken(path)
    temporary = temporary_beside(path)
    try:
        write_new(temporary, chunks)
        if overwrite:
            patiently(system.rename, temporary, path)
        else:
            _place_new(temporary, path)
        patiently(system.fsync_folder, path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            if os.path.lexists(temporary):
                system.unlink(temporary)
        if isinstance(error, FileExistsError) and not overwrite:
            _refuse_taken(path)
        if isinstance(error, OSError):
            refuse(error, path)
        raise


def _place_new(temporary: Path, path: Path) -> None:
    """Give the temporary file its name, only if that name is free.

    Raises:
        FileExistsError: If the name was taken in the meantime.
        OSError: If the operating system refuses.
    """
    system = filesystem.active
    try:
        patiently(system.link, temporary, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        if os.path.lexists(path):  # no hard links on this file system: the check and the rename are two steps
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        patiently(system.rename, temporary, path)
    else:
        patiently(system.unlink, temporary)


def _refuse_taken(path: Path) -> NoReturn:
    raise ConfigError("exists already", where=shown(path, 200), mend="choose another name, or pass --overwrite")


def make_folder(path: str | Path) -> Path:
    """Create a folder and the folders above it where they are missing, and sync their names.

    Raises ``MachineError`` if it cannot be created.

    Returns:
        The folder.
    """
    path = Path(path)
    missing: list[Path] = []
    above = path
    while not os.path.lexists(above) and above != above.parent:
        missing.append(above)
        above = above.parent
    try:
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster
                patiently(filesystem.active.mkdir, folder)
            patiently(filesystem.active.fsync_folder, folder.parent)
    except OSError as error:
        refuse(error, path, "cannot be created")
    if not path.is_dir():
        refuse(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), path, "cannot be created")
    return path


def remove(path: str | Path) -> None:
    """Remove a file, a link, or a folder with all in it; nothing happens if it is not there.

    A folder is first renamed to a temporary name, so that no half of it is ever found at its place.

    Raises ``MachineError`` if it cannot be removed.
    """
    path = Path(path)
    try:
        if path.is_symlink() or not path.is_dir():
            with contextlib.suppress(FileNotFoundError):
                patiently(filesystem.active.unlink, path)
            return
        doomed = path if _TEMPORARY.fullmatch(path.name) else temporary_beside(path)
        if doomed != path:
            patiently(filesystem.active.rename, path, doomed)
            patiently(filesystem.active.fsync_folder, path.parent)  # or a power cut could undo the name's change alone
        _remove_tree(doomed)
    except OSError as error:
        refuse(error, path, "cannot be removed")


def _remove_tree(folder: Path) -> None:
    system = filesystem.active
    for name in patiently(system.listdir, folder):
        inner = folder / name
        if inner.is_dir() and not inner.is_symlink():
            _remove_tree(inner)
        else:
            patiently(system.unlink, inner)
    patiently(system.rmdir, folder)


def append_to(path: str | Path, chunks: Content, *, after: int) -> int:
    """Continue a partial file: cut it to ``after`` bytes, append the chunks, sync. For downloads that go on.

    The file is never whole by its name: give it a ``.part`` name, and ``publish`` it when its hash is right.

    Raises ``MachineError`` if the disk refuses; what was appended until then remains.

    Returns:
        The size of the file now.
    """
    path = Path(path)
    system = filesystem.active
    try:
        fresh = not os.path.lexists(path)
        fd = patiently(system.open, path, APPEND)
        try:
            if os.fstat(fd).st_size != after:
                patiently(system.truncate, fd, after)
            size = write_open(fd, chunks)
            patiently(system.fsync, fd)
        finally:
            system.close(fd)
        if fresh:
            patiently(system.fsync_folder, path.parent)
    except OSError as error:
        refuse(error, path)
    return after + size


def publish(part: str | Path, path: str | Path) -> None:
    """Rename a file that is whole and synced to its place in the same folder, and sync the folder.

    Raises ``MachineError`` if the operating system refuses.
    """
    part, path = Path(part), Path(path)
    try:
        patiently(filesystem.active.rename, part, path)
        patiently(filesystem.active.fsync_folder, path.parent)
    except OSError as error:
        refuse(error, path)


# --- the parts that the other writers of this room are made of ---


def temporary_beside(path: Path) -> Path:
    """Return a fresh hidden name beside ``path`` that tells whose it is: ``.name.<pid>-<host><random>.tmp``.

    Returns:
        A path that does not exist.
    """
    return path.with_name(f".{path.name[:60]}.{os.getpid()}-{_host()}{secrets.token_hex(6)}.tmp")


def write_new(path: Path, chunks: Content) -> tuple[int, str]:
    """Create a file, write and sync it. Its hash is taken while it is written and synced.

    Raises ``OSError`` if the operating system refuses; also if the file exists.

    Returns:
        Its size in bytes and its SHA-256.
    """
    system = filesystem.active
    fd = patiently(system.open, path, CREATE)
    with _Hash() as digest:
        try:
            size = write_open(fd, chunks, digest.update)
            patiently(system.fsync, fd)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                system.close(fd)
            raise
        system.close(fd)  # an error here is a failed write (network disks report late)
        return size, digest.hexdigest()


def write_open(fd: int, chunks: Content, seen: Callable[[memoryview[Any]], object] | None = None) -> int:
    """Write all chunks to an open file.

    Raises ``OSError`` if the operating system refuses.

    Args:
        fd: The open file.
        chunks: The content.
        seen: Is given every piece before it is written.

    Returns:
        The number of bytes written.
    """
    size = 0
    for piece in _pieces(chunks):
        if seen is not None:
            seen(piece)
        _write_whole(fd, piece)
        size += len(piece)
    return size


class _Hash:
    """A SHA-256 that a second thread takes for large pieces, at most 64 MB behind."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread: futures.ThreadPoolExecutor | None = None
        self._waiting: list[futures.Future[None]] = []

    def __enter__(self) -> _Hash:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def update(self, piece: memoryview[Any]) -> None:
        if self._thread is None and len(piece) < _IN_PARALLEL:
            self._digest.update(piece)
            return
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1)
        self._waiting.append(self._thread.submit(self._digest.update, piece))
        while len(self._waiting) > (_BEHIND if piece.readonly else 0):  # a writable buffer may be filled again
            self._waiting.pop(0).result()

    def hexdigest(self) -> str:
        for one in self._waiting:
            one.result()
        return self._digest.hexdigest()


def _pieces(chunks: Content, most: int = _PIECE) -> Iterator[memoryview[Any]]:
    whole = (chunks,) if isinstance(chunks, bytes | bytearray | memoryview) else chunks
    for chunk in whole:
        view = memoryview(chunk).cast("B") if len(chunk) else memoryview(b"")
        for start in range(0, len(view), most):
            yield view[start : start + most]


def _write_whole(fd: int, piece: memoryview[Any]) -> None:
    while len(piece):
        written = patiently(filesystem.active.write, fd, piece)
        if written <= 0:
            raise OSError(errno.EIO, "nothing was written")
        piece = piece[written:]


def read_pieces(path: Path, piece: int = _PIECE) -> Iterator[bytes]:
    """Read a file piece by piece.

    Raises ``OSError`` if the operating system refuses.

    Yields:
        The bytes in order, at most ``piece`` at a time.
    """
    system = filesystem.active
    fd = patiently(system.open, path, READ)
    try:
        while data := patiently(system.read, fd, piece):
            yield data
    finally:
        with contextlib.suppress(OSError):  # nothing was written through it
            system.close(fd)


def first_difference(path: Path, content: Content) -> int | None:
    """Compare a file with what it should hold.

    Raises ``OSError`` if the operating system refuses.

    Returns:
        None if they are equal, else the start of the piece (of at most 256 KB) that differs.
    """
    system = filesystem.active
    fd = patiently(system.open, path, READ)
    at = 0
    try:
        for piece in _pieces(content, _COMPARED):
            found = b""
            while len(found) < len(piece) and (part := patiently(system.read, fd, len(piece) - len(found))):
                found += part
            if found != bytes(piece):  # bytes against bytes is one fast call; memoryviews compare item by item
                return at
            at += len(piece)
        return at if patiently(system.read, fd, 1) else None
    finally:
        with contextlib.suppress(OSError):
            system.close(fd)


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a whole file.

    Raises ``OSError`` if the operating system refuses.

    Args:
        path: The file.
        most: The most bytes that it may have; one byte more is read, so that the caller can tell.

    Returns:
        Its bytes.
    """
    parts, size = [], 0
    for part in read_pieces(path):
        parts.append(part)
        size += len(part)
        if most is not None and size > most:
            break
    return b"".join(parts)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files and folders that a dead process of this machine left more than an hour ago.

    Returns:
        What was removed. Whatever cannot be removed is left.
    """
    gone: list[Path] = []
    with contextlib.suppress(OSError):
        for name in filesystem.active.listdir(folder):
            found = _TEMPORARY.fullmatch(name)
            if found is None or found["host"] != _host() or alive(int(found["pid"])):
                continue
            status = os.lstat(folder / name)
            ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if ours and time.time() - status.st_mtime > _HOUR and not stat.S_ISLNK(status.st_mode):
                with contextlib.suppress(OSError):
                    remove(folder / name)
                    gone.append(folder / name)
    return gone


def alive(pid: int) -> bool:
    """Say whether a process of this machine is running.

    Returns:
        False only if there is surely no such process.
    """
    if os.name == "nt":  # there is no signal 0: os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    import socket

    return hashlib.sha256(socket.gethostname().encode("utf-8", "replace")).hexdigest()[:6]
