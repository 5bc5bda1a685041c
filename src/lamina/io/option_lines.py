"""Choices written in one line, ``NAME:OPTION=VALUE:OPTION=VALUE``, checked against what the chosen thing takes."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from lamina.errors import ConfigError, nearest, shown


def options_of(make: Callable[..., Any], leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return the arguments of a class or function that a line can set, each with its type.

    Args:
        make: What is called with them.
        leave_out: Arguments that come from elsewhere.

    Returns:
        Argument to ``float``, ``int``, ``bool``, ``str`` or a ``Literal`` of words; arguments of other types are left
        out.
    """
    # A class's own hints are those of its attributes.
    hints = typing.get_type_hints(typing.cast(Any, make).__init__ if isinstance(make, type) else make)
    found: dict[str, Any] = {}
    for name in inspect.signature(make).parameters:
        if name in leave_out or name.startswith("_"):
            continue
        for hint in _alternatives(hints.get(name)):
            if hint in {float, int, bool, str} or typing.get_origin(hint) is Literal:
                found[name] = hint
    return found


def read_options(name: str, parts: Sequence[str], known: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Read ``OPTION=VALUE`` parts.

    Args:
        name: What they are options of.
        parts: As written.
        known: What it takes; see ``options_of``.
        where: The setting, for messages.

    Returns:
        Option to value, in its type.

    Raises:
        ConfigError: If an option is unknown, given twice, or its value is of another type.
    """
    given: dict[str, Any] = {}
    for part in parts:
        key, _, text = part.partition("=")
        key = key.strip()
        if key not in known or key in given:
            what = "is given twice" if key in given else f"is no option of {name}{nearest(key, list(known))}"
            raise ConfigError(f'"{shown(key)}" {what}', where=where, mend=f"options: {', '.join(known) or 'none'}")
        given[key] = _value(f"{key} of {name}", text.strip(), known[key], where, f"write {key}=1")
    return given


def read_number(text: str, what: str, *, where: str, mend: str) -> float:
    """Return the finite number that a text says.

    Raises:
        ConfigError: If it says none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{what} must be a number, got {shown(text)!r}", where=where, mend=mend)
    return value


def _value(what: str, text: str, kind: Any, where: str, mend: str) -> object:
    if typing.get_origin(kind) is Literal or kind is bool:
        words = ("true", "false") if kind is bool else typing.get_args(kind)
        if text not in words:
            raise ConfigError(
                f"{what} must be one of {', '.join(words)}, got {shown(text)!r}{nearest(text, list(words))}",
                where=where,
                mend=f"write {what.partition(' ')[0]}={words[0]}",
            )
        return text == "true" if kind is bool else text
    if kind is str:
        return text
    number = read_number(text, what, where=where, mend=mend)
    if kind is float:
        return number
    if number.is_integer():
        return int(number)
    raise ConfigError(f"{what} must be a whole number, got {shown(text)!r}", where=where, mend=mend)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        return tuple(a for a in typing.get_args(hint) if a is not types.NoneType)
    return (hint,)
