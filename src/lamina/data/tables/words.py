"""Words that stand for something else in a cell: nothing, true, false."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MISSING = ("", "na", "n/a", "#n/a", "#na", "nan", "null", "none", "nil", "?", "-", "--", ".", "<na>", "nat", "missing")
"""Read as missing in a column of numbers, dates or booleans (case and outer spaces ignored), never in a text column."""

TRUE = ("true", "yes", "t", "y", "1", "1.0", "on")
FALSE = ("false", "no", "f", "n", "0", "0.0", "off")


def arrow_null_values() -> list[str]:
    """Return the missing words in the spellings that the fast number parser is told of.

    Returns:
        Lower case, upper case, title case, and the usual mixed ones.
    """
    spellings = {spelling for word in MISSING for spelling in (word, word.upper(), word.title(), word.capitalize())}
    return sorted(spellings | {"NaN", "-NaN", "-nan", "NaT", "N/a", "n/A"})


def tidy(text: Any) -> Any:
    """Return text cells as they are compared with the words above: trimmed and in lower case.

    Returns:
        A string array of the same length.
    """
    return pc.utf8_lower(pc.utf8_trim_whitespace(text))


def is_missing(text: Any) -> Any:
    """Return which text cells are missing if the column is not text.

    Returns:
        A boolean array; null counts as missing.
    """
    known = pc.is_in(tidy(text), value_set=pa.array(MISSING, pa.string()))
    return pc.or_(known, pc.is_null(text))
