"""Cut bytes into blocks of whole rows, and know the physical line of every row.

A line end inside quotes does not end a row. Where quotes are used as the format says (a quote opens a cell right after
a delimiter and closes it right before one), a line end is a row end exactly if an even number of quotes stands before
it.
A block with quotes used otherwise is re-read by the standard library's reader, row by row, and written out cleanly.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lamina.errors import DataError, shown

MAX_LINE = 1 << 26
_CAREFUL_ROWS = 50_000
_QUOTE, _NEWLINE, _RETURN, _TAB = 34, 10, 13, 9
_PIECE = 1 << 18


@dataclass(frozen=True)
class Rows:
    """Whole rows as bytes.

    Args:
        data: UTF-8, one row after another.
        line: Physical line of the first row.
        n_lines: Physical lines in it.
        starts: Physical line of each row that is not blank, or None if every line is a row (or blank, which shows when
            the rows are counted).
        n_blank: Blank lines left out.
        quoted: Whether a quote occurs.
        inner_lines: Whether a line end occurs inside quotes.
        checked: Whether its characters have been checked.
    """

    data: bytes
    line: int
    n_lines: int
    starts: np.ndarray | None
    n_blank: int
    quoted: bool
    inner_lines: bool
    checked: bool = False

    def check(self, name: str) -> None:
        """Refuse bytes that are not UTF-8, and control characters.

        Args:
            name: The file's name for messages.

        Raises:
            DataError: Names line, character position and byte.
        """  # noqa: DOC502 (raised by a helper)
        if not self.checked:
            check_text(self.data, name, self.line, self.n_lines - (not self.data.endswith(b"\n")))


def whole_rows(blocks: Iterator[bytes], *, name: str, delimiter: str, line: int) -> Iterator[Rows]:
    """Cut blocks at row ends.

    Args:
        blocks: UTF-8 bytes, cut anywhere, beginning at a row.
        name: The file's name for messages.
        delimiter: What separates cells.
        line: Physical line of the first byte.

    Yields:
        Rows, checked to be UTF-8 without control characters.

    Raises:
        DataError: For a quote that is never closed, a line over 64 MiB, a byte that is no UTF-8, a control character.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    rest = b""
    blocks = iter(blocks)
    for block in blocks:
        if b'"' not in block and b'"' not in rest and not _lone_returns(block):
            # The plain case: cut at the last line end, and copy once.
            end = block.rfind(b"\n") + 1
            data = b"".join((rest, memoryview(block)[:end])) if end else b""
            rest = block[end:] if end else rest + block
            quoted = False
        else:
            joined = rest + block
            end, messy = _last_row_end(joined, delimiter)
            if messy:
                yield from _carefully(itertools.chain([joined], blocks), name=name, delimiter=delimiter, line=line)
                return
            data, rest = joined[:end], joined[end:]
            quoted = b'"' in data
        if not data:
            if len(rest) > MAX_LINE:
                raise _endless(rest, name, line)
            continue
        rows = _described(data, line, quoted=quoted)
        line += rows.n_lines
        yield rows
    if rest.strip():
        if rest.count(b'"') % 2:
            raise _endless(rest, name, line)
        yield _described(rest, line, quoted=b'"' in rest)


def check_text(data: bytes, name: str, line: int, n_ends: int | None = None) -> None:
    """Refuse bytes that are not UTF-8 and control characters other than tab and line ends.

    Args:
        data: The bytes.
        name: The file's name for messages.
        line: Physical line of the first byte.
        n_ends: The number of line ends, if known.

    Raises:
        DataError: Names line, character position and byte.
    """
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start]
            start = before.rfind(b"\n") + 1
            position = len(before[start:].decode("utf-8", errors="replace")) + 1
            raise DataError(
                f"byte 0x{data[error.start]:02x} at character {position} is not UTF-8",
                where=f"{shown(name)} line {line + before.count(10)}",
                mend=f"give its encoding, probably --encoding {_guess(data)}",
            ) from None
    view = np.frombuffer(data, np.uint8)
    low = _count(view, np.less, 32) - (_count(view, np.equal, _NEWLINE) if n_ends is None else n_ends)
    if low and low != data.count(b"\r") + data.count(b"\t"):
        at = int(np.flatnonzero((view < 32) & (view != _NEWLINE) & (view != _RETURN) & (view != _TAB))[0])
        start = data.rfind(b"\n", 0, at) + 1
        what = "a NUL byte" if data[at] == 0 else f"control character 0x{data[at]:02x}"
        raise DataError(
            f"{what} at character {len(data[start:at].decode()) + 1}",
            where=f"{shown(name)} line {line + data.count(bytes([10]), 0, at)}",
            mend="the file is damaged, not text, or UTF-16 without its mark (--encoding utf-16-le)",
        )


def _count(view: np.ndarray, compare: np.ufunc, byte: int) -> int:
    # Count bytes for which a comparison holds, in pieces that stay in the cache.
    return sum(
        int(np.count_nonzero(compare(view[start : start + _PIECE], np.uint8(byte))))
        for start in range(0, len(view), _PIECE)
    )


def _last_row_end(data: bytes, delimiter: str) -> tuple[int, bool]:
    # Offset after the last row end (0 if none), and whether quotes are used in an unclear way before it.
    if b'"' not in data:
        return data.rfind(b"\n") + 1, _lone_returns(data)
    view = np.frombuffer(data, np.uint8)
    quotes, newlines = np.flatnonzero(view == _QUOTE), np.flatnonzero(view == _NEWLINE)
    outside = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    end = int(outside[-1]) + 1 if len(outside) else 0
    opening, closing = quotes[0::2], quotes[1::2]
    before = view[np.maximum(opening - 1, 0)]
    cell_edges = (ord(delimiter) if len(delimiter.encode()) == 1 else 0, _NEWLINE, _RETURN, _QUOTE)
    good_open = (opening == 0) | np.isin(before, cell_edges)
    inside = closing[closing < len(data) - 1]
    good_close = np.isin(view[inside + 1], cell_edges)
    if not (good_open.all() and good_close.all()):
        return end, True
    if b"\r" in data:
        returns = np.flatnonzero(view == _RETURN)
        out = returns[np.searchsorted(quotes, returns) % 2 == 0]
        out = out[out < len(data) - 1]
        if not (view[out + 1] == _NEWLINE).all():
            return end, True
    return end, False


def _lone_returns(data: bytes) -> bool:
    # Whether a carriage return stands without a line end; of one at the very end, only what follows can tell.
    if b"\r" not in data:
        return False
    view = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(view[:-1] == _RETURN)
    return not (view[at + 1] == _NEWLINE).all()


def _described(data: bytes, line: int, *, quoted: bool) -> Rows:
    # Count the lines of some rows and find blank lines and line ends inside quotes.
    n_ends = _count(np.frombuffer(data, np.uint8), np.equal, _NEWLINE)
    n_lines = n_ends + (not data.endswith(b"\n"))
    if not quoted:
        return Rows(data, line, n_lines, None, 0, quoted=False, inner_lines=False)
    view = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(view == _NEWLINE)
    ends = newlines[np.searchsorted(np.flatnonzero(view == _QUOTE), newlines) % 2 == 0]
    if len(ends) == len(newlines):
        return Rows(data, line, n_lines, None, 0, quoted=True, inner_lines=False)
    starts, n_blank = row_starts(data, line)
    return Rows(data, line, n_lines, starts, n_blank, quoted=True, inner_lines=True)


def row_starts(data: bytes, line: int) -> tuple[np.ndarray, int]:
    """Find where the rows of some bytes start, blank lines left out.

    Args:
        data: Whole rows, with quotes used as the format says.
        line: Physical line of the first byte.

    Returns:
        The physical line of each row, int64 (N,), and the number of blank lines.
    """
    view = np.frombuffer(data, np.uint8)
    newlines = ends = np.flatnonzero(view == _NEWLINE)
    if b'"' in data:
        ends = newlines[np.searchsorted(np.flatnonzero(view == _QUOTE), newlines) % 2 == 0]
    begins = np.concatenate([[0], ends + 1])
    stops = np.concatenate([ends, [len(data)]])
    if data.endswith(b"\n"):
        begins, stops = begins[:-1], stops[:-1]
    size = stops - begins
    empty = (size == 0) | ((size == 1) & (view[np.minimum(begins, len(data) - 1)] == _RETURN))
    return line + np.searchsorted(newlines, begins[~empty]), int(empty.sum())


def _carefully(blocks: Iterator[bytes], *, name: str, delimiter: str, line: int) -> Iterator[Rows]:
    # Read row by row with the standard library and write the rows out cleanly.
    reader = csv.reader(text_lines(blocks, name, line), delimiter=delimiter, strict=True)
    out = io.StringIO(newline="")
    starts: list[int] = []
    n_blank = 0
    while True:
        start = line + reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            where = f"{shown(name)} line {start}"
            if "field limit" in str(error) or "field larger" in str(error):
                raise DataError(
                    "a cell of more than 131,072 characters, or a quote never closed",
                    where=where,
                    mend="close the quote, or shorten the cell",
                ) from None
            if "new-line" in str(error):
                raise DataError(
                    "a carriage return inside a cell without quotes",
                    where=where,
                    mend="take it out, or put the cell in quotes",
                ) from None
            raise DataError(
                "a quote opened in this row is not closed right before the next delimiter",
                where=where,
                mend='close it, or write a quote inside a quoted cell twice ("")',
            ) from None
        if not row or (len(row) == 1 and not row[0].strip()):
            n_blank += 1
            continue
        csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
        starts.append(start)
        if len(starts) >= _CAREFUL_ROWS:
            yield _rewritten(out, starts, n_blank)
            out, starts, n_blank = io.StringIO(newline=""), [], 0
    if starts:
        yield _rewritten(out, starts, n_blank)


def _rewritten(out: io.StringIO, starts: list[int], n_blank: int) -> Rows:
    data = out.getvalue().encode()
    return Rows(data, starts[0], 0, np.array(starts), n_blank, quoted=True, inner_lines=True, checked=True)


def text_lines(blocks: Iterator[bytes], name: str, line: int) -> Iterator[str]:
    """Yield physical lines as text, checked, each with its end.

    Args:
        blocks: UTF-8 bytes, cut anywhere.
        name: The file's name for messages.
        line: Physical line of the first byte.

    Yields:
        One line at a time.

    Raises:
        DataError: As for ``whole_rows``.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    rest = b""
    for block in blocks:
        data = rest + block
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > MAX_LINE:
            raise _endless(rest, name, line)
        whole = data[:end]
        check_text(whole, name, line)
        line += whole.count(b"\n")
        for one in whole.decode().split("\n")[:-1]:
            yield one.removesuffix("\r") + "\n"
    check_text(rest, name, line)
    if rest:
        yield rest.decode()


def _endless(rest: bytes, name: str, line: int) -> DataError:
    # The error for a row without end: an open quote, or a line over the cap.
    if rest.count(b'"') % 2:
        at = rest.rfind(b'"')
        return DataError(
            "the quote opened here is never closed",
            where=f"{shown(name)} line {line + rest.count(bytes([10]), 0, at)}",
            mend='close it, or write a quote inside a quoted cell twice ("")',
        )
    return DataError(
        f"a line of more than {MAX_LINE:,} bytes", where=f"{shown(name)} line {line}", mend="is this a table?"
    )


def _guess(data: bytes) -> str:
    # A likely encoding for bytes that are not UTF-8.
    sample = data[: 1 << 16]
    high = [byte for byte in sample if byte >= 0x80]
    if any(0x81 <= byte <= 0x9F for byte in high):
        try:
            text = sample.decode("shift_jis", errors="strict")
            if sum("\u3040" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" for c in text) >= len(high) / 4:
                return "shift_jis"
        except UnicodeDecodeError:
            pass
        return "cp1252"
    return "latin-1"
