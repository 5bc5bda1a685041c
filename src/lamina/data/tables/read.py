"""Read a table from a file: CSV and its relatives, Parquet, Arrow, JSON lines; packed or not; or standard input."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lamina.data.tables.arrow_files import read_arrow, read_json_lines, read_parquet
from lamina.data.tables.delimited import read_delimited
from lamina.data.tables.source import Source
from lamina.data.tables.table import Table
from lamina.errors import ConfigError, shown

MAX_BYTES = 20_000_000_000
_JSON = (".jsonl", ".ndjson", ".json")


def read_table(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    text_columns: Collection[str] = (),
    clip_inf: bool = False,
    decimal: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read a table; what the file is made of is found by its bytes, and said in the notes.

    Args:
        path: The file, ``-`` for standard input (as CSV). Text may be packed (gzip, xz, bzip2, zstd).
        encoding: Encoding of the text; otherwise its byte-order mark decides, else UTF-8.
        delimiter: What separates cells; otherwise comma, tab, semicolon or vertical bar, whichever fits.
        header: Whether the first row holds the column names.
        text_columns: Columns kept as text whatever they look like.
        clip_inf: Replace infinite numbers by the largest finite one of their column instead of refusing them.
        decimal: ``.`` or ``,`` where the numbers can be read both ways.
        max_bytes: Most bytes read, after unpacking.

    Returns:
        The table: numbers as int64 or float64 (int32 or float32 in tables above 64 MiB of numbers, where
        nothing is lost by it), text as strings, missing numbers as null.

    Raises:
        ConfigError: If there is no such file, or an option cannot be used.
        DataError: If the file is not a table that can be used as it stands; names line, column and cell.
        MachineError: If the file may not be read.
    """  # noqa: DOC502 (raised by helpers)
    if decimal not in {None, ".", ","}:
        raise ConfigError(f"the decimal sign must be . or , but got {shown(repr(decimal))}", mend="--decimal ,")
    source = Source(path, encoding=encoding, max_bytes=max_bytes)
    if source.binary == "parquet":
        return read_parquet(source, text_columns=text_columns, clip_inf=clip_inf)
    if source.binary == "arrow":
        return read_arrow(source, text_columns=text_columns, clip_inf=clip_inf)
    source.refuse_foreign()
    suffixes = [suffix.lower() for suffix in source.path.suffixes[-2:]]
    if any(suffix in _JSON for suffix in suffixes) or (
        delimiter is None and source.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b'{"', b'[{"'))
    ):
        return read_json_lines(source, text_columns=text_columns, clip_inf=clip_inf)
    return read_delimited(
        source, delimiter=delimiter, header=header, text_columns=text_columns, clip_inf=clip_inf, decimal=decimal
    )
