"""``lamina data``."""

from __future__ import annotations

import click

from lamina.cli._group import Command, unknown_command
from lamina.cli._output import print_json
from lamina.cli.display import ScreenDisplay

EXAMPLES = """
lamina data list
lamina data fetch mnist
lamina data check mnist --data-dir ~/data
"""

_COMMANDS = ["list", "check", "fetch"]


class _Group(click.Group):
    """The three subcommands; a wrong one names the nearest."""

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown_command(args[0], _COMMANDS, "lamina data")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return _COMMANDS

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, line by line."""
        lines = "\n".join(f"  {line}" for line in EXAMPLES.strip().splitlines())
        formatter.write(f"\nExamples:\n{lines}\n")


@click.group(cls=_Group)
def command() -> None:
    """List, check or fetch the data sets that are known by name."""


@command.command("list", cls=Command, examples="lamina data list\nlamina data list --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def list_(as_json: bool, debug: bool) -> None:
    """List the data sets by name: how many examples, what they are, where they come from, their licence."""
    from lamina.data.named.catalogue import ENTRIES

    if as_json:
        print_json({
            "data": [
                {
                    "name": one.name,
                    "kind": one.kind,
                    "examples": one.n,
                    "description": one.description,
                    "source": one.source,
                    "licence": one.licence,
                    "task": one.task,
                    "target": one.target,
                    "bundled": one.bundled,
                    "bytes": one.bytes,
                }
                for one in ENTRIES
            ]
        })
        return
    width = max(len(one.name) for one in ENTRIES)
    for one in ENTRIES:
        where = "bundled" if one.bundled else f"{one.bytes / 2**20:.1f} MB to fetch"
        click.echo(f"{one.name:<{width}}  {one.n:>7,}  {one.description}  ({where})")
        click.echo(f"{'':<{width}}           {one.source}; licence: {one.licence}")


@command.command("check", cls=Command, examples="lamina data check mnist --data-dir ~/data")
@click.argument("name")
@click.option("--data-dir", metavar="DIR", help="Where named data sets lie; LAMINA_DATA says the same.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def check(name: str, data_dir: str | None, debug: bool) -> None:
    """Check that the files of the data set NAME are here and whole."""
    from lamina.data.named import check as check_files

    display = ScreenDisplay()
    for line in check_files(name, data_dir=data_dir):
        display.line("ok", line)


@command.command("fetch", cls=Command, examples="lamina data fetch mnist")
@click.argument("name")
@click.option("--data-dir", metavar="DIR", help="Where to put it; LAMINA_DATA says the same.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def fetch(name: str, data_dir: str | None, debug: bool) -> None:
    """Fetch the data set NAME, with checksum, from its mirrors, and say where it lies."""
    from lamina.data.named import fetch as fetch_files

    display = ScreenDisplay()
    display.say(f"fetching {name}")
    for place in fetch_files(name, data_dir=data_dir):
        display.line("file", str(place))
