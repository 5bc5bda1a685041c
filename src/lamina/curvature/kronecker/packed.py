"""Symmetric matrices kept in half the memory: the blocks on and below the diagonal, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

import torch
from torch import Tensor

from lamina.curvature._vectors import Tensors
from lamina.curvature.kronecker.block import Block

BAND = 64  # rows of a band; n (n + BAND) / 2 numbers are kept of n²

Pairs = MutableMapping[str, Tensors]
"""The factors of each block, or their inverses: by name, then ``inputs`` and ``outputs``."""


class PackedPairs(Pairs):
    """Pairs whose full matrices are kept packed; reading one makes the whole matrices anew, writing packs them.

        S = [S₁₁ S₂₁ᵀ …; S₂₁ S₂₂ …; …]  is kept as  S₁₁, (S₂₁, S₂₂), …   bands of 64 rows up to the diagonal block

    What is above the diagonal blocks is taken for the transpose of what is below. A change of what was read reaches the
    kept numbers only when it is written back.

    Args:
        blocks: The blocks, whose sides say which matrices are symmetric; a diagonal is kept as it is.
    """

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        self.blocks = blocks
        self.kept: dict[str, Tensors] = {}

    def __getitem__(self, name: str) -> Tensors:
        """Return the whole matrices of a block: copies."""
        return {side: self.whole(name, side) for side in self.kept[name]}

    def __setitem__(self, name: str, pair: Tensors) -> None:
        """Keep matrices of a block, in the memory of those before; a side that is not given stays."""
        into = self.kept.setdefault(name, {})
        for side, whole in pair.items():
            n, full = whole.shape[-1], self._full(name, side)
            if side not in into:
                into[side] = whole.new_empty(*whole.shape[:-2], _numbers(n)) if full else torch.empty_like(whole)
            if not full:
                into[side].copy_(whole)
                continue
            for band, (start, stop) in zip(_bands(into[side], n), _rows(n), strict=True):
                band.copy_(whole[..., start:stop, :stop])

    def __delitem__(self, name: str) -> None:
        """Forget a block."""
        del self.kept[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self.kept)

    def __len__(self) -> int:
        """Return how many blocks there are."""
        return len(self.kept)

    def whole(self, name: str, side: str) -> Tensor:
        """Return one matrix of a block: a copy."""
        flat = self.kept[name][side]
        return _whole(flat, self._size(name, side)) if self._full(name, side) else flat.clone()

    def _full(self, name: str, side: str) -> bool:
        return str(getattr(self.blocks[name], side)) == "full"

    def _size(self, name: str, side: str) -> int:
        block = self.blocks[name]
        return block.columns if side == "inputs" else block.rows // block.groups


def held(pairs: Pairs) -> Mapping[str, Tensors]:
    """Return the tensors that hold the numbers: those of ``PackedPairs`` are the packed ones."""
    return pairs.kept if isinstance(pairs, PackedPairs) else pairs


def read(pairs: Pairs, name: str, side: str) -> Tensor:
    """Return one matrix of a block: a copy where it is packed."""
    return pairs.whole(name, side) if isinstance(pairs, PackedPairs) else pairs[name][side]


def store(pairs: Pairs, name: str, pair: Tensors) -> None:
    """Put matrices of a block into the memory of those before; a side that is not given stays."""
    if isinstance(pairs, PackedPairs):
        pairs[name] = pair
        return
    kept = pairs.setdefault(name, {})
    for side, found in pair.items():
        if side in kept:
            kept[side].copy_(found)
        else:
            kept[side] = found


@contextmanager
def opened(pairs: Pairs, name: str, side: str) -> Iterator[Tensor]:
    """Open one matrix of a block to be changed in place.

    Yields:
        The matrix.
    """
    whole = read(pairs, name, side)
    yield whole
    if isinstance(pairs, PackedPairs):
        pairs[name] = {side: whole}


def _rows(n: int) -> list[tuple[int, int]]:
    return [(start, min(start + BAND, n)) for start in range(0, n, BAND)]


def _numbers(n: int) -> int:
    return sum((stop - start) * stop for start, stop in _rows(n))


def _bands(flat: Tensor, n: int) -> list[Tensor]:
    """Return views of the bands, each (…, rows, columns up to the end of its diagonal block)."""
    found, at = [], 0
    for start, stop in _rows(n):
        count = (stop - start) * stop
        found.append(flat[..., at : at + count].view(*flat.shape[:-1], stop - start, stop))
        at += count
    return found


def _whole(flat: Tensor, n: int) -> Tensor:
    found = flat.new_empty(*flat.shape[:-1], n, n)
    for band, (start, stop) in zip(_bands(flat, n), _rows(n), strict=True):
        found[..., start:stop, :stop] = band
        found[..., :start, start:stop] = band[..., :start].mT
    return found
