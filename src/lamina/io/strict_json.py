"""JSON by the letter of RFC 8259, and files of it that notice every change.

What is written holds no NaN: a number that is not finite becomes null. What is read is refused, with the path of the
value, if it holds NaN, a key twice, numbers beyond float64, or more than 100 levels. A guarded file carries the SHA-256
of its own canonical content, and a schema with a version.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamina.errors import CheckpointError, ConfigError, shown
from lamina.io import atomic

JSON = None | bool | int | float | str | list[Any] | dict[str, Any]

_MOST_BYTES = 256 << 20
_MOST_LEVELS = 100
_MOST_DIGITS = 400
_RESERVED = ("schema", "sha256")


def plain(value: object, path: str = "$") -> JSON:
    """Return ``value`` in JSON's own types: tuples as lists, NumPy numbers as numbers, NaN and infinity as null.

    Raises ``ConfigError`` if something in it has no form in JSON, naming its path.

    Args:
        value: Mappings with string keys, sequences, strings, numbers, booleans, None, nested at most 100 levels.
        path: The place of ``value``, for the message.

    Returns:
        A copy made of dict, list, str, int, float, bool and None only.
    """
    return _plain(value, path, 0)


def _plain(value: object, path: str, level: int) -> JSON:  # noqa: PLR0911 - one line for each of JSON's types
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if level >= _MOST_LEVELS:
        raise ConfigError(f"{shown(path, 200)} is nested more than {_MOST_LEVELS} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{shown(path, 200)} has the key {shown(repr(key))}, which is not a string")
        return {str(key): _plain(inner, f"{path}.{key}", level + 1) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(inner, f"{path}[{i}]", level + 1) for i, inner in enumerate(value)]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of NumPy or torch
        return _plain(value.item(), path, level + 1)
    raise ConfigError(f"{shown(path, 200)} is a {type(value).__name__}, which JSON cannot hold")


def dump_json(value: object) -> str:
    """Return ``value`` as one line of strict JSON: ASCII, keys in their order, non-finite numbers as null.

    Raises ``ConfigError`` if something in it has no form in JSON, naming its path.

    Returns:
        The text, without a line end.
    """
    return json.dumps(plain(value), allow_nan=False, separators=(",", ":"))


def parse_json(data: bytes, where: str) -> JSON:
    """Read strict JSON.

    Args:
        data: The text in UTF-8.
        where: The file, for messages.

    Returns:
        The value.

    Raises:
        CheckpointError: If it is not strict JSON, naming line and column or the path of the value.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_constant=lambda word: _Refused(f"is {word}, which JSON does not know"),
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(f"byte {error.start} is not UTF-8", where=where, mend=_RESTORE) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}", where=where, mend=_RESTORE
        ) from error
    except RecursionError as error:
        raise CheckpointError(f"is nested more than {_MOST_LEVELS} levels deep", where=where, mend=_RESTORE) from error
    _check(value, where)
    return value  # type: ignore[no-any-return]


_RESTORE = "restore the file from a copy"


class _Refused:
    """Stands in the parsed tree for a value that is not allowed, until its path is known."""

    def __init__(self, why: str) -> None:
        self.why = why


def _pairs(pairs: list[tuple[str, Any]]) -> object:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return _Refused(f'has the key "{shown(twice)}" twice')
    return found


def _integer(digits: str) -> object:
    return int(digits) if len(digits) <= _MOST_DIGITS else _Refused(f"is a number of {len(digits)} digits")


def _check(value: object, where: str) -> None:
    todo: list[tuple[object, Any, int]] = [(value, None, 0)]  # (value, (parent's link, key), level)
    while todo:
        current, link, level = todo.pop()
        why = ""
        if isinstance(current, _Refused):
            why = current.why
        elif isinstance(current, float):
            why = "" if math.isfinite(current) else "is beyond the range of float64"
        elif isinstance(current, dict | list):
            if level >= _MOST_LEVELS:
                why = f"is nested more than {_MOST_LEVELS} levels deep"
            else:
                inner = current.items() if isinstance(current, dict) else enumerate(current)
                todo.extend((child, (link, key), level + 1) for key, child in inner)
        if why:
            raise CheckpointError(f"{shown(_path(link), 200)} {why}", where=where, mend=_RESTORE)


def _path(link: Any) -> str:
    steps: list[str] = []
    while link is not None:
        link, key = link
        steps.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "$" + "".join(reversed(steps))


def guarded_bytes(content: Mapping[str, object], kind: str, version: int = 1) -> bytes:
    """Return the bytes of a guarded JSON file: ``schema``, ``sha256`` of the canonical content, then the content.

    Canonical: keys sorted, no spaces, ASCII, over everything but ``sha256`` itself.

    Returns:
        The text of the file, indented by 2.

    Raises:
        ConfigError: If the content uses a reserved key, or has no form in JSON.
    """
    for key in _RESERVED:
        if key in content:
            raise ConfigError(f'the key "{key}" is reserved in a {kind} file')
    body = plain({"schema": f"lamina.{kind}/{version}", "sha256": "", **content})
    document = dict(body) if isinstance(body, dict) else {}
    document["sha256"] = _guard(document)
    return _render(document)


def _render(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, allow_nan=False, indent=2) + "\n").encode("ascii")


def _guard(document: Mapping[str, Any]) -> str:
    canonical = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(canonical, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_guarded(data: bytes, kind: str, version: int, where: str, *, exact: bool = False) -> dict[str, Any]:
    """Check and read the bytes of a guarded JSON file.

    Args:
        data: The file.
        kind: What it must be.
        version: The newest version of that kind which the caller understands.
        where: The file, for messages.
        exact: Refuse also a change that leaves the content as it was (spaces, the case of a hexadecimal digit).

    Returns:
        The content, without ``schema`` and ``sha256``.

    Raises:
        CheckpointError: If it is damaged, of another kind, or of a newer version.
    """
    document = parse_json(data, where)
    if not isinstance(document, dict):
        raise CheckpointError(f"$ is a {_named(document)}, not an object", where=where, mend=_RESTORE)
    for key in _RESERVED:
        if not isinstance(document.get(key), str):
            raise CheckpointError(f'has no "{key}", so it cannot be checked', where=where, mend=_RESTORE)
    if document["sha256"] != _guard(document) or (exact and data != _render(document)):
        raise CheckpointError(
            "was changed or damaged after it was written (its SHA-256 differs)", where=where, mend=_RESTORE
        )
    name, _, number = document["schema"].rpartition("/")
    if name != f"lamina.{kind}":
        raise CheckpointError(f"is a {shown(document['schema'])} file, not lamina.{kind}", where=where)
    if not number.isdecimal() or int(number) > version:
        by = document.get("lamina")
        raise CheckpointError(
            f"was written by {f'lamina {shown(by)}' if isinstance(by, str) else 'a newer lamina'} in format "
            f"{shown(number)}; this lamina reads up to {version}",
            where=where,
            mend="update lamina: pip install -U lamina",
        )
    return {key: value for key, value in document.items() if key not in _RESERVED}


def _named(value: object) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def write_json(path: str | Path, content: Mapping[str, object], kind: str, *, version: int = 1) -> None:
    """Write a guarded JSON file, whole or not at all.

    Raises ``ConfigError`` if the content has no form in JSON. Raises ``MachineError`` if the disk refuses.

    Args:
        path: The file; its folder must exist.
        content: A mapping; ``schema`` and ``sha256`` are reserved keys. NaN and infinity are written as null.
        kind: What the file is, as in "report".
        version: The version of that kind's schema.
    """
    atomic.write_file(path, guarded_bytes(content, kind, version))


def read_json(path: str | Path, kind: str, *, version: int = 1) -> dict[str, Any]:
    """Read a guarded JSON file that ``write_json`` wrote.

    Raises ``CheckpointError`` if it is missing, damaged, larger than 256 MB, of another kind or a newer version.

    Returns:
        The content.
    """
    path = Path(path)
    return parse_guarded(read_checked(path, _MOST_BYTES), kind, version, shown(path, 200))


def read_checked(path: Path, most: int) -> bytes:
    """Read a whole file of the run folder.

    Returns:
        Its bytes.

    Raises:
        CheckpointError: If it is missing, cannot be read, or is larger than ``most`` bytes.
    """
    where = shown(path, 200)
    try:
        data = atomic.read_bytes(path, most)
    except FileNotFoundError as error:
        raise CheckpointError("is missing", where=where, mend=_RESTORE) from error
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", where=where, mend=_RESTORE) from error
    if len(data) > most:
        raise CheckpointError(f"is larger than {most >> 20} MB", where=where, mend=_RESTORE)
    return data
