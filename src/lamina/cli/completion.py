"""``lamina completion``."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from lamina.cli._group import Command
from lamina.errors import ConfigError, nearest, shown

EXAMPLES = """
lamina completion bash >> ~/.bashrc
lamina completion zsh >> ~/.zshrc
lamina completion fish > ~/.config/fish/completions/lamina.fish
"""

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("shell", metavar="bash|zsh|fish")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(shell: str, debug: bool) -> None:
    """Print the script that completes lamina's commands and options in a shell."""  # noqa: DOC501
    from lamina.cli.main import commands

    if shell not in _SHELLS:
        raise ConfigError(
            f'there is no completion for "{shown(shell)}"{nearest(shell, list(_SHELLS))}',
            where="lamina completion",
            mend=f"give one of {', '.join(_SHELLS)}",
        )
    made = _SHELLS[shell](commands, {}, "lamina", "_LAMINA_COMPLETE")
    click.echo(made.source_template % made.source_vars())
