"""The entrance: calls the command, catches what it raises once, and turns it into two lines and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from lamina._version import __version__
from lamina.cli import _errors
from lamina.cli._group import WELCOME, LazyGroup
from lamina.cli._state import State
from lamina.errors import LaminaError


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["--help", "-h"]})
@click.version_option(__version__, message="lamina %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """The deep-learning canon on PyTorch: fit, inspect, predict; every method verified."""
    if context.invoked_subcommand is None:
        click.echo(WELCOME)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; what the script ``lamina`` calls.

    Args:
        arguments: The words after ``lamina``; those of the process by default.

    Returns:
        The exit code of RELIABILITY's table: 0 done, 1 a bug, 2 wrong use, 3 data, 4 checkpoint, 5 machine,
        6 diverged, 7 a check not met, 130 and 143 stopped by a signal.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # Threads that wait for one another in a loop make a busy machine many times slower; must stand before torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name outside the locale's letters must not end the run
    state = State(debug="--debug" in words)
    code = _call(words, state)
    return _leave(code, state, alone=arguments is None)


def _call(words: list[str], state: State) -> int:  # noqa: PLR0911 - one for each kind of end
    try:
        instruction = os.environ.get("_LAMINA_COMPLETE")
        if instruction:
            from click.shell_completion import shell_complete

            return shell_complete(commands, {}, "lamina", "_LAMINA_COMPLETE", instruction)
        # not click's own main: it turns a closed pipe into exit code 1
        with commands.make_context("lamina", list(words), obj=state) as context:
            result: Any = commands.invoke(context)
        sys.stdout.flush()
    except LaminaError as error:
        _debug(error, state)
        _errors.tell(error)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        _errors.tell(_errors.from_click(error))
        return 2
    except (KeyboardInterrupt, click.Abort):
        _errors.say("lamina: stopped")
        return 130
    except BrokenPipeError:
        _silence(sys.stdout)
        return 0
    except Exception as error:
        _debug(error, state)
        if _errors.out_of_memory(error):
            _errors.tell(_errors.MEMORY)
            return _errors.MEMORY.exit_code
        missing = _errors.missing_library(error)
        if missing is not None:
            _errors.tell(missing)
            return missing.exit_code
        _errors.tell_bug(error, state.run, debug=state.debug)
        return 1
    return result if isinstance(result, int) else 0


def _debug(error: BaseException, state: State) -> None:
    if state.debug:
        traceback.print_exception(error)
        if isinstance(error, LaminaError):
            _errors.keep_traceback(error, state.run)


def _leave(code: int, state: State, *, alone: bool) -> int:
    """Flush what was printed; leave without the interpreter's own end while a library is still being imported.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)
    if alone and (code > 128 or (state.importing is not None and state.importing.is_alive())):
        # somebody waits for the end: taking torch and scikit-learn apart takes seconds, and nothing is left to be saved
        if "multiprocessing" in sys.modules:
            for child in sys.modules["multiprocessing"].active_children():
                child.terminate()
        os._exit(code)
    return code


def _silence(stream: Any) -> None:
    """Let the interpreter's last flush of a closed pipe go nowhere instead of complaining."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
