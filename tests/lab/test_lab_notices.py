"""The laboratory itself: writers that are wrong on purpose, each in one way, must be caught by the trials for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from lab.faults import Writer, fault_points, kill_points, power_cuts, short_writes
from lab.writers import NEW, OLD, told
from lamina import io
from lamina.errors import MachineError
from lamina.io import filesystem
from lamina.io.filesystem import CREATE


def _put(path: Path, data: bytes, *, sync: bool = True, whole: bool = True, flags: int = CREATE) -> None:
    system = filesystem.active
    fd = system.open(path, flags)
    try:
        while data:
            written = system.write(fd, data)
            data = data[written:] if whole else b""
        if sync:
            system.fsync(fd)
    finally:
        system.close(fd)


def in_place(path: Path) -> None:
    _put(path, NEW, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def _by_rename(path: Path, *, sync: bool = True, whole: bool = True, sync_folder: bool = True) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    _put(temporary, NEW, sync=sync, whole=whole)
    filesystem.active.rename(temporary, path)
    if sync_folder:
        filesystem.active.fsync_folder(path.parent)


def without_fsync(path: Path) -> None:
    _by_rename(path, sync=False)


def without_folder_fsync(path: Path) -> None:
    _by_rename(path, sync_folder=False)


def ignoring_short_writes(path: Path) -> None:
    _by_rename(path, whole=False)


def delete_then_rename(path: Path) -> None:
    temporary = path.with_name(".new.tmp")
    _put(temporary, NEW)
    filesystem.active.unlink(path)
    filesystem.active.rename(temporary, path)
    filesystem.active.fsync_folder(path.parent)


def swallowing_errors(path: Path) -> None:
    with contextlib.suppress(MachineError):
        io.write_file(path, NEW)


def raising_bare_errors(path: Path) -> None:
    _by_rename(path)


MUTANTS = {
    in_place: {kill_points, fault_points, power_cuts},
    without_fsync: {fault_points, power_cuts},
    without_folder_fsync: {fault_points, power_cuts},
    ignoring_short_writes: {fault_points, short_writes},
    delete_then_rename: {kill_points, fault_points, power_cuts},
    swallowing_errors: {fault_points},
    raising_bare_errors: {fault_points},
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_lab_notices(mutant, tmp_path):
    writer = Writer(
        mutant.__name__,
        lambda folder: (folder / "file").write_bytes(OLD),
        lambda folder: mutant(folder / "file"),
        told(lambda folder: (folder / "file").read_bytes() if (folder / "file").exists() else None, OLD, NEW),
    )
    notice = set()
    for trial in (kill_points, fault_points, power_cuts, short_writes):
        try:
            lost = trial(writer, tmp_path / trial.__name__).lost
        except AssertionError:
            lost = ["the undisturbed write is wrong"]
        if lost:
            notice.add(trial)
    assert notice == MUTANTS[mutant]


def _generation(folder: Path) -> object:
    return io.read_generation(folder / "g").meta["n"]


def _trial_of_generations() -> Writer:
    return Writer(
        "write_generation",
        lambda folder: io.write_generation(folder, "g", {"a": OLD}, {"n": 1}),
        lambda folder: io.write_generation(folder, "g", {"a": NEW}, {"n": 2}),
        told(_generation, 1, 2),
    )


def test_the_lab_notices_a_generation_whose_folder_is_not_synced(tmp_path, monkeypatch):
    """The names inside the new folder are lost by a power cut, although every file was synced."""
    real = filesystem.FileSystem.fsync_folder
    monkeypatch.setattr(io.generation.filesystem, "active", filesystem.FileSystem())
    writer = _trial_of_generations()

    def write(folder: Path) -> None:
        shim = filesystem.active
        plain = shim.fsync_folder
        shim.fsync_folder = lambda path: None if path.suffix == ".tmp" else plain(path)
        try:
            writer.write(folder)
        finally:
            del shim.fsync_folder

    assert power_cuts(Writer("no folder sync", writer.setup, write, writer.judge), tmp_path).lost
    assert filesystem.FileSystem.fsync_folder is real


def test_the_lab_notices_a_reader_that_forgets_the_copy_aside(tmp_path, monkeypatch):
    """Killed between the two renames, only the reader's look at ``.g.old`` finds the old generation."""
    monkeypatch.setattr(io.generation, "_aside", lambda target: target.with_name(f".{target.name}.elsewhere"))
    assert not kill_points(_trial_of_generations(), tmp_path / "1").lost
    writer = _trial_of_generations()
    blind = told(lambda folder: io.generation._read(folder / "g", None).meta["n"], 1, 2)
    assert kill_points(Writer("blind", writer.setup, writer.write, blind), tmp_path / "2").lost


def test_the_lab_notices_retention_before_the_write(tmp_path):
    """``save_total_limit=1`` elsewhere: the old checkpoints were deleted before the new one was there."""

    def write(folder: Path) -> None:
        io.remove(folder / "000001")
        io.write_generation(folder, "000002", {"a": NEW}, {"n": 2})

    writer = Writer(
        "retention first",
        lambda folder: io.write_generation(folder, "000001", {"a": OLD}, {"n": 1}),
        write,
        told(lambda folder: (found := io.Generations(folder).latest()) and found.meta["n"], 1, 2),
    )
    assert kill_points(writer, tmp_path / "kill").lost
    assert fault_points(writer, tmp_path / "fault").lost
    assert power_cuts(writer, tmp_path / "power").lost
