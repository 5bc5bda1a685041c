"""The canon: what each method is, where it comes from, how it is used, and which test verifies it."""

from __future__ import annotations

import functools
import shlex
import tomllib
import typing
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from typing import Any

from lamina.errors import ConfigError, nearest, shown
from lamina.io import dump_toml
from lamina.runs.setting_values import LINES, read_value
from lamina.runs.settings import Settings


@dataclass(frozen=True, slots=True)
class Row:
    """One method.

    Attributes:
        name: What it is asked for by: ``relu``.
        title: Its name in the field's words.
        ids: The rows of the canon that it makes true: ``C08``.
        import_path: The object, ``package.module.Name``: lamina's, or PyTorch's where that is the right answer.
        equation: Its defining equation, as text.
        source: Author, year, place.
        test: ``tests/file.py::test_name``, the test that verifies it.
        courses: Keys of the course table that teach it.
        example: Python that runs as it stands.
        aliases: Other names it is found by.
        command: The same from the command line, where there is a way.
        note: A departure from the sources, or when not to use it.
    """

    name: str
    title: str
    ids: tuple[str, ...]
    import_path: str
    equation: str
    source: str
    test: str
    courses: tuple[str, ...]
    example: str
    aliases: tuple[str, ...] = field(default=())
    note: str = ""
    command: str = ""

    @property
    def toml(self) -> str:
        """What the ``--set`` pairs of the command are in the file given with ``--config``; empty where it has none."""
        words = shlex.split(self.command)
        pairs = [text.partition("=") for option, text in pairwise(words) if option == "--set"]
        hints = typing.get_type_hints(Settings)
        # A setting in one line of its own kind stays that line: to check it would load what it names.
        given = {
            name: value if name in LINES else read_value(name, value, hints[name], None, self.name)
            for name, _, value in pairs
        }
        return dump_toml({name: list(value) if isinstance(value, tuple) else value for name, value in given.items()})

    def to_dict(self) -> dict[str, object]:
        """Return it in plain types, for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "ids": list(self.ids),
            "import": self.import_path,
            "equation": self.equation,
            "source": self.source,
            "test": self.test,
            "courses": [courses()[key] for key in self.courses],
            "example": self.example,
            "aliases": list(self.aliases),
            "command": self.command,
            "toml": self.toml,
            "note": self.note,
        }

    def to_text(self) -> str:
        """Return it for a person to read."""
        lines = [f"{self.title}  ({', '.join((self.name, *self.aliases))})", ""]
        lines += [f"  {line}" for line in self.equation.strip().splitlines()]
        lines += ["", f"source   {self.source}", f"taught   {'; '.join(courses()[key] for key in self.courses)}"]
        lines += [f"canon    {', '.join(self.ids)}", f"import   {self.import_path}", f"test     {self.test}"]
        if self.note:
            lines.append(f"note     {self.note}")
        lines += ["", "example", *(f"  {line}" for line in self.example.strip().splitlines())]
        if self.command:
            lines += ["", "command line", *(f"  {line}" for line in self.command.strip().splitlines())]
        if self.toml:
            lines += ["", "the same in a file for --config", *(f"  {line}" for line in self.toml.splitlines())]
        return "\n".join(lines)


@functools.cache
def _document() -> dict[str, Any]:
    return tomllib.loads(files("lamina").joinpath("canon.toml").read_text(encoding="utf-8"))


def courses() -> dict[str, str]:
    """Return the courses: key to name."""
    return dict(_document()["courses"])


def load_canon() -> list[Row]:
    """Return every row, in the order of the file."""
    rows = []
    for entry in _document()["method"]:
        values: dict[str, Any] = {("import_path" if key == "import" else key): entry[key] for key in entry}
        for key in ("ids", "courses", "aliases"):
            values[key] = tuple(values.get(key, ()))
        rows.append(Row(**values))
    return rows


def find(name: str) -> Row:
    """Return the row with a name, an alias, or an id of the canon.

    Args:
        name: As typed; case, spaces and underscores do not matter.

    Raises:
        ConfigError: If there is none, naming the nearest.
    """
    wanted = _folded(name)
    rows = load_canon()
    known = {_folded(word): row for row in reversed(rows) for word in (*row.ids, row.title, *row.aliases, row.name)}
    if wanted in known:
        return known[wanted]
    names = [word for row in rows for word in (row.name, *row.aliases)]
    raise ConfigError(
        f'there is no method "{shown(name)}" in the canon{nearest(name, names)}',
        mend="`lamina canon` lists them all",
    )


def _folded(word: str) -> str:
    return word.casefold().replace("_", "-").replace(" ", "-")
