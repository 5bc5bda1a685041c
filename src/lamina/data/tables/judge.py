"""Decide whether a column of text is a column of numbers, from its different values and how often each occurs.

Nothing is converted unless the whole column agrees: leading zeros and long digit strings are names, not numbers
(``00501``, a card number); thousands marks, currency and per cent signs are taken off only where every cell carries the
same style.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.words import is_missing

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
INFINITE = r"(?i)^[+-]?inf(inity)?$"
INTEGER = r"^[+-]?[0-9]+$"
LEADING_ZERO = r"^[+-]?0[0-9]"
LONG = r"^[+-]?[0-9]{16,}$"
_GROUP_COMMA = r"^[+-]?([0-9]{1,3}(,[0-9]{3})+|[0-9]{1,3})(\.[0-9]+)?$"
_GROUP_SPACE = r"^[+-]?([0-9]{1,3}([ '’\x{00a0}\x{202f}][0-9]{3})+|[0-9]{1,3})([.,][0-9]+)?$"
_DECIMAL_COMMA = (
    r"^[+-]?[0-9]+(,[0-9]+)?([eE][+-]?[0-9]+)?$|^[+-]?[0-9]{1,3}([. '’\x{00a0}\x{202f}][0-9]{3})+(,[0-9]+)?$"
)
_THREES = r"^[+-]?[0-9]{1,3}([.,][0-9]{3})*$"
_CURRENCY = "$€£¥₹"
_PLAINEST = r"^[+-]?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_PLAINEST_CELL = re.compile(_PLAINEST, re.ASCII)
_FEW = 32
_ALMOST = 0.95
_MANY_BAD_OF = 20


@dataclass(frozen=True)
class Style:
    """How numbers are written in a column.

    Args:
        group: Characters between thousands, taken out.
        decimal: The decimal sign.
        affix: A currency sign or ``%`` that every cell carries, taken off.
    """

    group: str = ""
    decimal: str = "."
    affix: str = ""

    @property
    def plain(self) -> bool:
        """Whether the number parser reads it as it stands."""
        return self == Style()

    def said(self) -> str:
        """Say the style for a note.

        Returns:
            A phrase such as ``decimal comma, thousands marks``.
        """
        parts = []
        if self.decimal == ",":
            parts.append("decimal comma")
        if self.group:
            parts.append("thousands marks taken out")
        if self.affix:
            parts.append(f'"{self.affix}" taken off')
        return ", ".join(parts)


@dataclass(frozen=True)
class Verdict:
    """What a column of text is.

    Args:
        kind: ``number``, ``text``, ``empty`` (no cell but missing ones), ``spoilt`` (numbers but for a few cells) or
            ``ambiguous`` (numbers whose comma may be either).
        style: How the numbers are written.
        why: The reason for keeping number-like cells as text.
        bad: For ``spoilt``: which different values are no numbers. For ``ambiguous``: an example.
        n_good: Cells that are numbers.
        whole: All numbers are written as whole numbers.
    """

    kind: Literal["number", "text", "empty", "spoilt", "ambiguous"]
    style: Style = field(default_factory=Style)
    why: str = ""
    bad: tuple[str, ...] = ()
    n_good: int = 0
    whole: bool = False


def judge(  # noqa: PLR0911 (a list of cases)
    values: Any, counts: np.ndarray, *, decimal: str | None = None, comma_delimited: bool = True
) -> Verdict:
    """Judge a column by its different values.

    Args:
        values: String array of the different cells.
        counts: How often each occurs.
        decimal: The decimal sign of the whole file if it is known.
        comma_delimited: Whether cells are separated by commas; then a lone comma in a number marks thousands.

    Returns:
        The verdict.
    """
    # The same as below for the plainest case at a fraction of the cost, which counts in a table of 50,000 columns.
    if decimal != "," and len(values) <= _FEW:
        cells = values.to_pylist()
        if all(cell is not None and _PLAINEST_CELL.fullmatch(cell) for cell in cells):
            return Verdict("number", n_good=int(counts.sum()), whole=all(cell.lstrip("+-").isdigit() for cell in cells))
    elif decimal != "," and not values.null_count and _matches(values, _PLAINEST).all():
        return Verdict("number", n_good=int(counts.sum()), whole=bool(_matches(values, INTEGER).all()))
    missing = _mask(is_missing(values))
    if missing.all():
        return Verdict("empty")
    present = values.filter(pa.array(~missing))
    weight = counts[~missing]
    text = pc.utf8_trim_whitespace(present)
    total = int(weight.sum())
    plain = _matches(text, NUMBER) | _matches(text, INFINITE)
    n_good = int(weight[plain].sum())
    if plain.all() and decimal != ",":
        return _plain(text, weight, n_good)
    if not plain.all() or decimal == ",":
        styled = _styled(text, n_good, decimal=decimal, comma_delimited=comma_delimited)
        if styled is not None:
            return styled
    if plain.all():
        return _plain(text, weight, n_good)
    bad = tuple(text.filter(pa.array(~plain)).slice(0, 5).to_pylist())
    if n_good >= _ALMOST * total and total >= _MANY_BAD_OF:
        if _any(text, LEADING_ZERO) or _any(text, LONG):
            return Verdict("text", why="some cells have leading zeros or more than 15 digits")
        return Verdict("spoilt", bad=bad, n_good=n_good)
    why = ""
    if n_good >= 0.5 * total:
        why = f"{n_good:,} of {total:,} cells are numbers, but not {', '.join(map(repr, bad[:3]))}"
    return Verdict("text", why=why, n_good=n_good)


def to_numbers(text: Any, style: Style) -> Any:
    """Convert text cells, all of which a verdict has found to be numbers or missing.

    Returns:
        A float64 array with nulls for the missing cells.

    Raises:
        pyarrow.ArrowInvalid: If a cell is no number after all.
    """  # noqa: DOC502 (raised by pyarrow)
    text = pc.utf8_trim_whitespace(pc.cast(text, pa.string()))
    text = pc.if_else(is_missing(text), pa.scalar(None, pa.string()), text)
    if style.affix:
        text = pc.utf8_trim_whitespace(pc.replace_substring(text, style.affix, ""))
        text = pc.replace_substring_regex(text, r"^([+-])\s+", r"\1")
    if style.group:
        text = pc.replace_substring_regex(text, f"[{style.group}]", "")
    if style.decimal == ",":
        text = pc.replace_substring(text, ",", ".")
    # The parser knows neither a leading plus nor a final point.
    text = pc.replace_substring_regex(text, r"^\+", "")
    return pc.cast(text, pa.float64())


def _plain(text: Any, weight: np.ndarray, n_good: int) -> Verdict:
    # Plain numbers, unless their digits say that they are names.
    if _any(text, LEADING_ZERO):
        return Verdict("text", why="cells with leading zeros are kept as they are written", n_good=n_good)
    if _any(text, LONG):
        return Verdict("text", why="whole numbers of more than 15 digits are kept as they are written", n_good=n_good)
    return Verdict("number", n_good=n_good, whole=bool(_matches(text, INTEGER).all()))


def _styled(text: Any, n_plain: int, *, decimal: str | None, comma_delimited: bool) -> Verdict | None:
    # Numbers in one common style with marks, or None.
    affix = ""
    for sign in ("%", *_CURRENCY):
        if _mask(pc.match_substring(text, sign)).all():
            pattern = r"\s*%$" if sign == "%" else rf"^\s*([+-]?)\s*\{sign}\s*|\s*\{sign}$"
            text = pc.replace_substring_regex(text, pattern, "" if sign == "%" else r"\1")
            affix = sign
            break
    n = len(text)
    if _matches(text, NUMBER).all() and affix and decimal != ",":
        return Verdict("number", Style(affix=affix), n_good=n)
    american, european = bool(_matches(text, _GROUP_COMMA).all()), bool(_matches(text, _DECIMAL_COMMA).all())
    if american and european and _matches(text, _THREES).all() and _any(text, ","):
        if decimal is None and not comma_delimited:
            example = next(cell for cell in text.to_pylist() if "," in cell)
            return Verdict("ambiguous", Style(affix=affix), bad=(example,), n_good=n)
        american, european = decimal != ",", decimal == ","
    if decimal == ".":
        european = False
    if decimal == ",":
        american = False
    if american:
        return Verdict("number", Style(",", ".", affix), n_good=n)
    if european:
        group = ". '’\u00a0\u202f" if _any(text, r"[0-9][. '’\x{00a0}\x{202f}][0-9]") else ""
        return Verdict("number", Style(group, ",", affix), n_good=n)
    if _matches(text, _GROUP_SPACE).all():
        sign = "," if _any(text, ",") else "."
        return Verdict("number", Style(" '’\u00a0\u202f", sign, affix), n_good=n)
    return None


def _mask(condition: Any) -> np.ndarray:
    # A boolean Arrow array as a numpy mask, null as False.
    return np.asarray(pc.fill_null(condition, False)).astype(bool)


def _matches(text: Any, pattern: str) -> np.ndarray:
    return _mask(pc.match_substring_regex(text, pattern))


def _any(text: Any, pattern: str) -> bool:
    return bool(_matches(text, pattern).any())
