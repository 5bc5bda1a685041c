"""Text and numbers as they stand in the page: control characters made visible, long text cut."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINERS = {"\u200c", "\u200d"}
_INVISIBLE = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}


def readable(value: object) -> str:
    """Return text in which nothing acts on the page or terminal: controls, bidi marks and lone surrogates as escapes.

    Letters of every script, combining marks, joiners and emoji stay as they are.

    Returns:
        Text that can be encoded in UTF-8.
    """
    return "".join(_visible(c) if c > "\x7e" or c < " " else c for c in str(value))


def _visible(c: str) -> str:
    if c in _JOINERS or (unicodedata.category(c) not in _INVISIBLE and c not in _BIDI):
        return c
    return c.encode("unicode_escape").decode("ascii")


def cut(text: str, limit: int) -> str:
    """Cut text to at most ``limit`` characters, an ellipsis included, not inside a combined character.

    Returns:
        The text, or its beginning and an ellipsis.
    """
    if len(text) <= limit:
        return text
    end = limit - 1
    while end > 0 and _joins(text, end):
        end -= 1
    return text[: end or limit - 1] + "…"


def _joins(text: str, place: int) -> bool:
    """Say whether the character at a place belongs to the one before it.

    Returns:
        True if so.
    """
    c = text[place]
    variation = "\ufe00" <= c <= "\ufe0f" or "\U0001f3fb" <= c <= "\U0001f3ff"
    return unicodedata.combining(c) > 0 or c in _JOINERS or text[place - 1] in _JOINERS or variation


def number(value: float, digits: int = 4) -> str:
    """Write a number with some significant digits, whole numbers in full: thousands marked, a true minus sign.

    Returns:
        Text such as ``1,250,000``, ``0.03120``, ``−4.20e−07``.
    """
    size = abs(value)
    if size < 1e15 and float(value).is_integer():
        text = f"{int(value):,}"
    elif not 1e-4 <= size < 1e9:
        text = f"{value:.{digits - 2}e}"
    else:
        text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
    return text.replace("-", "\u2212")


def fraction(value: float) -> str:
    """Write a figure between -1 and 1 with three decimals.

    Returns:
        Text such as ``0.975``.
    """
    return f"{value:.3f}".replace("-", "\u2212")


def percent(value: float) -> str:
    """Write a share in per cent with one decimal.

    Returns:
        Text such as ``97.5 %``.
    """
    return f"{100 * value:.1f}\u00a0%".replace("-", "\u2212")


def duration(seconds: float) -> str:
    """Write a time in the units that suit it.

    Returns:
        Text such as ``0.42 s``, ``1 min 20 s``, ``3 h 5 min``.
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def setting(value: Any) -> str:
    """Write the value of a setting as it is typed.

    Returns:
        Text.
    """
    if value is None:
        return "chosen"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(setting(item) for item in value) or "none"
    return str(value)
