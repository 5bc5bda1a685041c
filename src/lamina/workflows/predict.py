"""``lamina predict``: the input's columns, then what the model says of each row."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from lamina.data.images import ImageSet
from lamina.data.tables.table import NoRows, Table
from lamina.errors import ConfigError, DataError, shown
from lamina.io import write_file
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.workflows.display import Display, Silent
from lamina.workflows.source import open_input

ROWS_AT_ONCE = 65_536
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes:
        rows: How many rows or pictures.
        output: The file, or None for standard output.
        summary: Lines for a person: unseen categories, imputed cells, columns not used, drift.
        marked: Text cells that a spreadsheet would have taken for a formula and that got a leading quote.
    """

    rows: int
    output: str | None
    summary: tuple[str, ...]
    marked: int


def predict(
    run: str,
    source: str,
    *,
    output: str | None = None,
    strict: bool = False,
    refuse_below: float = 0.0,
    raw: bool = False,
    overwrite: bool = False,
    as_json: bool = False,
    data_dir: str | None = None,
    settings: Settings | None = None,
    display: Display | None = None,
) -> PredictResult:
    """Predict every row of a table, or every picture, and write the answers beside the input.

    Args:
        run: A run folder or a saved model.
        source: What to predict; ``-`` is a CSV table on standard input.
        output: A ``.csv``, ``.tsv`` or ``.parquet`` file; standard output as CSV if not given. It appears only when it
            is whole.
        strict: Refuse missing cells in columns that had none in training, and unseen categories.
        refuse_below: Leave the prediction of a class empty where its probability is below this; of several targets that
            are classes, where the probability that all are right is.
        raw: Leave text cells as they are, also those that a spreadsheet would run as formulas.
        overwrite: Replace ``output`` if it exists.
        as_json: Write one JSON object a row to standard output.
        data_dir: Where named data sets lie.
        settings: How tables are read.
        display: Shows the summary.

    Returns:
        What was done. An output that is the input, exists, or has an unknown ending is a ``ConfigError``.

    Raises:
        DataError: If the input has a column of a name that is written.
    """
    display = display or Silent()
    _check_output(source, output, overwrite)
    predictor = Predictor.load(run)
    data = _open(source, predictor, settings or Settings(), data_dir)
    inputs, report = predictor.prepare(data, strict=strict)
    outputs = predictor.outputs(inputs)
    answers = predictor.read(outputs, refuse_below=refuse_below)
    several = len(answers) > 1
    columns: dict[str, Any] = dict(data.columns) if isinstance(data, Table) else {"file": _files(data)}
    said: dict[str, np.ndarray] = {}
    for answer in answers:
        said |= answer.columns(f"{answer.target.name}_" if several else "")
    for name in said:
        if name in columns:
            raise DataError(
                f'the input already has a column "{shown(name)}"',
                where=shown(source, 200),
                mend="rename it, or leave it out",
            )
    table = pa.table({**columns, **{name: pa.array(values) for name, values in said.items()}})
    refused = int(predictor.refused(outputs, refuse_below).sum()) if refuse_below else 0
    summary = (*summarise(report), *_refused(refused, table.num_rows, refuse_below))
    for text in summary:
        display.fact("note", "", text)
    marked = 0
    if as_json:
        _write_json(table)
    elif output is not None and Path(output).suffix.lower() == ".parquet":
        write_file(output, _parquet(table), overwrite=overwrite)
    else:
        if not raw:
            table, marked = without_formulas(table)
        if marked:
            text = f"{marked:,} text cells begin like a formula and got a leading quote (--raw leaves them)"
            display.fact("note", "", text)
        tab = output is not None and Path(output).suffix.lower() == ".tsv"
        pieces = _csv(table, "\t" if tab else ",")
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            write_file(output, pieces, overwrite=overwrite)
    return PredictResult(table.num_rows, output, summary, marked)


def _refused(count: int, of: int, threshold: float) -> Iterator[str]:
    if threshold:
        yield f"{count:,} of {of:,} answers are refused: less sure than {threshold:g}"


def _open(source: str, predictor: Predictor, settings: Settings, data_dir: str | None) -> Table | ImageSet:
    try:
        return open_input(source, settings, predictor.preparation, data_dir=data_dir)
    except NoRows as empty:  # no questions, no answers: the output has its columns all the same
        return Table(empty.where, {name: pa.chunked_array([], pa.string()) for name in empty.names})


def _check_output(source: str, output: str | None, overwrite: bool) -> None:
    if output is None:
        return
    path = Path(output)
    if path.suffix.lower() not in {".csv", ".tsv", ".parquet"}:
        raise ConfigError(
            f'cannot write "{path.suffix}" files', where=shown(output, 200), mend="use .csv, .tsv or .parquet"
        )
    if path.exists():
        if source != "-" and Path(source).exists() and path.samefile(source):
            raise ConfigError("output and input are the same file", where=shown(output, 200), mend="give another -o")
        if not overwrite:
            raise ConfigError("exists already", where=shown(output, 200), mend="give another -o, or --overwrite")


def summarise(report: Any) -> Iterator[str]:
    """Say what a preparation met in new data.

    Yields:
        One sentence each.
    """
    for column, count in getattr(report, "unseen", {}).items():
        yield f'column "{shown(column)}": {count:,} cells hold a category that training did not have'
    for column, count in getattr(report, "imputed", {}).items():
        yield f'column "{shown(column)}": {count:,} missing cells filled in'
    extra = getattr(report, "extra_columns", ())
    if extra:
        yield f"not used: {', '.join(shown(name, 30) for name in extra[:8])}{', ...' if len(extra) > 8 else ''}"
    for column, share in getattr(report, "out_of_range", {}).items():
        if share >= 0.01:
            yield f'column "{shown(column)}": {share:.1%} of the cells lie outside the range of the training data'
    yield from getattr(report, "notes", ())


def _files(images: ImageSet) -> list[str]:
    return list(images.paths) if images.paths is not None else [str(i) for i in range(len(images))]


def without_formulas(table: pa.Table) -> tuple[pa.Table, int]:
    """Put a quote before text cells and names that a spreadsheet would run as a formula; numbers are left alone.

    Returns:
        The table and how many cells were marked.

    Reference: CWE-1236; OWASP, "CSV Injection".
    """
    import pyarrow.compute as pc

    marked, columns = 0, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            risky = pc.match_substring_regex(column, "^[=+\\-@\t\r]")
            count = int(pc.sum(risky).as_py() or 0)
            quoted = pc.binary_join_element_wise("'", column, "", null_handling="skip")
            columns[_safe(name)] = pc.if_else(risky, quoted, column) if count else column
            marked += count
        else:
            columns[_safe(name)] = column
    return pa.table(columns), marked


def _safe(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA) else name


def _csv(table: pa.Table, delimiter: str) -> Iterator[bytes]:
    options = pa.csv.WriteOptions(include_header=True, delimiter=delimiter, quoting_style="needed")
    for start in range(0, max(1, table.num_rows), ROWS_AT_ONCE):
        buffer = io.BytesIO()
        pa.csv.write_csv(table.slice(start, ROWS_AT_ONCE), buffer, options)
        yield buffer.getvalue()
        options.include_header = False


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer)
    return buffer.getvalue()


def _write_json(table: pa.Table) -> None:
    from lamina.io import dump_json

    for batch in table.to_batches(ROWS_AT_ONCE):
        for row in batch.to_pylist():
            plain = {
                key: value if isinstance(value, int | float | str | bool | None) else str(value)
                for key, value in row.items()
            }
            sys.stdout.write(dump_json(plain) + "\n")
