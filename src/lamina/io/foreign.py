"""Telling what is not lamina's: other programs' model files are named, never opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from lamina.errors import CheckpointError, shown

_SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("pkl", "pickle", "pck", "pt", "pth", "pt2", "ckpt", "bin", "joblib", "dill", "keras", "h5", "hdf5"),
        *("mar", "npy", "npz", "skops", "onnx", "pb"),
    )
)
_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"\x89HDF")


def refuse_foreign(path: str | Path, landmark: str = "run.toml") -> None:
    """Refuse a path that is not a folder holding ``landmark``, and say what it is instead.

    Args:
        path: What the user gave as a model, a run or a checkpoint.
        landmark: The file that such a folder of lamina's always holds.

    Raises:
        CheckpointError: If there is no such folder, it is a file, or it lacks the landmark.
    """
    path = Path(path)
    where = shown(path, 200)
    if not os.path.lexists(path):
        raise CheckpointError("there is no such folder", where=where, mend="check the path")
    if not path.is_dir():
        if _runs_code(path):
            _refuse_code(path, where)
        what = "is a zip file: unpack it first" if path.suffix.lower() == ".zip" else "is a file, not a lamina folder"
        raise CheckpointError(what, where=where, mend="give the folder that `lamina fit` wrote")
    if os.path.lexists(path / landmark):
        return
    try:
        inside = sorted(os.listdir(path))
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", where=where) from error
    for name in inside[:1000]:
        if Path(name).suffix.lower() in _SUFFIXES and not name.startswith("."):
            _refuse_code(path / name, shown(path / name, 200))
    found = ", ".join(shown(name, 30) for name in inside[:3]) or "nothing"
    raise CheckpointError(
        f"is not a lamina folder: {landmark} is missing (it holds {found})",
        where=where,
        mend="give the folder that `lamina fit` wrote",
    )


def _runs_code(path: Path) -> bool:
    if path.suffix.lower() in _SUFFIXES or path.suffix.lower() == ".zip":
        return path.suffix.lower() != ".zip"
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_MAGIC)
    except OSError:
        return False


def _refuse_code(path: Path, where: str) -> NoReturn:
    kind = shown(path.suffix, 12) or "such"
    raise CheckpointError(
        f"lamina does not open {kind} files, because such a file can run code when it is read",
        where=where,
        mend="give the folder that `lamina fit` wrote; to move weights from elsewhere, save them as .safetensors",
    )
