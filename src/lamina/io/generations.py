"""Numbered generations in one folder, the newest good one found again, old ones retired: ``checkpoint/000012``."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from lamina.errors import CheckpointError, ConfigError, LaminaError, shown
from lamina.io import atomic, filesystem
from lamina.io.atomic import Content
from lamina.io.filesystem import patiently, refuse
from lamina.io.generation import Generation, read_generation, read_manifest, write_generation

_NUMBER = re.compile(r"[0-9]{6,12}")
_RESERVED = ("generation", "best_generation")


class Generations:
    """The checkpoints of one run: written one after another, the last two and the best kept.

    Every generation's ``meta`` also holds ``generation`` (its number) and ``best_generation`` (the number of the best
    one up to then, or null), so that a best one that was deleted by hand is missed.

    Args:
        folder: Where they lie; created by the first write.
        keep: How many of the newest stay, at least 2; the best stays besides.

    Attributes:
        messages: What was skipped or could not be removed, for the user; the caller may clear it.

    Raises:
        ConfigError: If ``keep`` is below 2.
    """

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        if keep < 2:
            raise ConfigError(f"keep must be at least 2, got {keep}: one alone may be the damaged one")
        self.folder, self.keep = Path(folder), keep
        self.messages: list[str] = []
        self._damaged: set[int] = set()

    def numbers(self) -> list[int]:
        """Return the numbers of the generations that are there, damaged ones included, oldest first.

        Raises ``MachineError`` if the folder cannot be listed.

        Returns:
            The numbers.
        """
        try:
            names = patiently(filesystem.active.listdir, self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            refuse(error, self.folder, "cannot be listed")
        return sorted(int(name) for name in names if _NUMBER.fullmatch(name))

    def write(self, files: Mapping[str, Content], meta: Mapping[str, object], *, best: bool = False) -> Generation:
        """Write the next generation; older ones are retired only after this one was synced and read back.

        Raises ``MachineError`` if the disk refuses; all earlier generations are intact then.

        Args:
            files: The contents by file name.
            meta: What JSON holds; ``generation`` and ``best_generation`` are reserved.
            best: Whether this is the best so far: it stays until a better one is written.

        Returns:
            The new generation, without contents.

        Raises:
            ConfigError: If ``meta`` uses a reserved key.
        """
        for key in _RESERVED:
            if key in meta:
                raise ConfigError(f'the key "{key}" is reserved in the meta of a generation')
        numbers = self.numbers()
        number = max(numbers, default=0) + 1
        best_number = number if best else self._best_number(numbers)
        own = {"generation": number, "best_generation": best_number}
        folder = write_generation(self.folder, f"{number:06d}", files, {**meta, **own})
        self._retire([*numbers, number], best_number)
        return read_manifest(folder)

    def _best_number(self, numbers: list[int]) -> int | None:
        """Return the best generation's number as the newest readable manifest tells it."""
        for number in reversed(numbers):
            try:
                best = read_manifest(self._place(number)).meta.get("best_generation")
            except CheckpointError:
                continue
            return best if type(best) is int else None
        return None

    def _place(self, number: int) -> Path:
        return self.folder / f"{number:06d}"

    def _retire(self, numbers: list[int], best: int | None) -> None:
        good = [number for number in numbers if number not in self._damaged]
        kept = {*good[-self.keep :], best}
        for number in numbers:
            folder = self._place(number)
            if number in kept:
                continue
            try:
                read_manifest(folder)  # only what lamina wrote is removed
                atomic.remove(folder)
            except FileNotFoundError:
                continue
            except LaminaError as error:
                self.messages.append(f"{shown(folder, 200)} is no longer needed but was left: {error.what}")
        if os.path.lexists(self.folder):
            atomic.sweep(self.folder)

    def latest(self, *, keep: Collection[str] | None = None) -> Generation | None:
        """Return the newest generation whose every hash agrees; what was skipped is told in ``messages``.

        Args:
            keep: The files whose contents to return, None for all.

        Returns:
            The generation, or None if there is none at all.

        Raises:
            CheckpointError: If there are generations, but every one is damaged.
        """
        last: CheckpointError | None = None
        for number in reversed(self.numbers()):
            try:
                return read_generation(self._place(number), keep=keep)
            except CheckpointError as error:
                self._damaged.add(number)
                self.messages.append(f"generation {number} is skipped: {error}")
                last = last or error
        if last is not None:
            raise CheckpointError(
                f"no generation is whole; the newest: {last}",
                where=shown(self.folder, 200),
                mend="restore the folder from a copy, or start a new run",
            )
        return None

    def best(self, *, keep: Collection[str] | None = None) -> Generation | None:
        """Return the generation that was written as the best; the latest if it is gone or damaged, which is told.

        Raises ``CheckpointError`` if there are generations, but every one is damaged.

        Returns:
            The generation, or None if there is none at all. Its ``notes`` say if it is not the best.
        """
        number = self._best_number(self.numbers())
        if number is None:
            return self.latest(keep=keep)
        try:
            return read_generation(self._place(number), keep=keep)
        except CheckpointError as error:
            note = f"the best generation ({number}) cannot be used: {error}; the last good one is used"
            self.messages.append(note)
            last = self.latest(keep=keep)
            return last and replace(last, notes=(*last.notes, note))
