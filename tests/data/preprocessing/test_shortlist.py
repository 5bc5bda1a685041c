"""One-hot coding with an out-of-shortlist symbol: there and back."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.data.preprocessing import Shortlist
from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.io import pack_arrays, unpack_arrays

WORDS = st.lists(st.text(max_size=4), min_size=1, max_size=30)
NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(symbols=WORDS | NUMBERS, size=st.none() | st.integers(1, 5))
def test_I16_round_trip_of_strings_and_integers(symbols: list[str] | list[int], size: int | None) -> None:
    coding = Shortlist.fit(symbols, size=size)
    vectors = coding.transform(symbols)
    assert tuple(vectors.shape) == (len(symbols), coding.width) and vectors.sum(1).tolist() == [1.0] * len(symbols)
    kept = set(coding.symbols)
    assert coding.inverse(vectors) == [symbol if symbol in kept else None for symbol in symbols]
    assert coding.decode(coding.encode(symbols)) == coding.inverse(vectors)
    counts = Counter(symbols)
    assert min(counts[s] for s in kept) >= max([counts[s] for s in symbols if s not in kept], default=0)
    assert len(kept) == min(len(counts), size or len(counts))
    again = Shortlist.from_arrays(unpack_arrays(pack_arrays(coding.to_arrays()), name="test"))
    assert again == coding and torch.equal(again.transform(symbols), vectors)


def test_I16_rare_and_unknown_words_share_the_last_place() -> None:
    text = ["the", "cat", "the", "dog", "the", "cat", "sat"]
    coding = Shortlist.fit(text, at_least=2)
    assert coding.symbols == ("the", "cat") and coding.out_of_shortlist == 2 and coding.width == 3
    assert coding.transform(["cat", "dog", "zebra"]).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert Shortlist.fit(text, size=3).symbols == ("the", "cat", "dog")  # equal ones in their own order
    assert coding.inverse(torch.tensor([[0.1, 2.0, -1.0]])) == ["cat"]


def test_I16_arrays_of_any_shape() -> None:
    grid = np.array([[3, 1], [3, 7], [1, 3]])
    coding = Shortlist.fit(grid, size=2)
    assert coding.symbols == (3, 1)
    assert coding.encode(grid).tolist() == [[0, 1], [0, 2], [1, 0]]
    assert tuple(coding.transform(grid).shape) == (3, 2, 3)
    assert Shortlist.fit(np.array(["b", "a", "b"])).symbols == ("b", "a")
    assert tuple(coding.transform([]).shape) == (0, 3)
    assert coding.encode([np.int64(1), 9]).tolist() == [1, 2]


def test_I16_damaged_state_is_refused() -> None:
    words = Shortlist.fit(["ab", "c"]).to_arrays()
    for bad in (
        {},
        {"numbers": np.array([1.5])},
        {"numbers": np.array([1, 1])},
        {"numbers": np.array([], np.int64)},
        {"numbers": np.array(["a"])},
        {**words, "lengths": np.array([2, 2])},
        {**words, "lengths": np.array([4, -1])},
        {**words, "letters": np.array([255, 255, 255], np.uint8)},
        {"letters": words["letters"]},
    ):
        with pytest.raises(CheckpointError):
            Shortlist.from_arrays(bad)


def test_I16_wrong_arguments_are_refused() -> None:
    for call in (
        lambda: Shortlist.fit(["a"], size=0),
        lambda: Shortlist.fit(["a"], at_least=0),
        lambda: Shortlist(("a", 1)),  # type: ignore[arg-type]
        lambda: Shortlist(("a", "a")),
        lambda: Shortlist.fit([2**70]).to_arrays(),
    ):
        with pytest.raises(ConfigError):
            call()
    coding = Shortlist.fit(["a"])
    for call2 in (
        lambda: Shortlist.fit("abc"),
        lambda: Shortlist.fit([1.5]),
        lambda: Shortlist.fit([True]),
        lambda: Shortlist.fit([]),
        lambda: coding.decode([2]),
        lambda: coding.decode([-1]),
        lambda: coding.inverse(torch.zeros(2, 3)),
    ):
        with pytest.raises(DataError):
            call2()
