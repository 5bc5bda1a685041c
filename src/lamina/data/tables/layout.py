"""The outer form of a delimited text: its delimiter, its header, its names."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from lamina.data.tables.rows import check_text
from lamina.data.tables.source import Source
from lamina.data.tables.table import NoRows
from lamina.data.tables.words import MISSING
from lamina.errors import ConfigError, DataError, shown

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}
_SAMPLE_LINES = 100
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Layout:
    """How a text is cut into cells.

    Args:
        delimiter: One character.
        names: Names of all columns as they are cut, those to be dropped included (as ``""``).
        first_line: Physical line of the first data row.
        offset: Byte at which the data rows begin.
        notes: What was found.
    """

    delimiter: str
    names: tuple[str, ...]
    first_line: int
    offset: int
    notes: tuple[str, ...]


def find_layout(  # noqa: PLR0912, PLR0915 (a list of checks)
    source: Source, head: bytes, *, whole: bool, delimiter: str | None, header: bool
) -> Layout:
    """Find the delimiter and the header in the first block of a text.

    Args:
        source: Where it comes from, for messages.
        head: The first block, UTF-8, the line ends those of Unix or Windows.
        whole: Whether ``head`` is all there is.
        delimiter: The delimiter if the caller knows it.
        header: Whether the first row holds the names.

    Returns:
        The layout.

    Raises:
        NoRows: If nothing stands below the header.
        DataError: If the text has no rows, no header, or one that cannot be used.
        ConfigError: If ``delimiter`` is not one character.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\n\r'):
        raise ConfigError(f"the delimiter must be one character, got {shown(repr(delimiter))}", mend="--delimiter ';'")
    check_text(head[: head.find(b"\n") + 1 or len(head)], source.name, 1)
    notes: list[str] = []
    # Enough for a header of a megabyte and some rows below it.
    text = head[: max(1 << 20, 4 * head.find(b"\n"))].decode("utf-8", errors="replace")
    lines = text.splitlines(keepends=False) if whole else text.splitlines()[:-1] or text.splitlines()
    lines = [line for line in lines[: 4 * _SAMPLE_LINES] if line.strip()][:_SAMPLE_LINES]
    if not lines:
        raise DataError("no rows: it holds nothing but blank lines", where=shown(source.name), mend="check the file")
    if delimiter is None:
        delimiter = _sniff(source, text, lines)
        if delimiter not in {",", "\t"} or (delimiter == "\t" and source.path.suffix.lower() == ".csv"):
            notes.append(f"cells are separated by {DELIMITERS[delimiter]}s (change with --delimiter)")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((start, row))
            start = reader.line_num + 1
            if len(rows) >= _SAMPLE_LINES:
                break
    except csv.Error:
        pass
    if not rows:
        raise DataError(
            "no rows: it holds no cell with anything in it", where=shown(source.name), mend="check the file"
        )
    first_line, first = rows[0]
    if not header:
        return Layout(delimiter, tuple(f"column{i + 1}" for i in range(len(first))), 1, 0, tuple(notes))
    names = [name.strip() for name in first]
    if len(set(names)) < len(set(first)):
        names = list(first)
    elif names != first:
        notes.append("spaces around column names taken off")
    where = f"{shown(source.name)} line {first_line}"
    _refuse_numbers_as_names(names, where, notes)
    if len(rows) > 1 and all(len(row) == len(names) + 1 and not row[-1].strip() for _, row in rows[1:]):
        names.append("")
    seen: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if name and name in seen:
            raise DataError(
                f'two columns are called "{shown(name)}": columns {seen[name]} and {position}',
                where=where,
                mend="rename one of them in the header",
            )
        seen[name] = position
    twins = Counter(unicodedata.normalize("NFKC", name).casefold().strip() for name in names if name)
    for folded, count in twins.items():
        if count > 1:
            alike = [name for name in names if unicodedata.normalize("NFKC", name).casefold().strip() == folded]
            notes.append("columns that differ only by case, spaces or Unicode form: " + ", ".join(map(repr, alike)))
    header_end = rows[1][0] if len(rows) > 1 else None
    try:
        offset, line = _after_header(head, first_line, delimiter)
    except (csv.Error, StopIteration):
        raise DataError(
            "the header cannot be read: a carriage return or a quote stands in the midst of it",
            where=where,
            mend="write the header on one line, with a comma between the names",
        ) from None
    if header_end is None and whole and not head[offset:].strip():
        raise NoRows("no data rows below the header", names, where=shown(source.name))
    return Layout(delimiter, tuple(names), line, offset, tuple(notes))


def _after_header(head: bytes, first_line: int, delimiter: str) -> tuple[int, int]:
    # Byte offset and line at which the rows after the header begin.
    stream = io.StringIO(head[: 1 << 22].decode("utf-8", errors="surrogateescape"), newline="\n")
    reader = csv.reader(iter(stream.readline, ""), delimiter=delimiter)
    while reader.line_num < first_line:
        next(reader)
    done = reader.line_num
    at = 0
    for _ in range(done):
        found = head.find(b"\n", at)
        if found < 0:
            return len(head), done + 1
        at = found + 1
    return at, done + 1


def _refuse_numbers_as_names(names: list[str], where: str, notes: list[str]) -> None:
    filled = [name for name in names if name]
    if not filled or not all(_NUMBER.fullmatch(name) for name in filled):
        return
    if len(filled) > 2 and filled == [str(i) for i in range(len(filled))]:
        notes.append("the column names are running numbers")
        return
    row = shown(", ".join(names))
    raise DataError(
        f"the header is all numbers ({row}); is it the first data row?", where=where, mend="read it with --no-header"
    )


def _sniff(source: Source, text: str, lines: list[str]) -> str:
    # The delimiter under which most lines have as many cells as the first.
    del text
    scores: dict[str, tuple[float, int]] = {}
    for candidate in DELIMITERS:
        if candidate not in lines[0]:
            continue
        try:
            sizes = [len(row) for row in csv.reader(lines, delimiter=candidate) if row]
        except csv.Error:
            continue
        if sizes and sizes[0] > 1:
            scores[candidate] = (sum(size == sizes[0] for size in sizes) / len(sizes), sizes[0])
    if not scores:
        return ";" if source.path.suffix.lower() == ".ssv" else ","
    best = max(share for share, _ in scores.values())
    leaders = [candidate for candidate, (share, _) in scores.items() if share == best]
    if len(leaders) == 1:
        return leaders[0]
    if best < 1.0 or len(lines) < 2:
        return max(leaders, key=lambda candidate: scores[candidate][1])
    whole = [d for d in leaders if _cells_look_whole(lines, d)]
    if len(whole) == 1:
        return whole[0]
    a, b = leaders[:2]
    raise DataError(
        f"cells may be separated by {DELIMITERS[a]}s ({scores[a][1]} columns) "
        f"or {DELIMITERS[b]}s ({scores[b][1]} columns)",
        where=f"{shown(source.name)} line 1",
        mend=f"say which: --delimiter '{a}' or --delimiter '{b}' (the line is {shown(lines[0])})",
    )


def _cells_look_whole(lines: list[str], delimiter: str) -> bool:
    # Whether most cells, cut so, are single numbers, single words, or missing.
    cells = [cell.strip() for row in csv.reader(lines, delimiter=delimiter) for cell in row]
    good = sum(
        bool(_NUMBER.fullmatch(cell.replace(",", ".")))
        or cell.lower() in MISSING
        or re.fullmatch(r"\w[\w .'-]*", cell) is not None
        for cell in cells
    )
    return good >= 0.95 * len(cells)
