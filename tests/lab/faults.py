"""The laboratory: every writer is killed, failed and cut off at every call it makes, and a judge looks at what is left.

A ``Writer`` says how to make the old state, how to write the new one, and how to tell which of the two a folder holds.
``kill_points``, ``fault_points``, ``short_writes`` and ``power_cuts`` return a ``Tally``; ``Tally.lost`` must be empty.
Nothing here knows how lamina writes: it replaces ``lamina.io.filesystem.active`` and looks at the calls.

To put another writer under it, in any room's tests::

    from lab.faults import Writer, trial
    trial(Writer("predictions", setup, write, judge), tmp_path)
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lamina.errors import LaminaError
from lamina.io import filesystem
from lamina.io.filesystem import FileSystem

CALLS = (
    *("open", "read", "write", "truncate", "fsync", "close", "rename", "link", "mkdir", "unlink", "rmdir", "listdir"),
    "fsync_folder",
)
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Writer:
    """One writer and its judge.

    Attributes:
        name: What the tally calls it.
        setup: Makes the old state in an empty folder.
        write: Writes the new state over it.
        judge: Returns "old" or "new", exactly; raises for anything else.
    """

    name: str
    setup: Callable[[Path], object]
    write: Callable[[Path], object]
    judge: Callable[[Path], str]


@dataclass
class Tally:
    """What came out: how many points were tried, what was left at them, and what was lost."""

    points: int = 0
    old: int = 0
    new: int = 0
    lost: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.points + other.points, self.old + other.old, self.new + other.new, [*self.lost, *other.lost])

    def __str__(self) -> str:
        return f"{self.points} points: {self.old} old, {self.new} new, {len(self.lost)} lost"


# --- replacing the file layer ---


class Shim(FileSystem):
    """Counts the calls; subclasses act at one of them. Real syncs are left out: only ``power_cuts`` asks for them."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def act(self, name: str, args: tuple) -> object:
        return None if name.startswith("fsync") else getattr(FileSystem, name)(self, *args)


def _counted(name: str) -> Callable[..., object]:
    def call(self: Shim, *args: object) -> object:
        self.count += 1
        self.names.append(name)
        return self.act(name, args)

    return call


for _name in CALLS:
    setattr(Shim, _name, _counted(_name))


class Kill(Shim):
    """Kills the process at the entry of the n-th call; with ``torn``, after half of it if it is a write."""

    def __init__(self, n: int, *, torn: bool = False) -> None:
        super().__init__()
        self.n, self.torn = n, torn

    def act(self, name: str, args: tuple) -> object:
        if self.count == self.n:
            if self.torn and name == "write":
                super().act(name, (args[0], args[1][: len(args[1]) // 2]))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(name, args)


class Fail(Shim):
    """Fails the n-th call, and with ``onwards`` every one after it; with ``torn`` a failing write writes half."""

    def __init__(self, n: int, code: int, *, onwards: bool, torn: bool = False) -> None:
        super().__init__()
        self.n, self.code, self.onwards, self.torn = n, code, onwards, torn

    def act(self, name: str, args: tuple) -> object:
        if self.count == self.n or (self.onwards and self.count > self.n):
            if name == "close":  # a failing close has closed the file all the same
                super().act(name, args)
            if self.torn and name == "write" and self.count == self.n and len(args[1]) > 1:
                return super().act(name, (args[0], args[1][: len(args[1]) // 2]))
            raise OSError(self.code, os.strerror(self.code))
        return super().act(name, args)


class Short(Shim):
    """Every write writes at most ``most`` bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def act(self, name: str, args: tuple) -> object:
        return super().act(name, (args[0], args[1][: self.most]) if name == "write" else args)


@contextlib.contextmanager
def replaced(shim: FileSystem) -> Iterator[FileSystem]:
    before, filesystem.active = filesystem.active, shim
    try:
        yield shim
    finally:
        filesystem.active = before


def count_calls(action: Callable[[], object]) -> list[str]:
    """Return the names of the file calls that ``action`` makes, in order."""
    with replaced(shim := Shim()):
        action()
    return shim.names


# --- the four trials ---


def _template(writer: Writer, room: Path) -> Path:
    template = room / "template"
    shutil.rmtree(template, ignore_errors=True)
    template.mkdir(parents=True)
    with replaced(Shim()):
        writer.setup(template)
    assert writer.judge(template) == "old", f"{writer.name}: the judge does not know its own old state"
    return template


def _copies(template: Path) -> Iterator[Path]:
    folder = template.with_name("copy")
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder, symlinks=True)
        yield folder


def _calls(writer: Writer, copies: Iterator[Path]) -> list[str]:
    folder = next(copies)
    names = count_calls(lambda: writer.write(folder))
    assert writer.judge(folder) == "new", f"{writer.name}: an undisturbed write does not give the new state"
    return names


def _judged(writer: Writer, folder: Path, tally: Tally, point: str) -> str:
    tally.points += 1
    try:
        found = writer.judge(folder)
    except Exception as error:
        tally.lost.append(f"{writer.name}, {point}: neither old nor new: {type(error).__name__}: {error}")
        return "lost"
    tally.old += found == "old"
    tally.new += found == "new"
    return found


def _again(writer: Writer, folder: Path, tally: Tally, point: str) -> None:
    """After any fault the next undisturbed write must succeed."""
    try:
        with replaced(Shim()):
            writer.write(folder)
        found = writer.judge(folder)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    if found != "new":
        tally.lost.append(f"{writer.name}, {point}: the next write does not recover: {found}")


def kill_points(writer: Writer, room: Path) -> Tally:
    """SIGKILL at the entry of every call, and in the middle of every write. Old or new must be left."""
    tally, copies = Tally(), _copies(_template(writer, room))
    names = _calls(writer, copies)
    for n, torn in [(n, False) for n in range(1, len(names) + 1)] + [
        (n, True) for n, name in enumerate(names, 1) if name == "write"
    ]:
        folder, point = next(copies), f"killed at call {n} ({names[n - 1]}{', torn' if torn else ''})"
        child = os.fork()
        if child == 0:
            try:
                filesystem.active = Kill(n, torn=torn)
                writer.write(folder)
            finally:
                os._exit(70)
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            tally.lost.append(f"{writer.name}, {point}: the process ended before the kill")
        if _judged(writer, folder, tally, point) == "old":
            _again(writer, folder, tally, point)
    return tally


def fault_points(writer: Writer, room: Path, codes: tuple[int, ...] = ERRORS) -> Tally:
    """Every call fails once (the first two errors) and from then on (all); once with EINTR, which must not be seen.

    Success may be reported only for the new state; a failure must be a ``LaminaError`` with place and mend, and leave
    the old or the new state, no temporary file unless clearing it up is what failed, and a folder that can be written.
    """
    tally, copies = Tally(), _copies(_template(writer, room))
    names = _calls(writer, copies)
    plans = [(code, onwards, False) for code in codes[:2] for onwards in (False, True)]
    plans += [(code, True, False) for code in codes[2:]]
    plans += [(errno.ENOSPC, True, True), (errno.EINTR, False, False)]
    for n, (code, onwards, torn) in itertools.product(range(1, len(names) + 1), plans):
        name = names[n - 1]
        if (torn and name != "write") or (code == errno.EINTR and name == "close"):
            continue
        folder = next(copies)
        point = f"{errno.errorcode[code]} at call {n} ({name}){' and on' if onwards else ''}{', torn' if torn else ''}"
        refused: Exception | None = None
        try:
            with replaced(Fail(n, code, onwards=onwards, torn=torn)):
                writer.write(folder)
        except Exception as error:
            refused = error
        found = _judged(writer, folder, tally, point)
        if refused is None and found == "old":
            tally.lost.append(f"{writer.name}, {point}: success was reported, but the new state is not there")
        if refused is not None and not (isinstance(refused, LaminaError) and refused.where and refused.mend):
            tally.lost.append(f"{writer.name}, {point}: not a refusal with place and mend: {refused!r}")
        if code == errno.EINTR and refused is not None:
            tally.lost.append(f"{writer.name}, {point}: an interrupted call was not repeated: {refused}")
        if not onwards and name in {"open", "write", "fsync", "mkdir", "truncate"}:
            left = [str(path.relative_to(folder)) for path in folder.rglob(".*.tmp")]
            if left:
                tally.lost.append(f"{writer.name}, {point}: left behind: {left}")
        if found == "old":
            _again(writer, folder, tally, point)
    return tally


def short_writes(writer: Writer, room: Path) -> Tally:
    """Writes that take 1, 2, 7 or 100 bytes at a time. The new state must come out."""
    tally, copies = Tally(), _copies(_template(writer, room))
    for most in (1, 2, 7, 100):
        folder = next(copies)
        with replaced(Short(most)):
            writer.write(folder)
        if _judged(writer, folder, tally, f"at most {most} bytes a write") == "old":
            tally.lost.append(f"{writer.name}, at most {most} bytes a write: still old")
    return tally


def power_cuts(writer: Writer, room: Path) -> Tally:
    """Every state that POSIX permits after a power cut at every call; after the return only the new one is allowed."""
    from lab.disk import Recorder, build

    template = _template(writer, room)
    folder = next(_copies(template))
    with replaced(recorder := Recorder(folder)):
        writer.write(folder)
    tally, seen = Tally(), set()
    place = room / "cut"
    for call, state in recorder.states:
        if state not in seen:
            seen.add(state)
            build(state, place)
            if _judged(writer, place, tally, f"power cut after {call}") == "old":
                _again(writer, place, tally, f"power cut after {call}")
    for state in set(recorder.disk.states()):
        build(state, place)
        if _judged(writer, place, tally, "power cut after the return") == "old":
            tally.lost.append(f"{writer.name}, power cut after the return: success was reported, but the old is back")
    return tally


def trial(writer: Writer, room: Path) -> dict[str, Tally]:
    """Run all four trials and assert that nothing is lost.

    Returns:
        The tallies, by the name of the trial.
    """
    tallies = {}
    for test in (kill_points, fault_points, short_writes, power_cuts):
        tallies[test.__name__] = tally = test(writer, room / test.__name__)
        assert not tally.lost, f"{test.__name__}: {tally}\n" + "\n".join(tally.lost[:20])
    return tallies
