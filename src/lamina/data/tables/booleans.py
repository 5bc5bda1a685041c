"""Columns of truth values written in words: True/False, yes/no, 1/0, also mixed."""

from __future__ import annotations

from typing import Any

from lamina.data.tables.table import Table
from lamina.data.tables.words import FALSE, MISSING, TRUE
from lamina.errors import DataError, shown

_PAIRS = [("true", "false"), ("yes", "no"), ("on", "off")]
MEANING = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}


def boolean_words(values: Any, table: Table, name: str) -> bool:
    """Decide whether the different values of a text column mean true and false.

    Args:
        values: The different cells.
        table: For the message.
        name: The column's name.

    Returns:
        Whether every cell is a word for true, a word for false, or missing, and both occur.

    Raises:
        DataError: If several vocabularies are mixed (``True``, ``yes``) with a word of another meaning.
    """
    if len(values) > 40:
        return False
    words = {str(value).strip().lower() for value in values.to_pylist()} - set(MISSING)
    other = words - set(MEANING)
    meanings = {MEANING[word] for word in words & set(MEANING)}
    if not other:
        return meanings == {True, False}
    spoken = {pair for pair in _PAIRS for word in pair if word in words}
    if len(spoken) > 1 and meanings == {True, False} and len(other) == 1:
        raise DataError(
            f"words for true and false ({', '.join(sorted(words & set(MEANING)))}) are mixed with "
            f'"{shown(min(other))}"',
            where=f'{shown(table.name)} column "{shown(name)}"',
            mend=f"correct the cells, or take them as categories: --categorical {shown(name)}",
        )
    return False


def meaning(cell: object) -> float:
    """Return 1.0 for a word that means true, 0.0 for false, NaN for anything else.

    Returns:
        A number.
    """
    found = MEANING.get(str(cell).strip().lower())
    return float("nan") if found is None else float(found)
