"""Every command has help with examples, and the examples are commands that exist."""

from __future__ import annotations

import shlex

import click
import pytest

from lamina.cli._group import COMMANDS
from lamina.cli.main import commands, main


def leaves() -> list[tuple[str, click.Command]]:
    """Every command and subcommand with its path."""
    context = click.Context(commands)
    found: list[tuple[str, click.Command]] = []
    for name in commands.list_commands(context):
        command = commands.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", each) for inner, each in command.commands.items()]
    return found


@pytest.mark.parametrize(("path", "command"), leaves(), ids=[path for path, _ in leaves()])
def test_help_has_text_and_examples_that_parse(
    path: str, command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path.split(), "--help"]) == 0
    text = capsys.readouterr().out
    examples = [line.strip() for line in text.split("Examples:\n")[1].splitlines() if line.strip()]
    assert examples
    assert command.help
    assert not {"Args:", "Raises:", "Returns:"} & set(text.split())  # what is for readers of the code
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name
    for example in examples:
        typed = example.split("|")[-1].split(">")[0].split("#")[0]
        words = shlex.split(typed)
        assert words[: 1 + len(path.split())] == ["lamina", *path.split()]
        owner: click.Command = commands
        rest = words[1:]
        while isinstance(owner, click.Group):
            _, found, rest = owner.resolve_command(click.Context(owner), rest)
            assert found is not None
            owner = found
        owner.make_context(typed, list(rest))  # raises where an option or argument is wrong


def test_short_help_is_listed_without_importing_the_commands() -> None:
    context = click.Context(commands)
    assert commands.list_commands(context) == list(COMMANDS)
    for name, text in COMMANDS.items():
        assert commands.get_command(context, name) is not None
        assert text.endswith(".")
