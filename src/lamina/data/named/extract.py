"""Taking known members out of archives, whatever else the archive holds.

Nothing is ever extracted by the name that stands in the archive: the caller lists the members expected and the plain
file name each is to get. Everything unexpected (another member, a link, a device, a second copy, an encrypted or sparse
member) refuses the whole archive. The bytes are counted as they are unpacked, never believed from a header.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from lamina.errors import DataError, MachineError, shown

MAX_MEMBERS = 10_000
_PIECE = 2**20
_ENTRY = 4096  # most bytes of a zip directory for each member allowed, and of tar headers
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}\Z")
_MEND = "fetch the archive again, from the place named by `lamina data list`"
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError,
    ValueError, OverflowError, NotImplementedError, RuntimeError,
)  # fmt: skip
_OPENERS: tuple[tuple[bytes, Any], ...] = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))


class _TooMuch(Exception):
    """More bytes came out than the cap allows."""


class _Capped(io.RawIOBase):
    """A stream that stops with ``_TooMuch`` after ``cap`` bytes, and never reads more than a megabyte at once."""

    def __init__(self, stream: IO[bytes], cap: int) -> None:
        super().__init__()
        self._stream, self._left = stream, cap

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, _PIECE) if size >= 0 else _PIECE)
        self._left -= len(data)
        if self._left < 0:
            raise _TooMuch
        return data


def unpacked(stream: IO[bytes], *, max_bytes: int, where: str) -> bytes:
    """Unpack a gzip stream.

    Args:
        stream: The packed bytes.
        max_bytes: Most bytes that may come out.
        where: What messages call it.

    Returns:
        The content.

    Raises:
        DataError: If more than ``max_bytes`` come out.
    """  # noqa: DOC501, DOC502
    parts = []
    capped = _Capped(cast(IO[bytes], gzip.GzipFile(fileobj=stream)), max_bytes)
    try:
        while piece := capped.read(_PIECE):
            parts.append(piece)
    except _TooMuch as error:
        raise _bomb(max_bytes, where) from error
    return b"".join(parts)


def read_archive(
    path: str | os.PathLike[str],
    members: Mapping[str, str],
    *,
    max_bytes: int,
    max_members: int = MAX_MEMBERS,
    exact: bool = True,
) -> dict[str, bytes]:
    """Read known members of a tar (plain, gzip, bzip2, xz) or zip archive into memory.

    Args:
        path: The archive.
        members: The name inside the archive and the plain name to return it under; all of them must be there.
        max_bytes: Most bytes that may come out in all.
        max_members: Most entries, folders included.
        exact: Whether other files refuse the archive, or (where its hash is known already) are passed over unread.

    Returns:
        The contents by plain name.

    Raises:
        DataError: If the archive holds anything else, lacks a member, is damaged, or unpacks to more than the cap.
        MachineError: If it may not be read.
    """  # noqa: DOC501, DOC502
    path = Path(path)
    where = shown(path, 200)
    for plain in members.values():
        if not _PLAIN.match(plain):
            raise ValueError(f"not a plain file name: {plain!r}")
    contents: dict[str, bytes] = {}
    with _told(where, max_bytes), path.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        entries = _zip_entries if start[:4] in {b"PK\3\4", b"PK\5\6"} else _tar_entries
        for name, content in entries(stream, frozenset(members), max_bytes, max_members, where):
            if name not in members:
                if exact:
                    raise _unexpected(name, "file", where)
                continue
            if members[name] in contents:
                raise DataError(f'holds "{shown(name)}" twice', where=where, mend=_MEND)
            contents[members[name]] = content
    lacking = sorted(name for name, plain in members.items() if plain not in contents)
    if lacking:
        raise DataError(
            f"lacks {len(lacking)} of {len(members)} members: {', '.join(shown(name) for name in lacking[:3])}",
            where=where,
            mend=_MEND,
        )
    return contents


@contextmanager
def _told(where: str, max_bytes: int) -> Iterator[None]:
    # Say what the archive libraries raise in our own words.
    try:
        yield
    except (DataError, MachineError):
        raise
    except _TooMuch as error:
        raise _bomb(max_bytes, where) from error
    except _DAMAGE as error:
        raise DataError(f"the archive is damaged ({shown(error)})", where=where, mend=_MEND) from error
    except OSError as error:
        if error.errno in {None, errno.EINVAL}:  # the decompressors' own complaint; a position that cannot be
            raise DataError(f"the archive is damaged ({shown(error)})", where=where, mend=_MEND) from error
        raise MachineError(f"cannot be read ({error.strerror})", where=where, mend="check the file") from error


def _tar_entries(
    stream: IO[bytes], allowed: frozenset[str], max_bytes: int, max_members: int, where: str
) -> Iterator[tuple[str, bytes]]:
    with _decompressed(stream) as plain:
        # Long-name and pax headers are read whole by tarfile, so the cap stands in front of it.
        capped = cast(IO[bytes], _Capped(plain, max_bytes + _ENTRY * (len(allowed) + 64) + 2 * _ENTRY * 5))
        with tarfile.open(fileobj=capped, mode="r|") as archive:
            count, total = 0, 0
            for member in archive:
                count += 1
                if count > max_members:
                    raise DataError(f"holds more than {max_members:,} entries", where=where, mend=_MEND)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise _unexpected(member.name, _KINDS.get(member.type, "special file"), where)
                name = member.name.removeprefix("./")
                if name not in allowed:
                    yield member.name, b""
                    continue
                body = archive.extractfile(member)
                content = b"" if body is None else _read_capped(body, max_bytes - total)
                if len(content) != member.size:
                    raise EOFError(f"{member.size} bytes announced, {len(content)} found")
                total += len(content)
                yield name, content
        while capped.read(_PIECE):  # to the end: only there the checksum of the packing is compared
            pass


def _zip_entries(
    stream: IO[bytes], allowed: frozenset[str], max_bytes: int, max_members: int, where: str
) -> Iterator[tuple[str, bytes]]:
    _check_zip_directory(stream, max_members, where)
    with zipfile.ZipFile(stream) as archive:
        total = 0
        infos = archive.infolist()
        if len(infos) > max_members:
            raise DataError(f"holds more than {max_members:,} entries", where=where, mend=_MEND)
        for info in infos:
            kind = info.external_attr >> 28
            if kind not in {0, 0o4, 0o10}:
                raise _unexpected(info.filename, "symbolic link" if kind == 0o12 else "special file", where)
            if info.is_dir() or kind == 0o4:
                continue
            if info.flag_bits & 1:
                raise _unexpected(info.filename, "encrypted file", where)
            if info.orig_filename not in allowed:
                yield info.orig_filename, b""
                continue
            with archive.open(info) as body:
                content = _read_capped(body, max_bytes - total)
            total += len(content)
            yield info.orig_filename, content


def _check_zip_directory(stream: IO[bytes], max_members: int, where: str) -> None:
    # Refuse a huge directory before zipfile reads all of it into memory.
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 65_557))
    tail = stream.read()
    stream.seek(0)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22:
        raise zipfile.BadZipFile("its directory is missing: the file is cut short")
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    if directory > max_members * _ENTRY or int.from_bytes(tail[end + 10 : end + 12], "little") > max_members:
        raise DataError(f"holds more than {max_members:,} entries", where=where, mend=_MEND)


@contextmanager
def _decompressed(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    start = stream.read(6)
    stream.seek(0)
    for magic, opener in _OPENERS:
        if start.startswith(magic):
            with opener(stream) as plain:
                yield plain
            return
    yield stream


def _read_capped(body: IO[bytes], cap: int) -> bytes:
    parts, left = [], cap
    while piece := body.read(_PIECE):
        left -= len(piece)
        if left < 0:
            raise _TooMuch
        parts.append(piece)
    return b"".join(parts)


_KINDS = {
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
    tarfile.GNUTYPE_SPARSE: "sparse file",
}


def _unexpected(name: str, kind: str, where: str) -> DataError:
    return DataError(f'holds an unexpected {kind}, "{shown(name)}"', where=where, mend=_MEND)


def _bomb(cap: int, where: str) -> DataError:
    return DataError(
        f"unpacks to more than the {cap:,} bytes that it should hold", where=where, mend="delete it and fetch it again"
    )
