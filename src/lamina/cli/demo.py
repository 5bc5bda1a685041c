"""``lamina demo``."""

from __future__ import annotations

import click

from lamina._version import __version__
from lamina.cli._group import Command
from lamina.cli._output import print_json
from lamina.cli._state import State
from lamina.cli.display import ScreenDisplay
from lamina.errors import ConfigError, nearest, shown

EXAMPLES = """
lamina demo
lamina demo digits
"""

BUNDLED = ["iris", "digits", "wine", "breast-cancer", "diabetes"]


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("name", default="iris")
@click.option("--out", metavar="DIR", help="The run folder; runs/NAME-1, -2, ... unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def command(state: State, /, *, name: str, out: str | None, as_json: bool, quiet: bool, debug: bool) -> None:
    """Fit a bundled data set (iris unless NAME says another), offline, and say where its report is."""  # noqa: DOC501
    if name not in BUNDLED:
        raise ConfigError(
            f'"{shown(name)}" is not bundled{nearest(name, BUNDLED)}',
            where="lamina demo",
            mend=f"give one of {', '.join(BUNDLED)}; `lamina fit {shown(name)}` fits anything else",
        )
    display = ScreenDisplay(progress=not quiet, results=not as_json, on_run=state.begin_run)
    display.say(f"lamina {__version__}  demo {name}")
    state.import_ahead("torch")
    from lamina.runs.settings import Settings
    from lamina.workflows.fit import fit

    try:
        result = fit(name, settings=Settings(), out=out, display=display)
    finally:
        display.close()
    if as_json:
        print_json({"run": str(result.folder), "report": str(result.report), "scores": result.scores})
