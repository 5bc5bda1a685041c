"""How the value of a setting is read, checked against its type and range, and told in words."""

from __future__ import annotations

import importlib
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from lamina.errors import ConfigError, nearest, shown


def default_words(value: object) -> str:
    """Return a default in words; None is chosen from the data."""
    if value is None:
        return "chosen"
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def kind_of(hint: Any) -> Any:
    """Return the type of a setting that is not None."""
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        (hint,) = (a for a in typing.get_args(hint) if a is not types.NoneType)
    return hint


def type_words(hint: Any) -> str:
    """Return the type of a setting in words."""
    kind = kind_of(hint)
    if typing.get_origin(kind) is Literal:
        return " | ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"{type_words(typing.get_args(kind)[0])}, ..."
    return {int: "whole number", float: "number", bool: "true | false", str: "text"}[kind]


def read_value(name: str, value: object, hint: Any, default: object, where: str) -> object:
    """Turn what was typed, or stood in a TOML file, into a setting's type.

    Args:
        name: The setting.
        value: As given.
        hint: Its type, with or without None.
        default: None where the setting may be left open.
        where: The option or file, for messages.

    Returns:
        The value.

    Raises:
        ConfigError: If it is none of that type, or says something that cannot be.
    """
    kind = kind_of(hint)
    words = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    left_open = isinstance(value, str) and value.lower() in {"none", "auto"} and value not in words
    if value is None or (left_open and default is None):
        return None
    if name in LINES:
        try:
            return LINES[name](value)
        except ConfigError as error:
            raise ConfigError(error.what, where=where, mend=error.mend) from None
    if typing.get_origin(kind) is tuple:
        (item, _) = typing.get_args(kind)
        parts = [p for p in value.split(",") if p] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            parts = [parts]
        return tuple(_read_one(name, part, item, where) for part in parts)
    return _read_one(name, value, kind, where)


def _penalties(value: object) -> tuple[str, ...]:
    """Read penalties as typed in one line, or as a TOML list or section, and check that they can be built.

    Returns:
        A line each.
    """
    from lamina.penalties.registry import line_from, penalty_from

    if isinstance(value, str):
        # A comma that is followed by a name and a colon; others are part of an option.
        value = re.split(r",(?=\s*[a-z0-9-]+\s*(?::|$))", value.strip()) if value.strip() else []
    elif isinstance(value, Mapping):
        value = [line_from(str(name), entry) for name, entry in value.items()]
    if not isinstance(value, list | tuple):
        value = [value]
    lines = tuple(str(line).strip() for line in value)
    penalty_from(lines)
    return lines


def _optimizer(value: object) -> str:
    from torch import nn

    from lamina.optim.registry import read_optimizer

    text = str(value).strip()
    network, line = nn.utils.skip_init(nn.Linear, 1, 1), read_optimizer(text)  # type: ignore[no-untyped-call]
    more = {"momentum": 0.9} if line.choice.takes("momentum") else {}
    line.make(network.parameters(), network, **more)  # refuses values out of range
    return text


def _line(module: str, reader: str, **options: str) -> Callable[[object], str]:
    """Return the reader of a setting that stays the line it was typed as, once its own reader has taken it.

    The reader's module is loaded at the first use: ``lamina --help`` must not wait for torch.
    """

    def read(value: object) -> str:
        text = str(value).strip()
        getattr(importlib.import_module(module), reader)(text, **options)
        return text

    return read


def _slower(value: object) -> tuple[str, ...]:
    from lamina.runs.lines import read_factors

    entries = value if isinstance(value, list | tuple) else str(value).split(",")
    parts = tuple(part for part in (str(entry).strip() for entry in entries) if part)
    read_factors(parts)
    return parts


LINES: dict[str, Callable[[object], object]] = {
    "activation": _line("lamina.nn.activations", "read_activation", where="activation"),
    "augmentation": _line("lamina.runs.lines", "read_augmentation"),
    "features": _line("lamina.runs.features", "read_features"),
    "initialisation": _line("lamina.runs.initialisation_line", "read_initialisation"),
    "penalty": _penalties,
    "likelihood": _line("lamina.runs.lines", "read_likelihood"),
    "optimizer": _optimizer,
    "pairs": _line("lamina.runs.lines", "read_pairs"),
    "pretrain": _line("lamina.runs.pretrain_line", "read_pretrain"),
    "slower": _slower,
}
"""Settings that are a line of their own kind, by the function that checks it."""


def _read_one(name: str, value: object, kind: Any, where: str) -> object:
    expected = type_words(kind)
    wrong = ConfigError(f"{name} must be {expected}, got {shown(value)!r}", where=where, mend=f"{name} = {expected}")
    if kind is bool:
        if isinstance(value, bool):
            return value
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if str(value).lower() not in words:
            raise wrong
        return words[str(value).lower()]
    if kind in {int, float}:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise wrong
        try:
            if kind is int and isinstance(value, int | str) and str(value).strip().lstrip("+-").isdigit():
                return int(value)
            number = float(value)
        except ValueError:
            raise wrong from None
        if kind is float:
            return number
        if not number.is_integer():
            raise wrong
        return int(number)
    if not isinstance(value, str):
        raise wrong
    if typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
        close = nearest(value, list(typing.get_args(kind)))
        raise ConfigError(
            f"{name} must be {expected}, got {shown(value)!r}{close}", where=where, mend=f"{name} = {expected}"
        )
    return value


def check_range(name: str, value: object, low: float, high: float) -> None:
    """Check the range of one value, or of each of several.

    Args:
        name: The setting.
        value: A number, several, or anything else, which has no range.
        low: Least allowed.
        high: Greatest allowed.

    Raises:
        ConfigError: If it lies outside.
    """
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if math.isnan(number) or not low <= number <= high or (math.isinf(number) and name != "minutes"):
            allowed = f"between {low:g} and {high:g}" if math.isfinite(high) else f"at least {low:g}"
            raise ConfigError(
                f"{name} must be {allowed}, got {number}", where="settings", mend=f"choose {name} {allowed}"
            )
