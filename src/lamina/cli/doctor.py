"""``lamina doctor``."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from lamina.cli._group import Command
from lamina.cli._output import print_json

EXAMPLES = """
lamina doctor
lamina doctor --json
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(as_json: bool, debug: bool) -> int:
    """Check this machine: versions, device, free memory and disk, threads, extras; each with a tick or a mend.

    Exit code 5 if something needed is not as it must be.
    """  # noqa: DOC201
    from lamina.errors import shown
    from lamina.workflows.doctor import doctor

    checks = doctor()
    good = all(check.good or not check.needed for check in checks)
    if as_json:
        print_json({"good": good, "checks": [asdict(check) for check in checks]})
        return 0 if good else 5
    letters = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    tick, dash = ("✓", "·") if letters else ("ok", "--")
    for check in checks:
        mark = tick if check.good else "!!" if check.needed else dash
        click.echo(f"{mark:<2} {check.name:<10} {shown(check.text, 200)}")
        if check.mend:
            click.echo(f"     mend     {shown(check.mend, 200)}")
    return 0 if good else 5
