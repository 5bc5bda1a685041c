"""How errors look: one line that says what is wrong and where, one line with the mend, one exit code each."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path

import click

from lamina.errors import ConfigError, LaminaError, MachineError, nearest, shown

_LONGEST = 2000

MEMORY = MachineError(
    "this machine has not enough free memory for this",
    mend="close other programs, or give a smaller --set batch_size=N, a smaller model, or less data",
)


def tell(error: LaminaError) -> None:
    """Print an error as one line and, if it has one, the mend as another."""
    say(f"lamina: {shown(error, _LONGEST)}")
    if error.mend:
        say(f"  mend  {shown(error.mend, _LONGEST)}")


def say(line: str) -> None:
    """Print a line on stderr; if nobody is listening any more, nothing happens."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error of Python's or torch's means that memory ran out.

    Returns:
        True if it does.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def missing_library(error: BaseException) -> LaminaError | None:
    """Tell a library of others' that is missing or broken from a bug of lamina's own.

    Returns:
        The refusal, or None where it is something else.
    """
    if not isinstance(error, ImportError) or not error.name or error.name.partition(".")[0] == "lamina":
        return None
    library = shown(error.name.partition(".")[0])
    what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported: {shown(error, 200)}"
    return MachineError(f"the library {library} {what}", mend="`lamina doctor` says which version is needed")


def tell_bug(error: BaseException, run: str | None, *, debug: bool) -> None:
    """Say that lamina itself failed, and where the traceback is: three lines."""
    kept = keep_traceback(error, run)
    summary = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    say(f"lamina: a bug in lamina, not in your data: {shown(summary, 200)}")
    say(f"  run   {shown(run, 200) if run else 'none was begun'}")
    if kept is not None:
        say(f"  mend  the traceback is in {shown(kept, 200)}; please report it")
    elif not debug:
        say("  mend  the same command with --debug shows the traceback; please report it")


def keep_traceback(error: BaseException, run: str | None) -> Path | None:
    """Write the traceback into the run folder.

    Returns:
        The file, or None if there is no run folder or it cannot be written.
    """
    if run is None or not Path(run).is_dir():
        return None
    from lamina.io.atomic import write_file

    kept = Path(run) / "error.txt"
    try:
        write_file(kept, "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
    except LaminaError:
        return None
    return kept


def from_click(error: click.ClickException) -> ConfigError:
    """Return a refusal of the parser's in lamina's own grammar.

    Returns:
        What is wrong and the mend; exit code 2.
    """
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "lamina"
    mend = f"`{path} --help` lists what it takes"
    if isinstance(error, click.NoSuchOption):
        return ConfigError(f"there is no option {shown(error.option_name)}{_options(error, context)}", mend=mend)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        name = error.param.human_readable_name
        kind = "option" if isinstance(error.param, click.Option) else "argument"
        return ConfigError(f"the {kind} {shown(name)} is missing", where=path, mend=mend)
    message = error.format_message().strip().rstrip(".")
    extra = re.match(r"Got unexpected extra arguments? \((.*)\)$", message, re.DOTALL)
    if extra is not None:
        if "=" in extra[1]:
            mend = f"settings are given as --set {extra[1].split()[-1]}"
        return ConfigError(f"takes no further argument, got {shown(extra[1])}", where=path, mend=mend)
    parameter = getattr(error, "param", None)
    option = getattr(error, "option_name", None) or (parameter.opts[0] if parameter is not None else "")
    message = re.sub(r"^Option '(.*?)' ", "", message)
    message = message.replace("requires an argument", "needs a value")
    message = message[:1].lower() + message[1:]
    return ConfigError(shown(message, 300), where=shown(option or path), mend=mend)


def _options(error: click.NoSuchOption, context: click.Context | None) -> str:
    """Name the options that were perhaps meant: all that begin as typed, or the nearest.

    Returns:
        A phrase to append to the message.
    """
    known: list[str] = []
    if context is not None:
        known = [o for p in context.command.get_params(context) for o in (*p.opts, *p.secondary_opts) if o[:2] == "--"]
    begin = [option for option in known if option.startswith(error.option_name) and len(error.option_name) > 2]
    if begin:
        return f"; did you mean {' or '.join(begin[:4])}? (options are not abbreviated)"
    return nearest(error.option_name, known).replace('"', "")
