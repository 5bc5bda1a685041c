"""Rot: flipped bits, zeroed blocks and truncations, and what a reader makes of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lamina.errors import CheckpointError


@dataclass
class Rot:
    """How many damaged files were read, refused, read rightly all the same, and read wrongly without a word."""

    files: int = 0
    refused: int = 0
    harmless: int = 0
    silent: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.files} damaged files: {self.refused} refused, {self.harmless} harmless, {len(self.silent)} silent"
        )


def damages(data: bytes, n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """``n`` damaged copies of ``data``: 60 % single bits, 20 % zeroed 4 KiB blocks, 20 % truncations."""
    chance = random.Random(seed)
    for i in range(n):
        if i % 5 < 3:
            bit = chance.randrange(8 * len(data))
            copy = bytearray(data)
            copy[bit // 8] ^= 1 << bit % 8
            yield f"bit {bit}", bytes(copy)
        elif i % 5 == 3:
            start = chance.randrange(len(data))
            yield f"zeros from {start}", data[:start] + bytes(len(data[start : start + 4096])) + data[start + 4096 :]
        else:
            cut = chance.randrange(len(data))
            yield f"cut at {cut}", data[:cut]


def rot(
    path: Path, read: Callable[[], object], n: int, seed: int, allowed: Callable[[object], bool] | None = None
) -> Rot:
    """Damage the file ``n`` times and read it.

    Args:
        path: The file.
        read: Reads it (or the folder it lies in) as lamina does.
        n: How many times.
        seed: Which damages.
        allowed: Says of a result other than the right one whether it may be returned all the same.
    """
    data, right, tally = path.read_bytes(), read(), Rot()
    for what, damaged in damages(data, n, seed):
        if damaged == data:
            continue
        tally.files += 1
        path.write_bytes(damaged)
        try:
            found = read()
        except CheckpointError as error:
            assert error.where and error.what, error
            tally.refused += 1
            continue
        if found == right or (allowed is not None and allowed(found)):
            tally.harmless += 1
        else:
            tally.silent.append(f"{path.name}, {what}")
    path.write_bytes(data)
    return tally
