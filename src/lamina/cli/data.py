"""``lamina data``."""

from __future__ import annotations

import click

from lamina.cli._group import Command, unknown_command
from lamina.cli._output import print_json
from lamina.cli.display import ScreenDisplay
from lamina.errors import DataError, MachineError, shown

EXAMPLES = """
lamina data list
lamina data fetch mnist
lamina data check mnist --data-dir ~/data
"""

_COMMANDS = ["list", "check", "fetch"]


class _Group(click.Group):
    """The three subcommands; a wrong one names the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown_command(args[0], _COMMANDS, "lamina data")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _COMMANDS

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, line by line."""
        lines = "\n".join(f"  {line}" for line in EXAMPLES.strip().splitlines())
        formatter.write(f"\nExamples:\n{lines}\n")


@click.group(cls=_Group)
def command() -> None:
    """List, check or fetch the data sets that are known by name."""


@command.command("list", cls=Command, examples="lamina data list\nlamina data list --json")
@click.option("--data-dir", metavar="DIR", help="Where named data sets lie; LAMINA_DATA says the same.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def list_(data_dir: str | None, as_json: bool, debug: bool) -> None:
    """List the data sets by name: how many examples, what they are, where they come from, their licence.

    Those that are computed take options behind their name, for instance
    mnist-rotation:train=1000:valid=200:test=5000:seed=1.
    """
    from dataclasses import asdict

    from lamina.data.named import list_named

    cards = list_named(data_dir)
    if as_json:
        print_json({"data": [asdict(card) for card in cards]})
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        place = f"{card.bytes / 2**20:.1f} MB to be fetched" if card.where == "to be fetched" else card.where
        click.echo(f"{card.name:<{width}}  {card.n:>7,}  {card.description} ({place})")
        click.echo(f"{'':<{width}}           {card.source}; licence: {card.licence}")


@command.command("check", cls=Command, examples="lamina data check mnist --data-dir ~/data")
@click.argument("name")
@click.option("--data-dir", metavar="DIR", help="Where named data sets lie; LAMINA_DATA says the same.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def check(name: str, data_dir: str | None, debug: bool) -> None:
    """Check that the files of the data set NAME are here and whole; nothing is fetched."""  # noqa: DOC501
    from lamina.data.named import check_named

    display = ScreenDisplay()
    checks = check_named(name, data_dir=data_dir)
    for one in checks:
        display.line("ok" if one.ok else "bad" if one.where else "missing", f"{one.file}: {one.what}")
    for one in checks:
        if one.where and not one.ok:
            raise DataError(one.what, where=one.where, mend=f"delete the file, then: lamina data fetch {shown(name)}")
    if not all(one.ok for one in checks):
        raise MachineError(
            "not all of its files are here", where=shown(name), mend=f"fetch them: lamina data fetch {shown(name)}"
        )


@command.command("fetch", cls=Command, examples="lamina data fetch mnist")
@click.argument("name")
@click.option("--data-dir", metavar="DIR", help="Where to put it; LAMINA_DATA says the same.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def fetch(name: str, data_dir: str | None, debug: bool) -> None:
    """Fetch the data set NAME from its mirrors, check it against its SHA-256, and say where it lies.

    Of one that is computed, what it is made from is fetched.
    """
    from lamina.data.named import list_named, load_named
    from lamina.data.named.catalogue import entry

    found = entry(name)  # a wrong name is refused before anything heavy is imported
    display = ScreenDisplay()
    if found.made_from or not found.computed:
        load_named(found.made_from or found.name, data_dir=data_dir, say=display.say)
    for card in list_named(data_dir):
        if card.name == found.name:
            display.line("here", f"{card.name}: {card.n:,} examples, {card.where}")
