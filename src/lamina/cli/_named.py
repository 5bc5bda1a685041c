"""The names of the data sets, without anything heavy."""

from __future__ import annotations


def names() -> list[str]:
    """Return the names by which data sets are asked for."""
    from lamina.data.named.catalogue import ENTRIES

    return [entry.name for entry in ENTRIES]
