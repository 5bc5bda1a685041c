"""TOML files: written with a SHA-256 in their last line, read with the line and column of every mistake."""

from __future__ import annotations

import datetime
import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamina.errors import CheckpointError, ConfigError, shown
from lamina.io import atomic
from lamina.io.filesystem import refuse
from lamina.io.strict_json import read_checked

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLACE = re.compile(r" ?\((?:at (?:line (\d+), column (\d+)|end of document))\)$")
_MOST_BYTES = 16 << 20
_MOST_LEVELS = 100
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_GUARD = re.compile(rb"# sha256 ([0-9a-f]{64})\n")


def dump_toml(mapping: Mapping[str, object]) -> str:
    """Return a mapping as TOML 1.0: values first, then a ``[table]`` for each inner mapping. None is left out.

    Raises ``ConfigError`` if something in it has no form in TOML, naming its key.

    Args:
        mapping: String keys; strings, integers, floats (``nan`` and ``inf`` too), booleans, dates and times, lists,
            mappings, nested at most 100 levels.

    Returns:
        The text; ``tomllib.loads`` gives the mapping back.
    """
    lines: list[str] = []
    _table(mapping, (), lines)
    return "\n".join(lines).lstrip("\n") + ("\n" if lines else "")


def _table(mapping: Mapping[str, object], above: tuple[str, ...], lines: list[str]) -> None:
    if len(above) > _MOST_LEVELS:
        raise ConfigError(f"{shown('.'.join(above))} is nested more than {_MOST_LEVELS} levels deep")
    inner: list[tuple[str, object]] = []
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise ConfigError(f"{shown('.'.join(above)) or 'TOML'} has the key {shown(repr(key))}, which is no string")
        if value is None:
            continue
        if isinstance(value, Mapping) or _tables(value):
            inner.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_value(value, (*above, key))}")
    for key, value in inner:
        path = (*above, key)
        heading = ".".join(map(_key, path))
        if isinstance(value, Mapping):
            lines.extend(("", f"[{heading}]"))
            _table(value, path, lines)
        elif isinstance(value, Sequence):
            for one in value:
                lines.extend(("", f"[[{heading}]]"))
                _table(one, path, lines)


def _tables(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and len(value) > 0
        and all(isinstance(one, Mapping) for one in value)
    )


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key, (key,))


def _value(value: object, path: tuple[str, ...]) -> str:  # noqa: PLR0911 - one line for each of TOML's types
    if len(path) > _MOST_LEVELS:
        raise ConfigError(f"{shown('.'.join(path))} is nested more than {_MOST_LEVELS} levels deep")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value, path)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(one, (*path, key))}" for key, one in value.items() if one is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ", ".join(_value(one, (*path, str(i))) for i, one in enumerate(value)) + "]"
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of NumPy or torch
        return _value(value.item(), (*path, ""))
    raise ConfigError(f'"{shown(".".join(path))}" is a {type(value).__name__}, which TOML cannot hold')


def _string(text: str, path: tuple[str, ...]) -> str:
    parts = []
    for c in text:
        if 0xD800 <= ord(c) <= 0xDFFF:
            raise ConfigError(f'"{shown(".".join(path))}" holds text that is not Unicode: {shown(repr(text))}')
        if c in _SHORT:
            parts.append(_SHORT[c])
        elif c.isprintable():
            parts.append(c)
        else:
            parts.append(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}")
    return '"' + "".join(parts) + '"'


def write_toml(path: str | Path, mapping: Mapping[str, object]) -> None:
    """Write a TOML file whose last line is the SHA-256 of what stands before it.

    Raises ``ConfigError`` if the mapping has no form in TOML. Raises ``MachineError`` if the disk refuses; the
    old file is intact then.

    Args:
        path: The file; its folder must exist.
        mapping: See ``dump_toml``.
    """
    body = dump_toml(mapping).encode("utf-8")
    atomic.write_file(path, body + b"# sha256 " + hashlib.sha256(body).hexdigest().encode("ascii") + b"\n")


def read_toml(path: str | Path, *, guarded: bool) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.
        guarded: Whether lamina wrote it, so that its SHA-256 must agree; false for a file of the user's.

    Returns:
        The tables and values.

    Raises:
        ConfigError: If a user's file is missing or not TOML: names line and column.
        CheckpointError: If a guarded file is missing, damaged or changed.
    """
    path = Path(path)
    where = shown(path, 200)
    data = _unguarded(read_checked(path, _MOST_BYTES), where) if guarded else _read_users(path, where)
    try:
        return _parse(data, where)
    except ConfigError as error:
        if guarded:
            raise CheckpointError(error.what, where=error.where, mend="restore the file from a copy") from error
        raise


def _unguarded(data: bytes, where: str) -> bytes:
    at = data.rfind(b"# sha256 ")
    found = _GUARD.fullmatch(data, at) if at >= 0 else None
    if found is None:
        raise CheckpointError(
            "does not end with its SHA-256 line, so it cannot be checked",
            where=where,
            mend="restore the file from a copy",
        )
    if hashlib.sha256(data[:at]).hexdigest().encode("ascii") != found[1]:
        raise CheckpointError(
            "was changed or damaged after it was written (its SHA-256 differs)",
            where=where,
            mend="restore the file from a copy; to run with other settings, start a new run",
        )
    return data[:at]


def _read_users(path: Path, where: str) -> bytes:
    try:
        data = atomic.read_bytes(path, _MOST_BYTES)
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", where=where, mend="check the path") from error
    except IsADirectoryError as error:
        raise ConfigError("is a folder, not a file", where=where, mend="give a TOML file") from error
    except OSError as error:
        refuse(error, path, "cannot be read")
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"is larger than {_MOST_BYTES >> 20} MB", where=where, mend="give a TOML file")
    return data


def _parse(data: bytes, where: str) -> dict[str, Any]:
    for mark, name in ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if data.startswith(mark):
            raise ConfigError(
                f"begins with a {name} byte order mark",
                where=f"{where} line 1, column 1",
                mend="save the file as UTF-8 without BOM",
            )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode("utf-8"))
        raise ConfigError(
            "is not UTF-8", where=f"{where} line {line}, column {column}", mend="save the file as UTF-8"
        ) from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError("is nested too deep", where=where, mend="use fewer levels") from error
    except ValueError as error:  # TOMLDecodeError, and integers of more than 4,300 digits
        message = str(error)
        found = _PLACE.search(message)
        line, column = (int(found[1]), int(found[2])) if found and found[1] else _place(text.rstrip("\n"))
        raise ConfigError(
            f"is not TOML: {shown(_PLACE.sub('', message), 100)}",
            where=f"{where} line {line}, column {column}",
            mend="correct the line (https://toml.io shows the form)",
        ) from error


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
