"""A disk as POSIX promises it, and no better: what may be there after a power cut.

Data that were not synced may be absent, half there, all there, or zeros of the right length. Names that were not synced
(created, renamed, removed) may be there up to any point of their order, for each folder by itself; syncing a file does
not sync its name. A rename inside a folder is one step.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab.faults import Shim
from lamina.io.filesystem import FileSystem

State = tuple[tuple[str, "bytes | State"], ...]


class File:
    def __init__(self, data: bytes = b"", *, synced: bool = False) -> None:
        self.synced: bytes = data if synced else b""
        self.steps: list[bytes] = [] if synced else [data]  # contents since the last sync, oldest first
        self.current = data

    def change(self, data: bytes) -> None:
        self.current = data
        self.steps.append(data)

    def sync(self) -> None:
        self.synced, self.steps = self.current, []

    def contents(self) -> set[bytes]:
        found = {self.synced, *self.steps}
        before = self.synced
        for after in self.steps:
            if after.startswith(before):
                new = len(after) - len(before)
                found |= {after[: len(before) + new // 2], before + bytes(new)}
            elif not before.startswith(after):  # cutting a file touches none of the data that stay
                found |= {after[: len(after) // 2], bytes(len(after))}
            before = after
        return found


class Folder:
    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.synced: dict[str, File | Folder] = {}
        self.steps: list[dict[str, File | Folder]] = []

    def change(self, **names: File | Folder | None) -> None:
        merged = {**self.names, **names}
        self.names = {name: inode for name, inode in merged.items() if inode is not None}
        self.steps.append(self.names)

    def sync(self) -> None:
        self.synced, self.steps = self.names, []


class Disk:
    """The folder ``root`` as it is now, all of it synced."""

    def __init__(self, root: Path) -> None:
        self.base, self.root = root, self._load(root)

    def _load(self, path: Path) -> Folder:
        folder = Folder()
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            inner = self._load(Path(entry)) if entry.is_dir() else File(Path(entry).read_bytes(), synced=True)
            folder.names[entry.name] = inner
        folder.sync()
        return folder

    def find(self, path: Path) -> File | Folder | None:
        inode: File | Folder | None = self.root
        for part in path.relative_to(self.base).parts:
            inode = inode.names.get(part) if isinstance(inode, Folder) else None
        return inode

    def above(self, path: Path) -> Folder:
        folder = self.find(path.parent)
        assert isinstance(folder, Folder)
        return folder

    def states(self) -> Iterator[State]:
        """All states that may be found after a power cut now."""
        yield from self._states(self.root)

    def _states(self, folder: Folder) -> Iterator[State]:
        for names in [folder.synced, *folder.steps]:
            options = []
            for name, inode in sorted(names.items()):
                inner = self._states(inode) if isinstance(inode, Folder) else inode.contents()
                options.append([(name, one) for one in inner])
            yield from itertools.product(*options)


class Recorder(Shim):
    """Does every call really, does it on the model disk too, and notes the states that a cut after it permits."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.disk = Disk(root)
        self.files: dict[int, File] = {}
        self.states: list[tuple[str, State]] = []

    def act(self, name: str, args: tuple) -> object:
        disk = self.disk
        inode = disk.find(args[0]) if isinstance(args[0], Path) else self.files.get(args[0])
        result = getattr(FileSystem, name)(self, *args)
        match name:
            case "open":
                if inode is None:
                    inode = File()
                    disk.above(args[0]).change(**{args[0].name: inode})
                elif args[1] & os.O_TRUNC:
                    inode.change(b"")
                self.files[result] = inode
            case "write":
                inode.change(inode.current + bytes(args[1][:result]))  # lamina writes at the end only
            case "truncate":
                inode.change(inode.current[: args[1]].ljust(args[1], b"\0"))
            case "fsync" | "fsync_folder":
                inode.sync()
            case "rename":
                source, target = args
                above = disk.above(source)
                assert above is disk.above(target), "a rename from folder to folder is not in this model"
                above.change(**{source.name: None, target.name: inode})
            case "link":
                disk.above(args[1]).change(**{args[1].name: inode})
            case "mkdir":
                disk.above(args[0]).change(**{args[0].name: Folder()})
            case "unlink" | "rmdir":
                disk.above(args[0]).change(**{args[0].name: None})
            case "close":
                self.files.pop(args[0])
        if name not in {"read", "close", "listdir"}:
            point = f"call {self.count} ({name})"
            self.states.extend((point, state) for state in disk.states())
        return result


def build(state: State, place: Path) -> None:
    """Make a state real, in place of what is at ``place``."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name, inner in state:
        if isinstance(inner, bytes):
            (place / name).write_bytes(inner)
        else:
            build(inner, place / name)
