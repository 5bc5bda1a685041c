"""A few examples keep their target: even among classes, by the seed, the fewer among the more."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.data.few_labels import few_labels
from lamina.errors import ConfigError


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 60), st.integers(0, 5))
def test_as_many_of_each_class_as_there_are(sizes: list[int], more: int, seed: int) -> None:
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = np.arange(len(codes)) + 3  # positions in a larger whole
    whole = np.concatenate([[0, 0, 0], codes])
    count = min(len(sizes) + more, len(codes))
    kept = few_labels(rows, count, seed=seed, codes=whole)
    assert len(set(kept.tolist())) == count and set(kept.tolist()) <= set(rows.tolist())
    assert (np.diff(kept) > 0).all()
    shares = np.bincount(whole[kept], minlength=len(sizes))
    # The definition of an even share: nobody could give to a class that has two less and is not used up.
    for a, size in enumerate(sizes):
        assert shares[a] == size or shares[a] >= shares.max() - 1
    assert np.array_equal(kept, few_labels(rows, count, seed=seed, codes=whole))


def test_the_seed_decides_and_more_hold_the_fewer() -> None:
    codes = np.arange(200) % 4
    sets = [few_labels(np.arange(200), n, seed=1, codes=codes) for n in (4, 6, 20, 21)]
    for fewer, more in itertools.pairwise(sets):
        assert set(fewer) <= set(more)
    assert not np.array_equal(sets[2], few_labels(np.arange(200), 20, seed=2, codes=codes))
    # What is left over goes to classes by chance, not always to the first.
    extra = {tuple(np.bincount(codes[few_labels(np.arange(200), 5, seed=s, codes=codes)])) for s in range(20)}
    assert len(extra) == 4


def test_an_example_that_is_drawn_late_may_have_any_class() -> None:
    """Two examples behind the cut of either class change places: nothing else moves."""
    codes = np.arange(40) % 4
    kept = few_labels(np.arange(40), 8, seed=0, codes=codes)
    # of each class the two that are drawn last
    late = np.setdiff1d(np.arange(40), few_labels(np.arange(40), 32, seed=0, codes=codes))
    a, b = late[codes[late] == 0][0], late[codes[late] == 1][0]
    swapped = codes.copy()
    swapped[[a, b]] = codes[[b, a]]
    assert np.array_equal(kept, few_labels(np.arange(40), 8, seed=0, codes=swapped))


def test_without_classes_any_examples_are_drawn() -> None:
    kept = few_labels(np.arange(10, 60), 12, seed=4)
    assert len(set(kept.tolist())) == 12 and kept.min() >= 10
    assert few_labels(np.arange(5), 5, seed=0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("count", "what", "mend"), [(41, "41 examples cannot keep", "labels=40"), (3, "the 4 classes", "labels=4 or more")]
)
def test_what_cannot_be_kept_is_refused(count: int, what: str, mend: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        few_labels(np.arange(40), count, seed=0, codes=np.arange(40) % 4)
    assert caught.value.where == "labels" and mend in caught.value.mend
