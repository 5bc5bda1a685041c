"""The operating system's file calls, behind one object that a test can replace.

Everything that lamina writes goes through ``filesystem.active``. A test puts another object there: one that fails the
n-th call, writes short, kills the process, or records the calls so that a power cut can be played through.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

from lamina.errors import LaminaError, MachineError, shown

P = ParamSpec("P")
T = TypeVar("T")

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class FileSystem:
    """The calls that lamina makes, one method each, with the meaning of the ``os`` function of the same name."""

    def open(self, path: Path, flags: int, mode: int = 0o666) -> int:  # noqa: D102
        return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), mode)

    def read(self, fd: int, size: int) -> bytes:  # noqa: D102
        return os.read(fd, size)

    def write(self, fd: int, data: bytes | memoryview) -> int:  # noqa: D102
        return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the open file to ``size`` bytes."""
        os.ftruncate(fd, size)

    def fsync(self, fd: int) -> None:
        """Wait until the file's data are on the disk itself."""
        if sys.platform == "darwin":
            import fcntl

            try:  # fsync on macOS stops at the drive's cache
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            except OSError:
                os.fsync(fd)
            return
        os.fsync(fd)

    def close(self, fd: int) -> None:  # noqa: D102
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing a file (or an empty folder by a folder) at ``target`` in one step."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give the file a second name; fails if ``target`` exists."""
        os.link(source, target, follow_symlinks=False)

    def mkdir(self, path: Path) -> None:  # noqa: D102
        os.mkdir(path)

    def unlink(self, path: Path) -> None:  # noqa: D102
        os.unlink(path)

    def rmdir(self, path: Path) -> None:  # noqa: D102
        os.rmdir(path)

    def listdir(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted.

        Returns:
            The names without their folder.
        """
        return sorted(os.listdir(path))

    def fsync_folder(self, path: Path) -> None:
        """Wait until the names in the folder are on the disk itself; a no-op where folders cannot be synced.

        Raises:
            OSError: If the disk refuses.
        """
        if os.name == "nt":
            return
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
                raise
        finally:
            os.close(fd)


active: FileSystem = FileSystem()


def patiently(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``action`` again for as long as a signal interrupts it (EINTR).

    Returns:
        What ``action`` returns.
    """
    while True:
        try:
            return action(*args, **kwargs)
        except InterruptedError:
            continue


_CAUSES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full (or has no inodes left)", "free some space, or choose a folder on another disk"),
    errno.EDQUOT: ("your disk quota is used up", "delete files of yours, or choose a folder on another disk"),
    errno.EFBIG: ("the file would pass the size limit", "raise it with `ulimit -f`, or use a file system without it"),
    errno.EROFS: ("the disk is mounted read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission denied", "choose a folder that you may write, or change its permissions"),
    errno.EPERM: ("the operation is not permitted", "choose a folder that you may write, or change its permissions"),
    errno.EIO: ("the disk reports an input/output error", "check the disk (`dmesg`), or choose another one"),
    errno.ENOENT: ("the folder does not exist", "create the folder first, or correct the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "correct the path"),
    errno.EISDIR: ("it is a folder", "give the name of a file"),
    errno.EEXIST: ("it exists already", "choose another name, or remove it"),
    errno.ENOTEMPTY: ("the folder there is not empty", "choose another name, or empty it"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
    errno.ELOOP: ("it is a symbolic link", "give the file itself; lamina does not follow links when it writes"),
    errno.EMFILE: ("this process has too many files open", "raise the limit with `ulimit -n`"),
    errno.ENFILE: ("the machine has too many files open", "close other programs, or raise the system's limit"),
    errno.ENOMEM: ("the machine is out of memory", "close other programs"),
    errno.ESTALE: ("the network disk lost the folder (stale handle)", "mount it again, or choose a local folder"),
    errno.EBUSY: ("it is in use", "close the program that uses it"),
}


def refuse(error: OSError, path: Path, doing: str = "cannot be written") -> NoReturn:
    """Raise what says for a person what the operating system said in ``error``; a lamina error passes as it is.

    Raises ``error`` if it is a lamina error already.

    Args:
        error: What the call raised.
        path: The file or folder that the user knows, not a temporary name.
        doing: What did not succeed, as in "cannot be written".

    Raises:
        MachineError: With the cause, and a mend for every common cause.
    """
    if isinstance(error, LaminaError):
        raise error
    cause, mend = _CAUSES.get(error.errno or 0, (error.strerror or str(error), "check the disk and the path"))
    raise MachineError(f"{doing}: {cause}", where=shown(path, 200), mend=mend) from error
