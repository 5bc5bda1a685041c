"""Keep large tables small: numbers as float32 or int32 where that loses nothing that a float32 matrix could show.

A table of more than 64 MiB of numbers is narrowed. Whole numbers that fit go to int32, exactly. Fractions go to float32
(relative error at most 6e-8) only if the values of the block spread over at least a thousandth of their size, so that the
rounding stays below 1e-4 of a standard deviation; a column of large values with small differences stays in float64.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LARGE = 1 << 26
_SPREAD = 1e-3


class Narrowing:
    """Watches the size of a table while it is read, and narrows all blocks once it is large."""

    def __init__(self, large: int = LARGE) -> None:
        self.large = large
        self.bytes = 0
        self.on = False

    def text(self, column: Any) -> Any:
        """Return one block of a text column as one array.

        Returns:
            A ``pyarrow.Array``.
        """
        return column.combine_chunks()

    def numbers(self, column: Any, low: float, high: float) -> Any:
        """Return one block of a number column as one array, narrowed if the table is large.

        Args:
            column: The block.
            low: Its least value.
            high: Its greatest value.

        Returns:
            A ``pyarrow.Array``.
        """
        if self.on:
            column = _narrowed(column, low, high)
        self.bytes += column.nbytes
        return column.combine_chunks()

    def after_block(self, parts: list[list[Any]]) -> None:
        """Switch narrowing on, and narrow what was kept, once the table is large."""
        if self.on or self.bytes < self.large:
            return
        self.on = True
        for blocks in parts:
            for i, block in enumerate(blocks):
                if not pa.types.is_string(block.type):
                    blocks[i] = narrowed(block)


def extremes(column: Any) -> tuple[float, float]:
    """Return the least and the greatest value of a column of numbers.

    Returns:
        Two numbers; 0 and 0 if there is no value.
    """
    found = pc.min_max(column)
    low, high = found["min"].as_py(), found["max"].as_py()
    return (0.0, 0.0) if low is None else (low, high)


def narrowed(column: Any) -> Any:
    """Return numbers in half the bytes where that is harmless.

    Returns:
        The column as int32 or float32, or as it was.
    """
    if not (pa.types.is_int64(column.type) or pa.types.is_float64(column.type)):
        return column
    return _narrowed(column, *extremes(column))


def _narrowed(column: Any, low: float, high: float) -> Any:
    if pa.types.is_int64(column.type):
        return column.cast(pa.int32()) if low >= -(2**31) and high < 2**31 else column
    size = max(abs(low), abs(high))
    if size == 0.0 or (1e-30 < size < 1e38 and high - low >= _SPREAD * size):
        return column.cast(pa.float32(), safe=False)
    return column


def joined(blocks: list[Any], *, whole: bool) -> Any:
    """Return the blocks of a column as one column of the widest type among them; ``blocks`` is emptied.

    Args:
        blocks: Arrays.
        whole: Whether numbers are put into one piece, which copies them.

    Returns:
        A ``pyarrow.Array``, or a ``pyarrow.ChunkedArray``.
    """
    arrays = [one for block in blocks for one in (block.chunks if isinstance(block, pa.ChunkedArray) else [block])]
    blocks.clear()
    kinds = {array.type for array in arrays}
    if len(kinds) > 1:
        wide = pa.float32() if kinds <= {pa.float32(), pa.null()} else pa.float64()
        if all(pa.types.is_integer(kind) for kind in kinds):
            wide = pa.int64()
        arrays = [array.cast(wide) for array in arrays]
    if not arrays:
        return pa.array([], pa.string())
    if not whole or pa.types.is_string(arrays[0].type):
        return pa.chunked_array(arrays)
    return pa.concat_arrays(arrays)
