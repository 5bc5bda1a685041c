"""Papers and textbook claims rerun as tables: what is claimed, the runs that show it, and how they become a table."""

from lamina.recipes.catalogue import ENTRIES, Entry, find_entry

__all__ = ["ENTRIES", "Entry", "find_entry"]
