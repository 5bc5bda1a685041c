"""Bytes of a text table: opened, recognised, unpacked, decoded to UTF-8, and handed on in blocks of whole bytes.

What looks like a table and is none (a web page, a spreadsheet, a picture) is refused by its first bytes. Unpacking is
streamed under two caps, the number of bytes and the ratio of unpacking, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import difflib
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from lamina.errors import ConfigError, DataError, MachineError, shown

BLOCK = 1 << 22
MAX_RATIO = 200
_RATIO_FROM = 1 << 26
_PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_MARKS = [
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_FOREIGN = [
    (b"%PDF", "a PDF document", "export the table from it as CSV"),
    (
        b"PK\x03\x04",
        "a spreadsheet (.xlsx, .ods) or a zip archive",
        "save the sheet as CSV, or unpack the archive first",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)", "save the sheet as CSV"),
    (b"\x89PNG", "a PNG picture", "give a table, or a folder with one sub-folder of pictures per class"),
    (b"\xff\xd8\xff", "a JPEG picture", "give a table, or a folder with one sub-folder of pictures per class"),
    (b"GIF8", "a GIF picture", "give a table, or a folder with one sub-folder of pictures per class"),
    (b"\x89HDF", "an HDF5 file", "export the table from it as CSV or Parquet"),
    (b"SQLite format 3", "an SQLite database", "export the table from it as CSV"),
    (b"{\\rtf", "an RTF document", "save it as plain CSV"),
    (b"\x93NUMPY", "a NumPy array", "save it as .npz with x and y, or as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
]
_STAMP = tuple[int, int, int]


class Source:
    """A file, or standard input, that can be read several times.

    Args:
        path: The file; ``-`` is standard input, which is kept in memory.
        encoding: The text encoding if it is known; otherwise a byte-order mark decides, else UTF-8.
        max_bytes: Most bytes that may come out of it, unpacked.

    Raises:
        ConfigError: If there is no such file, or it is a folder.
        MachineError: If it may not be read.
        DataError: If it is empty, or no table.
    """

    def __init__(self, path: str | Path, *, encoding: str | None, max_bytes: int) -> None:
        self.path = Path(path)
        self.stdin = str(path) == "-"
        self.name = "standard input" if self.stdin else self.path.name
        self.max_bytes = max_bytes
        self.memory: bytes | None = None
        if encoding is not None:
            try:
                encoding = codecs.lookup(encoding).name
            except (LookupError, ValueError):
                raise ConfigError(
                    f'unknown encoding "{shown(encoding)}"', mend="for example --encoding latin-1, cp1252, utf-16"
                ) from None
        if self.stdin:
            self.memory = _read_stdin(max_bytes)
            self.stamp: _STAMP = (len(self.memory), 0, 0)
        else:
            self.stamp = _look(self.path)
        self.size = self.stamp[0]
        with self._raw() as stream:
            head = stream.read(16)
        if not head:
            if self.stdin:
                raise DataError("no rows on standard input", mend="pipe a table into it, with a header line")
            raise DataError("the file is empty", where=shown(self.name), mend="check how it was written or downloaded")
        self.packed = next((how for magic, how in _PACKED.items() if head.startswith(magic)), None)
        try:
            with self._unpacked() as stream:
                head = stream.read(4096)
        except (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise self._damaged(0, error) from None
        if not head:
            raise DataError("nothing is packed in it", where=shown(self.name), mend="check how it was written")
        self.head = head
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        self.encoding = encoding or marked or "utf-8"
        if self.encoding == "utf-8" and marked == "utf-8-sig":
            self.encoding = "utf-8-sig"

    @property
    def binary(self) -> str | None:
        """``parquet`` or ``arrow`` if the file is one of these."""
        if self.head.startswith(b"PAR1"):
            return "parquet"
        return "arrow" if self.head.startswith(b"ARROW1") else None

    def refuse_foreign(self) -> None:
        """Refuse what is certainly no text table.

        Raises:
            DataError: Names what the file is and how to convert it.
        """
        for magic, what, mend in _FOREIGN:
            if self.head.startswith(magic):
                raise DataError(f"this is {what}, not a table", where=shown(self.name), mend=mend)
        if self.head[:1] == b"\x80" and self.head[1:2] in b"\x02\x03\x04\x05":
            raise DataError(
                "this is a Python pickle, which lamina does not open because it can run code",
                where=shown(self.name),
                mend="write the table as CSV or Parquet where it was made",
            )
        start = self.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
        if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (
            start.startswith(b"<?xml") or b"<html" in start
        ):
            raise DataError(
                "this is an HTML or XML page, not a table (a failed download?)",
                where=shown(self.name),
                mend="download the file itself, for example the raw CSV behind the page",
            )

    def open_binary(self) -> Any:
        """Return what pyarrow's Parquet and Arrow readers open.

        Returns:
            The path, or the bytes of standard input.
        """
        return pa.BufferReader(self.memory) if self.memory is not None else str(self.path)

    def blocks(self) -> Iterator[bytes]:
        """Yield the text as UTF-8 in blocks of about 4 MiB, cut anywhere (for UTF-8 input, at any byte).

        Yields:
            Bytes; line ends as in the file.

        Raises:
            DataError: If the packing is damaged, a cap is passed, or a character cannot be decoded.
        """
        plain = self.encoding in {"utf-8", "utf-8-sig", "ascii"}
        decoder = None if plain else codecs.getincrementaldecoder(self.encoding)()
        line, first = 1, True
        for raw in self._raw_blocks():
            block = raw
            if decoder is None:
                if first and block.startswith(codecs.BOM_UTF8):
                    block = block[3:]
            else:
                try:
                    text = decoder.decode(raw)
                except UnicodeDecodeError as error:
                    before = error.object[: error.start].decode(self.encoding, errors="replace")
                    raise DataError(
                        f"byte 0x{error.object[error.start]:02x} is not {self.encoding}",
                        where=f"{shown(self.name)} line {line + before.count(chr(10))}",
                        mend="give the right --encoding, for example utf-8, latin-1 or cp1252",
                    ) from None
                block = (text.lstrip("\ufeff") if first else text).encode("utf-8", "replace")
                line += text.count("\n")
            first = False
            if block:
                yield block
        if decoder is not None:
            try:
                tail = decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                raise DataError(
                    f"the file ends inside a character of {self.encoding}",
                    where=shown(self.name),
                    mend="the file is cut short, or it has another --encoding",
                ) from None
            if tail:
                yield tail.encode("utf-8")

    def check_unchanged(self) -> None:
        """Compare size, time of change and inode with those seen before reading.

        Raises:
            DataError: If the file has changed while it was read.
        """
        if not self.stdin and _look(self.path) != self.stamp:
            raise DataError(
                "the file changed while it was read", where=shown(self.name), mend="run again when its writer is done"
            )

    def _raw(self) -> IO[bytes]:
        if self.memory is not None:
            return io.BytesIO(self.memory)
        try:
            return self.path.open("rb")
        except OSError as error:
            raise MachineError(
                f"cannot be read: {error.strerror}", where=shown(self.path), mend="check its permissions"
            ) from None

    @contextlib.contextmanager
    def _unpacked(self) -> Iterator[Any]:
        with self._raw() as raw:
            if self.packed == "gzip":
                stream: Any = gzip.GzipFile(fileobj=raw)
            elif self.packed == "xz":
                stream = lzma.LZMAFile(raw)  # noqa: SIM115 (closed below)
            elif self.packed == "bz2":
                stream = bz2.BZ2File(raw)
            elif self.packed == "zstd":
                stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
            else:
                yield raw
                return
            with stream:
                yield stream

    def _raw_blocks(self) -> Iterator[bytes]:
        done = lines = 0
        with self._unpacked() as stream:
            while True:
                try:
                    block = stream.read(BLOCK)
                except (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as error:
                    if self.packed is None:
                        raise MachineError(
                            f"cannot be read: {error}", where=shown(self.name), mend="check the disk"
                        ) from None
                    raise self._damaged(lines, error) from None
                if not block:
                    if self.packed == "zstd" and not self._zstd_whole():
                        raise self._damaged(lines, EOFError("it ends early"))
                    return
                done += len(block)
                if self.packed is not None:
                    lines += block.count(b"\n")
                    if done > _RATIO_FROM and done > MAX_RATIO * self.size:
                        raise DataError(
                            f"unpacks to more than {MAX_RATIO} times its {self.size:,} bytes, which no table does",
                            where=shown(self.name),
                            mend="unpack it yourself first if you trust it",
                        )
                if done > self.max_bytes:
                    raise DataError(
                        f"holds more than {self.max_bytes:,} bytes",
                        where=shown(self.name),
                        mend="give fewer rows or columns, or raise --max-bytes",
                    )
                yield bytes(block)

    def _zstd_whole(self) -> bool:
        # Whether the zstd data ends where a frame ends: pyarrow's stream does not tell a cut file.
        with self._raw() as raw:
            return _zstd_frames_end(raw.read())

    def _damaged(self, lines: int, error: Exception) -> DataError:
        return DataError(
            f"the {self.packed} data is damaged or cut short after {max(0, lines - 1):,} rows ({shown(error)})",
            where=shown(self.name),
            mend="download or pack the file again; nothing of it was used",
        )


def _zstd_frames_end(data: bytes) -> bool:
    # Walk the frames and blocks of zstd data by their headers (RFC 8878, section 3.1.1).
    #
    # Returns:
    #     Whether the data ends exactly at the end of a frame.
    at, n = 0, len(data)
    while at < n:
        magic = int.from_bytes(data[at : at + 4], "little")
        if 0x184D2A50 <= magic <= 0x184D2A5F:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        if magic != 0xFD2FB528 or at + 5 > n:
            return False
        flags = data[at + 4]
        single, checksum = flags >> 5 & 1, flags >> 2 & 1
        at += 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3] + ((1 if single else 0), 2, 4, 8)[flags >> 6]
        while True:
            if at + 3 > n:
                return False
            header = int.from_bytes(data[at : at + 3], "little")
            at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
            if header & 1:
                break
        at += 4 * checksum
    return at == n


def _read_stdin(max_bytes: int) -> bytes:
    data = sys.stdin.buffer.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise DataError(f"standard input holds more than {max_bytes:,} bytes", mend="raise --max-bytes")
    return data


def _look(path: Path) -> _STAMP:
    # Return size, time of change and inode; refuse what is no readable file.
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError, OSError) as error:
        if isinstance(error, PermissionError):
            raise MachineError(f"cannot be read: {error.strerror}", where=shown(path)) from None
        raise ConfigError(f"there is no file {shown(path, 200)}{_near(path)}", mend="check the path") from None
    if stat.S_ISDIR(found.st_mode):
        inside = ", ".join(shown(name, 30) for name in sorted(os.listdir(path))[:3]) or "nothing"
        raise ConfigError(
            f"{shown(path, 200)} is a folder, not a table (it holds {inside})", mend="give one of the files in it"
        )
    if not os.access(path, os.R_OK):
        mode = stat.filemode(found.st_mode)
        raise MachineError(
            f"cannot be read (owner {found.st_uid}, mode {mode})", where=shown(path), mend="change its permissions"
        )
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _near(path: Path) -> str:
    # Name the file in the same folder that has the nearest name.
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f'; did you mean "{shown(path.parent / close[0], 200)}"?' if close else ""
