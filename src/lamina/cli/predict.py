"""``lamina predict``."""

from __future__ import annotations

import sys
from typing import Any

import click

from lamina.cli._group import Command
from lamina.cli._options import read_settings, reading_options, refusing_option
from lamina.cli._output import as_mapping, print_json
from lamina.cli._sources import check_input, check_run
from lamina.cli._state import State
from lamina.cli.display import ScreenDisplay

EXAMPLES = """
lamina predict runs/churn-1 new.csv -o out.csv
lamina predict runs/digits-1 photos/ -o out.parquet --refuse-below 0.9
cat new.csv | lamina predict runs/churn-1 - --quiet
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("run")
@click.argument("source", metavar="INPUT")
@click.option("-o", "--output", metavar="FILE", help="A .csv or .parquet file; standard output as CSV unless given.")
@click.option("--strict", is_flag=True, help="Refuse categories that were not seen in training.")
@refusing_option
@click.option("--raw", is_flag=True, help="Write text cells as they are, also those a spreadsheet would run.")
@click.option("--overwrite", is_flag=True, help="Replace the output file.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a row; with --output, one that sums up.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def command(
    state: State,
    /,
    *,
    run: str,
    source: str,
    output: str | None,
    strict: bool,
    refuse_below: float,
    raw: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    data_dir: str | None,
    **given: Any,
) -> None:
    """Apply the model in the folder RUN to INPUT.

    INPUT is a file or folder of the kind the model was fitted on, or - for a table on standard input. Written are the
    input's columns, then the prediction, then the probability of each class, or an interval (low, high) of a number.
    """
    check_run(run)
    check_input(source)
    settings, _ = read_settings(given, (), None)
    state.import_ahead("torch")
    from lamina.workflows.predict import predict

    out = sys.stderr if output is None else sys.stdout  # predictions have stdout for themselves
    display = ScreenDisplay(progress=not quiet, results=not as_json and not (quiet and output is None), out=out)
    try:
        result = predict(
            run,
            source,
            output=output,
            strict=strict,
            refuse_below=refuse_below,
            raw=raw,
            overwrite=overwrite,
            as_json=as_json and output is None,
            data_dir=data_dir,
            settings=settings,
            display=display,
        )
        if output is not None:
            display.line("output", f"{output}  ({result.rows:,} rows)")
    finally:
        display.close()
    if as_json and output is not None:
        print_json(as_mapping(result))
