"""The group of commands: each is imported only when it is called, and a wrong name names the nearest right one."""

from __future__ import annotations

import importlib

import click

from lamina._version import __version__
from lamina.errors import ConfigError, nearest, shown

COMMANDS = {
    "fit": "Fit a model to a table, pictures, or a data set by name, and write a report.",
    "predict": "Apply a fitted model to new data.",
    "evaluate": "Measure a fitted model on data whose answers are known.",
    "report": "Write the report of a run again.",
    "reproduce": "Rerun a paper's or textbook's claim as a table with intervals.",
    "canon": "Show a method: equation, source, example, and the test that verifies it.",
    "data": "List, check or fetch the data sets that are known by name.",
    "doctor": "Check this machine: versions, device, memory, disk, threads, extras.",
    "demo": "Fit a bundled data set, offline, and say where its report is.",
    "completion": "Print the script that completes lamina's words in your shell.",
}

WELCOME = f"""\
lamina {__version__}: the deep-learning canon on PyTorch

  lamina demo                             fit a bundled table, offline
  lamina fit churn.csv --target Churn     fit your own: a table, pictures, a data set by name
  lamina predict runs/churn-1 new.csv     apply what was fitted to new rows

commands   {"  ".join(COMMANDS)}
more       lamina --help, lamina fit --help, and so on for each command"""

EXAMPLES = """\
Examples:
  lamina demo
  lamina fit churn.csv --target Churn
  lamina predict runs/churn-1 new.csv -o out.csv"""


class LazyGroup(click.Group):
    """The commands by name; the module of a command is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lamina.cli.{cmd_name}").command
        assert_command: click.Command = command
        return assert_command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            raise unknown_command(name, list(COMMANDS), "lamina")
        return name, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table above, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, line by line."""
        formatter.write(f"\n{EXAMPLES}\n")


class Command(click.Command):
    """A command whose help ends with its examples as they are typed."""

    def __init__(self, *args: object, examples: str = "", **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, line by line."""
        lines = "\n".join(f"  {line}" for line in self.examples.strip().splitlines())
        formatter.write(f"\nExamples:\n{lines}\n")


def unknown_command(name: str, known: list[str], owner: str) -> ConfigError:
    """Return the refusal of a command that does not exist.

    Returns:
        The error, with the nearest command.
    """
    return ConfigError(
        f'there is no command "{shown(name)}"{nearest(name, known)}',
        mend=f"`{owner} --help` lists the commands: {', '.join(known)}",
    )
