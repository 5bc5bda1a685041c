"""A case of the bad-input catalogue: what is made in an empty folder, the command, and all that must come of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

FAST = ["--epochs", "2", "--threads", "1", "--set", "hidden=8", "--set", "importance=false"]
"""Options that make a fit small; a case with ``fast=False`` gives its own."""


@dataclass(frozen=True)
class Runs:
    """Finished runs, made once; cases work on copies."""

    folder: Path


class Place:
    """The folder of a case and what can be put into it."""

    def __init__(self, path: Path, runs: Runs, patch: pytest.MonkeyPatch) -> None:
        self.path, self.runs, self.patch = path, runs, patch

    def write(self, name: str, data: bytes | str) -> Path:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.encode() if isinstance(data, str) else data)
        return place

    def run(self, kind: str, name: str = "run") -> Path:
        """Copy a finished run: ``classes``, ``number`` or ``pictures``; its data come along."""
        shutil.copytree(self.runs.folder / kind, self.path / name)
        return self.path / name

    def picture(self, name: str, pixels: object = None, **options: object) -> Path:
        from PIL import Image

        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(_pixels(name, pixels))
        picture.save(place, **options)
        return place

    def photos(
        self, root: str = "photos", *, each: int = 12, side: int = 8, classes: Sequence[str] = ("cat", "dog")
    ) -> Path:
        for k, name in enumerate(classes):
            for i in range(each):
                self.picture(f"{root}/{name}/{i}.png", _noise(f"{name}{i}", side) // 2 + np.uint8(100 * (k % 2)))
        return self.path / root


def _noise(word: str, side: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def _pixels(name: str, pixels: object) -> np.ndarray:
    return _noise(name, 8) if pixels is None else np.asarray(pixels)


Make = Callable[[Place], object]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        id: Its id in the catalogue, a dash, and words.
        make: Puts the hostile inputs into the empty folder.
        command: The words after ``lamina``.
        code: The exit code.
        says: What the first error line must contain; where ``code`` is 0, what must be said anywhere.
        mend: What the mend line must contain.
        silent: What must not be said anywhere.
        left: Patterns of names (within the folder) that may appear; by default a run where all went well, else nothing.
        changed: Patterns of names that may change.
        after: Looks at what is there afterwards.
        fast: Whether ``FAST`` is added to a fit.
        stdin: What standard input holds.
        columns: Width of the terminal.
        encoding: Of standard output and error.
        fault: What the code does not do yet; the case must fail until it does.
    """

    id: str
    make: Make
    command: str | list[str]
    code: int
    says: Sequence[str] = ()
    mend: Sequence[str] = ()
    silent: Sequence[str] = ()
    left: Sequence[str] | None = None
    changed: Sequence[str] = ()
    after: Callable[[Place, Said], object] | None = None
    fast: bool = True
    stdin: bytes | None = None
    encoding: str = "utf-8"
    fault: str = ""

    @property
    def words(self) -> list[str]:
        words = shlex.split(self.command) if isinstance(self.command, str) else list(self.command)
        return words + FAST if self.fast and words and words[0] == "fit" else words


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err

    @property
    def error(self) -> list[str]:
        """The lines from the first ``lamina: `` on."""
        lines = self.err.splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("lamina: ")]
        return lines[starts[0] :] if starts else []


def call(words: Sequence[str], *, stdin: bytes | None = None, encoding: str = "utf-8") -> Said:
    """Run the command line in this process."""
    from lamina.cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    before = sys.stdin
    if stdin is not None:
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(list(words))
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdin = before
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
    return Said(code, *texts)


def content(folder: Path) -> dict[str, str]:
    """Return every file, link and empty folder below ``folder`` with the hash of its bytes."""
    return dict(_content(folder, folder))


def _content(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir()):
        name = entry.relative_to(root).as_posix()
        if entry.is_symlink():
            yield name, f"link {entry.readlink()}"
        elif entry.is_dir():
            yield f"{name}/", "folder"
            yield from _content(root, entry)
        elif entry.is_file():
            yield name, hashlib.sha256(entry.read_bytes()).hexdigest()


# --- what goes into tables ---


def rows(n: int = 60, *, kind: str = "classes") -> list[str]:
    """Lines of a table that can be learnt: two numbers, a colour, and the target ``kind`` or ``price``."""
    chance = random.Random(3)
    lines = ["height,weight,colour," + ("kind" if kind == "classes" else "price")]
    for i in range(n):
        height, weight = chance.gauss(0, 1), chance.gauss(0, 1)
        colour = ("red", "green", "blue")[chance.randrange(3)]
        target = ("yes" if height + weight > 0 else "no") if kind == "classes" else f"{height - 2 * weight:.4f}"
        if kind == "classes" and i < 6:
            target = ("yes", "no")[i % 2]
        lines.append(f"{height:.4f},{weight:.4f},{colour},{target}")
    return lines


def text(lines: Sequence[str], end: str = "\n") -> bytes:
    return (end.join(lines) + end).encode()


def line(number: int, new: str, *, n: int = 60, kind: str = "classes") -> bytes:
    """The good table with one physical line (1 is the header) replaced."""
    lines = rows(n, kind=kind)
    lines[number - 1] = new
    return text(lines)


def column(name: str, cells: Callable[[int], object], *, n: int = 60, kind: str = "classes") -> bytes:
    """The good table with a column more, placed before the target."""
    lines = []
    for i, old in enumerate(rows(n, kind=kind)):
        first, last = old.rsplit(",", 1)
        lines.append(f"{first},{name if i == 0 else cells(i - 1)},{last}")
    return text(lines)


def target(cells: Callable[[int], object], *, n: int = 60) -> bytes:
    """The good table with another last column, ``kind``."""
    good = rows(n)
    return text([good[0], *(f"{old.rsplit(',', 1)[0]},{cells(i)}" for i, old in enumerate(good[1:]))])


def file(name: str, data: bytes | str) -> Make:
    return lambda place: place.write(name, data)


def csv(data: bytes | str) -> Make:
    return file("t.csv", data)


def both(*makes: Make) -> Make:
    return lambda place: [make(place) for make in makes]


def nothing(place: Place) -> None:
    """An empty folder."""


GOOD = text(rows())
