"""``lamina evaluate``."""

from __future__ import annotations

from typing import Any

import click

from lamina.cli._group import Command
from lamina.cli._options import read_settings, reading_options, refusing_option
from lamina.cli._output import print_json
from lamina.cli._sources import check_input, check_run
from lamina.cli._state import State
from lamina.cli.display import ScreenDisplay

EXAMPLES = """
lamina evaluate runs/churn-1 next-month.csv
lamina evaluate runs/churn-1 next-month.csv --json
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("run")
@click.argument("source", metavar="INPUT")
@reading_options
@refusing_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def command(
    state: State,
    /,
    *,
    run: str,
    source: str,
    refuse_below: float,
    as_json: bool,
    quiet: bool,
    debug: bool,
    data_dir: str | None,
    **given: Any,
) -> None:
    """Measure the model in the folder RUN on INPUT, which must hold the target too."""
    check_run(run)
    check_input(source)
    settings, _ = read_settings(given, (), None)
    state.import_ahead("torch")
    from lamina.workflows.evaluate import evaluate

    display = ScreenDisplay(progress=not quiet, results=not as_json, scores_are_results=True)
    try:
        scores = evaluate(run, source, refuse_below=refuse_below, data_dir=data_dir, settings=settings, display=display)
    finally:
        display.close()
    if as_json:
        print_json(scores)
