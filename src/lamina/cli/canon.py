"""``lamina canon``."""

from __future__ import annotations

import click

from lamina.cli._group import Command
from lamina.cli._output import print_json

EXAMPLES = """
lamina canon
lamina canon relu
lamina canon C08 --json
lamina canon tangent-prop
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(name: str | None, as_json: bool, debug: bool) -> None:
    """Show the method NAME: its equation, source, an example, and the test that verifies it; without NAME, list all."""
    from lamina.workflows.canon import find, load_canon

    if name is None:
        rows = load_canon()
        if as_json:
            print_json({"methods": [row.to_dict() for row in rows]})
            return
        width = max(len(row.name) for row in rows)
        for row in rows:
            click.echo(f"{row.name:<{width}}  {row.title}")
        return
    row = find(name)
    if as_json:
        print_json(row.to_dict())
        return
    click.echo(row.to_text())
