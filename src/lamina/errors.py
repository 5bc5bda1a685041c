"""The error types: one line that says what is wrong and where, one line with the mend, one exit code each.

Every message has the form ``where: what`` and, beside it, a ``mend``: what the reader can do now. The command line
prints both and exits with ``exit_code``; in Python the same text is ``str(error)``.
"""

from __future__ import annotations


class LaminaError(Exception):
    """Something that lamina refuses or could not do, said for a person.

    Args:
        what: What is wrong, one line, no full stop.
        where: The place: a file with its line and column, an option, a layer. Empty if ``what`` names it.
        mend: What to do about it, one line. Empty only where nothing can be done.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what, self.where, self.mend = what, where, mend

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(LaminaError, ValueError):
    """An option, a setting or an argument that cannot be used as given."""

    exit_code = 2


class DataError(LaminaError, ValueError):
    """Data that cannot be used: names the file, line, column or row."""

    exit_code = 3


class CheckpointError(LaminaError, OSError):
    """A model or checkpoint that is damaged, incomplete, or made for other data."""

    exit_code = 4


class MachineError(LaminaError, OSError):
    """The machine refused: disk, memory, permission, device, network, or a lock held by another run."""

    exit_code = 5


class MissingExtra(LaminaError, ImportError):
    """An optional library is not installed; the mend is the exact install line."""

    exit_code = 5


class DivergedError(LaminaError, ArithmeticError):
    """Training left the finite numbers and could not recover."""

    exit_code = 6


class CheckNotMet(LaminaError):
    """A check that was asked for (``--require``, a published figure) was not met."""

    exit_code = 7


class Interrupted(LaminaError):
    """A signal ended the work after its state was saved; ``exit_code`` is 128 plus the signal's number."""

    def __init__(self, signal_number: int, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.exit_code = 128 + signal_number


def nearest(name: str, known: list[str]) -> str:
    """Return ``; did you mean "x"?`` for the known name closest to ``name``, or nothing.

    Returns:
        A phrase to append to a message, empty when no known name is close.
    """
    import difflib

    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f'; did you mean "{folded[close[0]]}"?' if close else ""


def shown(value: object, limit: int = 60) -> str:
    """Return a value as it may stand in a message: control characters escaped, cut to ``limit`` characters.

    Returns:
        Printable text of at most ``limit`` characters (an ellipsis counts as one).
    """
    bidi = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    text = "".join(
        c if c.isprintable() and c not in bidi else c.encode("unicode_escape").decode("ascii") for c in str(value)
    )
    return text if len(text) <= limit else text[: limit - 1] + "…"
