"""One-hot coding over a shortlist, with one more symbol for everything out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.data.preprocessing._arrays import Arrays, broken
from lamina.errors import ConfigError, DataError

Symbol = str | int


@dataclass(frozen=True)
class Shortlist:
    """Code the K most frequent symbols of the training part as 1-of-(K + 1), all others by the last place.

        x_k = 1 if the symbol is the k-th of the list, k = 0 … K - 1;   x_K = 1 if it is not in the list

    The last code, out of shortlist, stands for rare symbols and for those never met in training. The list runs from the
    most frequent symbol to the rarest, equal ones in their own order.

    Attributes:
        symbols: The list: all strings or all integers.

    Raises:
        ConfigError: If the list is empty, mixed, or names a symbol twice.

    Reference: Park, Liu, Gales & Woodland, "Improved Neural Network Based Language Modelling and Adaptation",
    Interspeech 2010 (the out-of-shortlist node).
    """

    symbols: tuple[str, ...] | tuple[int, ...]
    _codes: dict[Symbol, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = {type(symbol) for symbol in self.symbols}
        if kinds not in ({str}, {int}):
            raise ConfigError(
                "the symbols must be all strings or all whole numbers, at least one", where="Shortlist", mend="fit anew"
            )
        object.__setattr__(self, "_codes", {symbol: code for code, symbol in enumerate(self.symbols)})
        if len(self._codes) != len(self.symbols):
            raise ConfigError("a symbol stands twice in the list", where="Shortlist", mend="leave one out")

    @classmethod
    def fit(cls, symbols: Iterable[Any] | np.ndarray, *, size: int | None = None, at_least: int = 1) -> Shortlist:
        """Make the list from the training part.

        Args:
            symbols: Strings or whole numbers; an array of any shape.
            size: K, the number of symbols to keep at most; None keeps all.
            at_least: How often a symbol must occur to be kept.

        Returns:
            The coding.

        Raises:
            ConfigError: If ``size`` or ``at_least`` is below 1.
            DataError: If no symbol is kept.
        """
        for name, value in {"size": 1 if size is None else size, "at_least": at_least}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}", where="Shortlist")
        counts = Counter(_plain(symbols))
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        kept = tuple(symbol for symbol in ranked if counts[symbol] >= at_least)[:size]
        if not kept:
            raise DataError(
                f"no symbol occurs {at_least} times", where="Shortlist", mend="give more data, or lower at_least"
            )
        return cls(kept)

    @property
    def out_of_shortlist(self) -> int:
        """The code K of every symbol that is not in the list."""
        return len(self.symbols)

    @property
    def width(self) -> int:
        """Places of a one-hot vector: K + 1."""
        return len(self.symbols) + 1

    def encode(self, symbols: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Return the codes, int64, of the shape of the symbols."""
        shape = symbols.shape if isinstance(symbols, np.ndarray) else (len(symbols),)
        rest, codes = self.out_of_shortlist, self._codes
        found = np.fromiter((codes.get(symbol, rest) for symbol in _plain(symbols)), np.int64)
        return found.reshape(shape)

    def decode(self, codes: np.ndarray | Tensor | Sequence[int]) -> list[Symbol | None]:
        """Return the symbols of codes, flat; None for out of shortlist.

        Raises:
            DataError: If a code is not in 0 … K.
        """
        flat = np.asarray(codes.cpu() if isinstance(codes, Tensor) else codes).reshape(-1)
        if flat.size and (flat.dtype.kind not in "iu" or flat.min() < 0 or flat.max() > self.out_of_shortlist):
            raise DataError(f"codes run from 0 to {self.out_of_shortlist}", where="Shortlist", mend="check the codes")
        known: tuple[Symbol | None, ...] = (*self.symbols, None)
        return [known[code] for code in flat.tolist()]

    def transform(self, symbols: Sequence[Any] | np.ndarray) -> Tensor:
        """Return one-hot vectors, float32, with a last axis of K + 1."""
        codes = torch.from_numpy(self.encode(symbols))
        vectors = torch.zeros(*codes.shape, self.width)
        return vectors.scatter_(-1, codes.unsqueeze(-1), 1.0)

    def inverse(self, vectors: np.ndarray | Tensor) -> list[Symbol | None]:
        """Return the symbol of each vector's largest element, flat: also of a network's outputs.

        Raises:
            DataError: If the last axis is not K + 1.
        """
        scores = torch.as_tensor(vectors)
        if scores.ndim == 0 or scores.shape[-1] != self.width:
            raise DataError(
                f"vectors must have {self.width} places, got shape {tuple(scores.shape)}",
                where="Shortlist",
                mend="give what transform returned",
            )
        return self.decode(scores.argmax(-1))

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored: numbers, or the bytes of the strings one after the other with their lengths.

        Raises:
            ConfigError: If an integer has more than 64 bits.
        """
        if isinstance(self.symbols[0], int):
            try:
                return {"numbers": np.array(self.symbols, np.int64)}
            except OverflowError as error:
                raise ConfigError("a symbol is beyond 64 bits", where="Shortlist", mend="use strings") from error
        words = [str(symbol).encode("utf-8", "surrogatepass") for symbol in self.symbols]
        letters = np.frombuffer(b"".join(words), np.uint8)
        return {"letters": letters, "lengths": np.array([len(word) for word in words], np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Shortlist:
        """Rebuild the coding from ``to_arrays()``.

        Returns:
            The coding.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        owner = "Shortlist"
        parts = {name: np.asarray(array) for name, array in arrays.items()}
        if any(part.ndim != 1 or part.dtype.kind not in "iu" for part in parts.values()):
            raise broken(owner, "its arrays are not whole numbers in one axis")
        try:
            if set(parts) == {"numbers"}:
                return cls(tuple(int(number) for number in parts["numbers"].tolist()))
            if set(parts) != {"letters", "lengths"}:
                raise broken(owner, f"its arrays are {sorted(parts)}")
            lengths = parts["lengths"].astype(np.int64)
            if parts["letters"].dtype != np.uint8 or (lengths < 0).any() or lengths.sum() != parts["letters"].size:
                raise broken(owner, "the lengths of its words do not fit their letters")
            ends = np.cumsum(lengths).tolist()
            text = parts["letters"].tobytes()
            starts = [0, *ends[:-1]]
            return cls(tuple(text[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=True)))
        except (UnicodeDecodeError, ConfigError) as error:
            raise broken(owner, str(error)) from error


def _plain(symbols: Iterable[Any] | np.ndarray) -> Iterable[Any]:
    """Return Python's own strings and integers, one after the other.

    Raises:
        DataError: If one is neither.
    """
    if isinstance(symbols, str):
        raise DataError("a single string is no sequence of symbols", where="Shortlist", mend="give a list of words")
    flat = symbols.reshape(-1).tolist() if isinstance(symbols, np.ndarray) else symbols
    for symbol in flat:
        plain = symbol.item() if isinstance(symbol, np.generic) else symbol
        if type(plain) not in {str, int}:
            raise DataError(
                f"a symbol must be a string or a whole number, got {type(plain).__name__}",
                where="Shortlist",
                mend="convert it with str()",
            )
        yield plain
