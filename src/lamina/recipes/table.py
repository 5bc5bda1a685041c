"""Tables of results: numbers with their intervals, written as Markdown and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with the ends of its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


Cell = str | int | float | Estimate | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Its heading, with the unit.
        form: How numbers are written, a format specification such as ``.2f`` or ``+.2f``.
    """

    name: str
    form: str = ".3g"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: What it shows, one line.
        columns: Headings and forms.
        rows: One cell a column; None is an empty cell.
        note: How to read it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def to_markdown(self) -> str:
        """Return it with title and note; columns are aligned, so it reads well as plain text too."""
        cells = [[_written(column.name, "") for column in self.columns]]
        cells += [[_written(cell, column.form) for cell, column in zip(row, self.columns, strict=True)]
                  for row in self.rows]  # fmt: skip
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        head, *body = [
            "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        note = [self.note, ""] if self.note else []
        return "\n".join([f"**{self.title}**", "", *note, head, rule, *body])

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain types, numbers unrounded."""
        return {
            "title": self.title,
            "note": self.note,
            "columns": [column.name for column in self.columns],
            "rows": [[_plain(cell) for cell in row] for row in self.rows],
        }


def _written(cell: Cell, form: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell.replace("|", "\\|")
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, Estimate):
        return f"{cell.value:{form}} [{cell.low:{form}}, {cell.high:{form}}]"
    return f"{cell:{form}}"


def _plain(cell: Cell) -> Any:
    return {"value": cell.value, "low": cell.low, "high": cell.high} if isinstance(cell, Estimate) else cell
