"""``lamina report``."""

from __future__ import annotations

import click

from lamina.cli._group import Command
from lamina.cli._output import print_json
from lamina.cli._sources import check_run
from lamina.cli._state import State
from lamina.cli.display import ScreenDisplay

EXAMPLES = """
lamina report runs/churn-1
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def command(state: State, /, *, run: str, as_json: bool, quiet: bool, debug: bool) -> None:
    """Write the report of the run in the folder RUN again, as one HTML file, and say where it is."""
    check_run(run)
    from lamina.workflows.report import report

    display = ScreenDisplay(progress=not quiet, results=False)
    try:
        path = report(run, display)
    finally:
        display.close()
    if as_json:
        print_json({"report": str(path)})
    else:
        ScreenDisplay().line("report", str(path))
