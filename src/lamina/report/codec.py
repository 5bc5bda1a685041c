"""Frozen dataclasses to strict JSON values and back, checked on the way in.

What is written holds no NaN and no infinity: such a number becomes null. What is read is checked against the type hints
of the dataclass, so that a report is only made from facts that have the right shape.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from lamina.errors import CheckpointError, shown

_MEND = "make the report again from the run: lamina report RUN"


def plain(value: Any) -> Any:
    """Turn dataclasses, tuples, numpy numbers and non-finite floats into what strict JSON can say.

    Returns:
        Nested dicts, lists, strings, numbers, booleans and None; NaN and infinities are None.

    Raises:
        TypeError: If something is none of these.
    """
    result: Any
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        result = value
    elif isinstance(value, float):
        result = value if math.isfinite(value) else None
    elif is_dataclass(value) and not isinstance(value, type):
        result = {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    elif isinstance(value, typing.Mapping):
        result = {str(key): plain(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        result = [plain(item) for item in value]
    else:
        raise TypeError(f"a report cannot hold a {type(value).__name__}")
    return result


def build(kind: Any, value: Any, where: str) -> Any:
    """Build an object of a type from JSON values.

    Args:
        kind: A dataclass, or the hint of one of its fields: ``str``, ``int``, ``float``, ``bool``, ``Any``, a
            ``Literal``, ``X | None``, ``tuple[X, ...]``, ``dict[str, X]``.
        value: What ``json.loads`` returned.
        where: The place, for messages.

    Returns:
        The object.

    Raises:
        CheckpointError: If the value does not fit the type.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    result = value
    if is_dataclass(kind):
        result = _build_record(kind, value, where)
    elif origin in {types.UnionType, typing.Union}:
        (some,) = [a for a in inner if a is not types.NoneType]
        result = None if value is None else build(some, value, where)
    elif origin is tuple:
        result = tuple(build(inner[0], item, f"{where}[{i}]") for i, item in enumerate(_expect(value, list, where)))
    elif origin is dict:
        entries = _expect(value, dict, where).items()
        result = {key: build(inner[1], item, f"{where}.{shown(key)}") for key, item in entries}
    elif origin is typing.Literal:
        if value not in inner:
            raise CheckpointError(
                f"must be one of {', '.join(map(str, inner))}, got {shown(repr(value))}", where=where, mend=_MEND
            )
    elif kind is not Any:
        result = _build_plain(kind, value, where)
    return result


def _build_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is not bool and isinstance(value, bool):
        raise _wrong(f"must be {kind.__name__}", value, where)
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        raise _wrong("must be finite", value, where)
    return _expect(value, kind, where)


def _build_record(kind: Any, value: Any, where: str) -> Any:
    entries = _expect(value, dict, where)
    hints = _hints(kind)
    unknown = sorted(set(entries) - set(hints))
    if unknown:
        raise CheckpointError(f'has an unknown entry "{shown(unknown[0])}"', where=where, mend=_MEND)
    arguments: dict[str, Any] = {}
    for entry in fields(kind):
        if entry.name in entries:
            arguments[entry.name] = build(hints[entry.name], entries[entry.name], f"{where}.{entry.name}")
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise CheckpointError(f'lacks "{entry.name}"', where=where, mend=_MEND)
    return kind(**arguments)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _expect(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong(f"must be {kind.__name__}", value, where)
    return value


def _wrong(constraint: str, value: object, where: str) -> CheckpointError:
    return CheckpointError(f"{constraint}, got {shown(repr(value))}", where=where, mend=_MEND)
