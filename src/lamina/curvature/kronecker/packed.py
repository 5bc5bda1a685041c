"""Symmetric matrices kept in half the memory, in a rectangle that both triangles fill (LAPACK's RFP format)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from torch import Tensor

from lamina.curvature._vectors import Tensors
from lamina.curvature.kronecker.block import Block

Pairs = MutableMapping[str, Tensors]
"""The factors of each block, or their inverses: by name, then ``inputs`` and ``outputs``."""


class PackedPairs(Pairs):
    """Pairs whose full matrices are kept packed; reading one makes the whole matrices anew, writing packs them.

        S = [T . ; C B],  T of p = ⌈n/2⌉ columns,   is kept as n (n + 1) / 2 numbers:
        [T; C] on and below T's diagonal, and in the place above it B's upper triangle

    What is above the diagonal of T is taken for the transpose of what is below, and in B the other way round. A change
    of what was read reaches the kept numbers only when it is written back.

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
            full = self._full(name, side)
            if side not in into:
                into[side] = whole.new_empty(*whole.shape[:-2], *_sizes(whole.shape[-1])) if full else whole.clone()
            if full:
                _pack(whole, into[side])
            else:
                into[side].copy_(whole)

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
        kept = self.kept[name][side]
        return _whole(kept) if self._full(name, side) else kept.clone()

    def _full(self, name: str, side: str) -> bool:
        return str(getattr(self.blocks[name], side)) == "full"


def held(pairs: Pairs) -> Mapping[str, Tensors]:
    """Return the tensors that hold the numbers: those of ``PackedPairs`` are the packed ones."""
    return pairs.kept if isinstance(pairs, PackedPairs) else pairs


def read(pairs: Pairs, name: str, side: str) -> Tensor:
    """Return one matrix of a block: a copy where it is packed."""
    return pairs.whole(name, side) if isinstance(pairs, PackedPairs) else pairs[name][side]


def copied(pairs: Pairs, name: str, side: str) -> Tensor:
    """Return a copy of one matrix of a block."""
    return pairs.whole(name, side) if isinstance(pairs, PackedPairs) else pairs[name][side].clone()


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


def _sizes(n: int) -> tuple[int, int]:
    """Return rows and columns of the rectangle."""
    return (n, (n + 1) // 2) if n % 2 else (n + 1, n // 2)


def _parts(rectangle: Tensor) -> tuple[Tensor, Tensor]:
    """Return views: [T; C], and the square whose upper triangle, with the diagonal, is B's."""
    rows, columns = rectangle.shape[-2:]
    even = rows == 2 * columns + 1
    return (
        rectangle[..., 1:, :] if even else rectangle,
        rectangle[..., :columns, :] if even else rectangle[..., : columns - 1, 1:],
    )


def _pack(whole: Tensor, into: Tensor) -> None:
    p = into.shape[-1]
    left, corner = _parts(into)
    left.copy_(whole[..., :p])
    corner.tril_(-1).add_(whole[..., p:, p:].triu())


def _whole(rectangle: Tensor) -> Tensor:
    left, corner = _parts(rectangle)
    n, p = left.shape[-2:]
    found = rectangle.new_empty(*rectangle.shape[:-2], n, n)
    found[..., :p] = left
    found[..., :p, p:] = left[..., p:, :].mT
    found[..., p:, p:] = corner
    top, bottom = found[..., :p, :p].tril_(), found[..., p:, p:].triu_()
    top.add_(top.tril(-1).mT)
    bottom.add_(bottom.triu(1).mT)
    return found
