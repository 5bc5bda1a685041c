"""An append-only log: one JSON object a line, each line with its own CRC.

    {"epoch":1,"loss":0.5,"crc":"1c291ca3"}

``crc`` is the CRC-32 (zlib's) of the line's bytes before ``,"crc"``, in 8 hexadecimal digits. A line without its end
is a write that was cut off: it is dropped, and cut away by the next append.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamina.errors import CheckpointError, ConfigError, shown
from lamina.io import atomic, filesystem
from lamina.io.filesystem import APPEND, patiently, refuse
from lamina.io.strict_json import dump_json, parse_json, read_checked

_MOST_LINE = 64 << 20
_MOST_BYTES = 4 << 30
_CRC = re.compile(rb'(?P<body>\{.*?),?"crc":"(?P<crc>[0-9a-f]{8})"\}', re.DOTALL)
_STEP = 64 << 10
_LOST = "resume from a checkpoint that is older than the damage, or restore the file from a copy"


class Records(list[dict[str, Any]]):
    """The records of a log, oldest first.

    Attributes:
        note: What was dropped at the end, for the user; empty if nothing was.
    """

    note: str = ""


def append_record(path: str | Path, record: Mapping[str, object], *, sync: bool = True) -> None:
    """Append one record to a log; the file is created if it is missing.

    After a failure the records before it are whole: the file is cut back to its former size.

    Raises ``ConfigError`` if the record has no form in JSON. Raises ``MachineError`` if the disk refuses.

    Args:
        path: The log.
        record: Anything that JSON holds, except the key ``crc``; NaN and infinity become null.
        sync: Whether to return only when the record is on the disk.
    """
    path = Path(path)
    line = _line(record)
    system = filesystem.active
    try:
        fresh = not os.path.lexists(path)
        fd = patiently(system.open, path, APPEND)
        try:
            size = os.fstat(fd).st_size
            whole = _whole_lines(fd, size)
            if whole < size:  # a former append was cut off here
                patiently(system.truncate, fd, whole)
            try:
                atomic.write_open(fd, line)
                if sync:
                    patiently(system.fsync, fd)
            except BaseException:
                with contextlib.suppress(OSError):
                    patiently(system.truncate, fd, whole)
                raise
        finally:
            with contextlib.suppress(OSError):
                system.close(fd)
        if fresh and sync:
            patiently(system.fsync_folder, path.parent)
    except OSError as error:
        refuse(error, path)


def _line(record: Mapping[str, object]) -> bytes:
    if "crc" in record:
        raise ConfigError('the key "crc" is reserved in a record')
    body = dump_json(record).encode("ascii")[:-1]
    return body + (b"," if record else b"") + b'"crc":"%08x"}\n' % zlib.crc32(body)


def _whole_lines(fd: int, size: int) -> int:
    """Return the size of the file up to the last line end, reading backwards from its end."""
    end = size
    while end > 0:
        start = max(0, end - _STEP)
        found = _read_at(fd, start, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read_at(fd: int, start: int, size: int) -> bytes:
    os.lseek(fd, start, os.SEEK_SET)
    data = b""
    while len(data) < size and (part := patiently(filesystem.active.read, fd, size - len(data))):
        data += part
    return data


def read_records(path: str | Path) -> Records:
    """Read all whole records of a log.

    A last line without its end is dropped, and ``.note`` of the result says so.

    Raises ``CheckpointError`` if the file is missing, or a line is damaged: names the line.

    Returns:
        The records, oldest first; a list with a ``note``.
    """
    path = Path(path)
    lines, cut = _lines(path)
    records = Records(_parse(line, i, path) for i, line in enumerate(lines, 1))
    if cut:
        records.note = f"{shown(path, 200)} line {len(lines) + 1}: was cut off ({cut} bytes) and is dropped"
    return records


def _lines(path: Path) -> tuple[list[bytes], int]:
    lines = read_checked(path, _MOST_BYTES).split(b"\n")
    return lines[:-1], len(lines[-1])


def _parse(line: bytes, number: int, path: Path) -> dict[str, Any]:
    where = f"{shown(path, 200)} line {number}"
    found = _CRC.fullmatch(line) if len(line) <= _MOST_LINE else None
    if found is None or int(found["crc"], 16) != zlib.crc32(found["body"]):
        raise CheckpointError("is damaged (its CRC differs)", where=where, mend=_LOST)
    record = parse_json(found["body"] + b"}", where)
    if not isinstance(record, dict):
        raise CheckpointError("is not a record", where=where, mend=_LOST)
    return record


def truncate_records(path: str | Path, n: int) -> None:
    """Keep the first ``n`` records of a log, in one step: it holds all or ``n`` at every instant.

    Raises ``MachineError`` if the disk refuses.

    Args:
        path: The log; may be missing if ``n`` is 0.
        n: How many records the checkpoint knows of.

    Raises:
        CheckpointError: If the log holds fewer than ``n`` records, or one of the first ``n`` is damaged.
    """
    path = Path(path)
    if n == 0 and not path.exists():
        return
    lines, cut = _lines(path)
    if len(lines) < n:
        raise CheckpointError(
            f"holds {len(lines)} records, but the checkpoint was written after {n}", where=shown(path, 200), mend=_LOST
        )
    for i, line in enumerate(lines[:n], 1):
        _parse(line, i, path)
    if len(lines) > n or cut:
        atomic.write_file(path, b"".join(line + b"\n" for line in lines[:n]))
