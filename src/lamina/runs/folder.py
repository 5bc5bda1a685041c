"""The run folder: one visible place for all that a run is."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.errors import CheckpointError, ConfigError, shown
from lamina.io import clean_name, make_folder, new_numbered, read_toml, refuse_foreign, remove, write_toml

FORMAT = 1


@dataclass(frozen=True)
class RunFolder:
    """Names the files of a run; they are constants, never made of user text.

    Attributes:
        path: The folder. It may be moved, renamed or copied: nothing in it depends on where it lies.
    """

    path: Path

    @property
    def card(self) -> Path:
        """What was run: source, settings, versions."""
        return self.path / "run.toml"

    @property
    def model(self) -> Path:
        """The trained predictor, a folder of data under a manifest."""
        return self.path / "model"

    @property
    def history(self) -> Path:
        """A line an epoch."""
        return self.path / "history.jsonl"

    @property
    def page(self) -> Path:
        """The report to look at."""
        return self.path / "report.html"

    @property
    def facts(self) -> Path:
        """The report as data."""
        return self.path / "report.json"

    @classmethod
    def new(cls, stem: str, out: str | None, *, overwrite: bool = False) -> RunFolder:
        """Make the folder of a new run.

        Args:
            stem: What is run; the folder is ``runs/<stem>-<number>`` with the first free number.
            out: The folder to use instead.
            overwrite: Whether a run that lies in ``out`` may be replaced.

        Returns:
            The folder; what an earlier run left in it is still there until ``clear``.
        """
        if out is None:
            return cls(new_numbered(make_folder("runs"), clean_name(stem)))
        cls.check(out, overwrite=overwrite)
        return cls(make_folder(out))

    @classmethod
    def check(cls, out: str, *, overwrite: bool) -> None:
        """Refuse a folder that holds something, unless it is a run that may be replaced.

        Args:
            out: The folder.
            overwrite: Whether a run in it may be replaced.

        Raises:
            ConfigError: If it holds something, and it is no run or may not be replaced.
        """
        path = Path(out)
        if os.path.exists(path) and not path.is_dir():
            raise ConfigError("is a file, and a folder is needed", where=shown(out, 200), mend="give another --out")
        found = sorted(os.listdir(path)) if os.path.isdir(path) else []
        found = [name for name in found if not name.startswith(".")]  # locks, and what a killed run had half written
        if found and not overwrite:
            raise ConfigError(
                f"is not empty: it holds {', '.join(shown(name, 30) for name in found[:3])}",
                where=shown(out, 200),
                mend="give another --out, or --overwrite to replace the run in it",
            )
        if found and not cls(path).card.exists():
            raise ConfigError(
                "holds no run, and lamina deletes nothing that it did not write",
                where=shown(out, 200),
                mend="give another --out",
            )

    def clear(self) -> None:
        """Remove what an earlier run wrote here; call it under the folder's lock."""
        for name in OURS & set(os.listdir(self.path)):
            remove(self.path / name)

    @classmethod
    def existing(cls, path: str) -> RunFolder:
        """Return a run that is there.

        Returns:
            The folder.

        Raises:
            CheckpointError: If it is no run.
        """
        refuse_foreign(path)
        run = cls(Path(path))
        if not run.card.exists():
            raise CheckpointError(
                "has no run.toml, so it is no run",
                where=shown(path, 200),
                mend="give the folder that `lamina fit` wrote",
            )
        return run

    def write_card(self, card: dict[str, Any]) -> None:
        """Write ``run.toml``."""
        write_toml(self.card, {"format": FORMAT, **card})

    def read_card(self) -> dict[str, Any]:
        """Read ``run.toml``, checked against its hash.

        Returns:
            Its content.

        Raises:
            CheckpointError: If a newer lamina wrote it.
        """
        card = read_toml(self.card, guarded=True)
        if card.get("format") != FORMAT:
            raise CheckpointError(
                f"has format {card.get('format')!r}, this lamina reads {FORMAT}; it was written by lamina "
                f"{card.get('versions', {}).get('lamina', '?')}",
                where=str(self.card),
                mend="use that version",
            )
        return card


OURS = {
    "run.toml",
    "history.jsonl",
    "history-second.jsonl",
    "model",
    "checkpoint",
    "checkpoint-second",
    "report.html",
    "report.json",
    "error.txt",
    "tensorboard",
    "tensorboard-second",
    "pretraining",
    "pretraining-second",
    "decoded.npy",
}
"""Every name that a run writes into its folder; ``--overwrite`` removes these and nothing else."""


def versions() -> dict[str, str]:
    """Return what the bits of a result depend on.

    Returns:
        Versions of lamina, PyTorch, NumPy and Python, and the machine's kind.
    """
    import numpy
    import torch

    from lamina._version import __version__

    return {
        "lamina": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
