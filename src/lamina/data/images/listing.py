"""Which picture files a folder holds: classes by folder, parts by ``train``, ``valid``, ``test``."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lamina.data.images.decode import SUFFIXES
from lamina.data.images.imageset import PART_NAMES, TEST, TRAIN, VALID
from lamina.data.without_target import NO_CLASS
from lamina.errors import DataError, MachineError, shown

PARTS = {
    "train": TRAIN, "training": TRAIN,
    "valid": VALID, "val": VALID, "validation": VALID,
    "test": TEST, "testing": TEST,
}  # fmt: skip
WITHOUT_CLASS = frozenset({"unlabelled", "unlabeled"})
"""Names of the folder beside the class folders whose pictures have no class, where that is asked for."""
_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "icon\r"})
_LAYOUT = "one folder for each class with its pictures inside, such as photos/cat/1.jpg and photos/dog/1.jpg"


@dataclass
class Listing:
    """The files found, class by class and by name within a class.

    Args:
        files: Where each file is.
        shown: Its name relative to the root, as text that can be printed and stored.
        labels: Index of its class, -1 for none; empty where folders mean nothing.
        parts: 0 train, 1 valid, 2 test; empty where the folder has no such division.
        classes: Names of the class folders, sorted.
        others: Names of files that are no pictures by their ending.
        loops: Links that lead back to a folder already listed.
    """

    files: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    others: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return what was passed over, as lines for the user."""
        lines = []
        if self.others:
            lines.append(f"{len(self.others):,} files left out, no pictures by their ending: {few(self.others)}")
        if self.loops:
            lines.append(
                f"{len(self.loops):,} links lead back into the folder and were not followed: {few(self.loops)}"
            )
        return lines


def few(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, printable, and how many more there are."""
    return ", ".join(shown(name) for name in names[:most]) + (", ..." if len(names) > most else "")


def list_classes(
    root: Path, *, classes: Sequence[str] | None = None, min_classes: int = 2, unlabelled: bool = False
) -> Listing:
    """List ``root/class/*`` or ``root/{train,valid,test}/class/*``.

    Args:
        root: The folder.
        classes: The names that are allowed, in the order of their codes; None takes those found, sorted.
        min_classes: Refuse fewer class folders than this.
        unlabelled: Whether a folder ``unlabelled`` beside the class folders, those of the training part where there are
            parts, holds pictures without a class; else it is a class.

    Returns:
        The files with their classes and parts.

    Raises:
        DataError: If the folder is not laid out so, a class is empty, or two names differ only by case.
    """
    folders, loose = _children(root)
    where = shown(root, 200)
    if not folders:
        what = f"{len(loose):,} pictures but no class folders" if loose else "the folder holds no class folders"
        raise DataError(what, where=where, mend=f"make {_LAYOUT}")
    if loose:
        raise DataError(
            f"{len(loose):,} pictures lie beside the class folders ({few(loose)})",
            where=where,
            mend=f"move them into a class folder ({few(folders)}) or out of this one",
        )
    named, free = _apart(folders, unlabelled)
    if "train" in {name.lower() for name in named} and all(name.lower() in PARTS for name in named):
        if free:
            train = next(name for name in named if name.lower() == "train")
            raise DataError(f"{free[0]}/ lies beside {train}/", where=where, mend=f"move it into {train}/")
        return _list_parts(root, folders, classes, min_classes, unlabelled)
    found = Listing(classes=_class_names(named, root, classes, min_classes))
    _list_classes_into(found, root, root, _codes(found, named, free))
    return found


def list_files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Listing:
    """List the pictures of a folder, subfolders included, or the files given.

    Returns:
        The files, without classes or parts; given files keep their order.

    Raises:
        DataError: If there are none.
    """
    found = Listing()
    if isinstance(paths, str | os.PathLike):
        root = Path(paths)
        if root.is_dir():
            _walk(found, root, root, {_identity(root)})
            if not found.files:
                raise DataError("the folder holds no pictures", where=shown(root, 200), mend=_endings())
            return found
        paths = [root]
    found.files = [os.fspath(path) for path in paths]
    found.shown = [_text(path) for path in found.files]
    if not found.files:
        raise DataError("no pictures were given", mend="name at least one file or a folder of them")
    return found


def _apart(folders: list[str], unlabelled: bool) -> tuple[list[str], list[str]]:
    # The class folders, and those of pictures without a class.
    free = [name for name in folders if unlabelled and name.lower() in WITHOUT_CLASS]
    return [name for name in folders if name not in free], free


def _codes(found: Listing, names: list[str], free: list[str]) -> dict[str, int]:
    # Folder to the code of its pictures, in the order of the codes; those without a class come last.
    known = {name: found.classes.index(name) for name in sorted(names, key=found.classes.index)}
    return known | dict.fromkeys(free, NO_CLASS)


def _list_parts(
    root: Path, folders: list[str], classes: Sequence[str] | None, min_classes: int, unlabelled: bool
) -> Listing:
    of_part: dict[int, str] = {}
    inside: dict[str, list[str]] = {}
    for name in folders:
        part = PARTS[name.lower()]
        if part in of_part:
            raise DataError(
                f'"{of_part[part]}" and "{name}" both mean the {PART_NAMES[part]} part',
                where=shown(root, 200),
                mend="keep one of the two folders",
            )
        of_part[part] = name
        inside[name], loose = _children(root / name)
        if loose or not inside[name]:
            raise DataError(
                f"{len(loose):,} pictures outside class folders ({few(loose)})" if loose else "holds no class folders",
                where=shown(root / name, 200),
                mend=f"inside {name}/ make {_LAYOUT}",
            )
    inside[of_part[TRAIN]], free = _apart(inside[of_part[TRAIN]], unlabelled)
    union = sorted({name for names in inside.values() for name in names})
    unseen = sorted(set(union) - set(inside[of_part[TRAIN]]))
    if unseen and classes is None:
        raise DataError(
            f"class {few(unseen)} has no folder in {of_part[TRAIN]}/, so it cannot be learnt",
            where=shown(root, 200),
            mend="add training pictures of it, or remove it from the other parts",
        )
    found = Listing(classes=_class_names(union, root, classes, min_classes))
    places = [root / part / name for part, names in inside.items() for name in ("", *names)]
    places += [root / of_part[TRAIN] / name for name in free]
    reserved = frozenset(_identity(place) for place in places)
    for part in sorted(of_part):
        before = len(found.files)
        codes = _codes(found, inside[of_part[part]], free if part == TRAIN else [])
        _list_classes_into(found, root, root / of_part[part], codes, reserved)
        found.parts += [part] * (len(found.files) - before)
    return found


def _list_classes_into(
    found: Listing,
    root: Path,
    folder: Path,
    codes: dict[str, int],
    reserved: frozenset[tuple[int, int]] = frozenset(),
) -> None:
    # ``reserved`` are folders that a link inside a class must not lead into: the other parts.
    seen = {_identity(root), _identity(folder), *(_identity(folder / name) for name in codes)} | reserved
    for name, code in codes.items():
        before = len(found.files)
        _walk(found, root, folder / name, seen)
        if len(found.files) == before:
            raise DataError("the class folder holds no pictures", where=shown(folder / name, 200), mend=_endings())
        found.labels += [code] * (len(found.files) - before)


def _class_names(
    folders: Sequence[str], root: Path, classes: Sequence[str] | None, min_classes: int
) -> tuple[str, ...]:
    # Check the names of class folders; they are text only and never become part of a path that is written.
    where = shown(root, 200)
    twins: dict[str, str] = {}
    for name in sorted(folders):
        if _text(name) != name:
            raise DataError(
                f'the class folder "{shown(_text(name))}" has a name that is not UTF-8', where=where, mend="rename it"
            )
        key = unicodedata.normalize("NFC", name).casefold()
        if key in twins:
            raise DataError(
                f'the class folders "{shown(twins[key])}" and "{shown(name)}" differ only by case or accent form',
                where=where,
                mend="join them or rename one: on many disks they are the same folder",
            )
        twins[key] = name
    if classes is not None:
        unknown = [name for name in sorted(folders) if name not in classes]
        if unknown:
            raise DataError(
                f"class {few(unknown)} is not one of the known classes ({few(list(classes), 10)})",
                where=where,
                mend="rename or remove the folder",
            )
        return tuple(classes)
    if not folders:
        raise DataError("all pictures are without a class", where=where, mend=f"add {_LAYOUT}")
    if len(folders) < min_classes:
        only = folders[0]
        inner = sorted(entry.name for entry in os.scandir(root / only) if entry.is_dir())
        mend = f"give {shown(root / only, 200)} instead" if inner else f"make {_LAYOUT}"
        raise DataError(f'only one class ("{shown(only)}")', where=where, mend=mend)
    return tuple(sorted(folders))


def _children(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the pictures directly inside, hidden and system ones left out."""
    folders: list[str] = []
    pictures: list[str] = []
    for entry in _scan(folder):
        if entry.is_dir():
            folders.append(entry.name)
        elif _is_picture(entry.name):
            pictures.append(entry.name)
    return sorted(folders), sorted(pictures)


def _walk(found: Listing, root: Path, top: Path, seen: set[tuple[int, int]]) -> None:
    """Add the pictures of ``top`` and its subfolders, sorted; ``seen`` holds the folders not to enter again."""
    names: list[str] = []
    waiting = [os.fspath(top)]
    while waiting:
        for entry in _scan(Path(waiting.pop())):
            if entry.is_dir():
                identity = _identity(Path(entry.path))
                if identity in seen:
                    found.loops.append(_relative(entry.path, root))
                else:
                    seen.add(identity)
                    waiting.append(entry.path)
            elif entry.is_file() and _is_picture(entry.name):  # a pipe or a device is neither
                names.append(entry.path)
            else:
                found.others.append(_relative(entry.path, root))
    names.sort()
    found.loops.sort()
    found.others.sort()
    found.files += names
    found.shown += [_relative(name, root) for name in names]


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _SYSTEM]
    except FileNotFoundError as error:
        raise DataError("there is no such folder", where=shown(folder, 200), mend="check the path") from error
    except NotADirectoryError as error:
        raise DataError("not a folder", where=shown(folder, 200), mend="give the folder of the classes") from error
    except OSError as error:
        raise MachineError(
            f"the folder cannot be listed ({error.strerror or error})",
            where=shown(folder, 200),
            mend="check its permissions",
        ) from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _relative(path: str, root: Path) -> str:
    return _text(os.path.relpath(path, root)).replace(os.sep, "/")


def _text(name: str | os.PathLike[str]) -> str:
    # As valid Unicode: bytes that are not UTF-8 are written with a backslash, x and two digits.
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _endings() -> str:
    return "pictures end in " + ", ".join(sorted(SUFFIXES))
