"""Matrices of numbers: the same preparation as a table's, splits and hashes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lamina.data.tables.frame import table_from
from lamina.methodology.array_problem import NumberColumns, fit_numbers, hash_rows, split_off, validation_share

CELLS = st.floats(-1e9, 1e9, width=32) | st.just(float("nan"))
MATRICES = hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=CELLS)


@pytest.mark.parametrize("kind", ["standard", "robust", "quantile"])
@settings(max_examples=60, deadline=None)
@given(x=MATRICES, other=MATRICES)
def test_all_columns_at_once_is_column_by_column(kind, x, other) -> None:
    names = [f"column{i + 1}" for i in range(x.shape[1])]
    preparation = fit_numbers(x, names, np.arange(len(x)), kind)
    columns = NumberColumns.of(preparation)
    assert columns is not None
    for asked in (x, np.resize(other, (len(other), x.shape[1])), x[:0]):
        if len(asked):
            expected, _ = preparation.transform(table_from({n: asked[:, j] for j, n in enumerate(names)}))
            assert np.array_equal(columns.transform(asked), expected)
        assert columns.transform(asked).shape == (len(asked), preparation.spec.n_numeric)


def test_standard_scores_by_hand() -> None:
    x = np.array([[1.0, np.nan], [2.0, 5.0], [6.0, 7.0], [100.0, 100.0]])
    columns = NumberColumns.of(fit_numbers(x, ["a", "b"], np.arange(3), "standard"))
    assert columns is not None
    deviation = np.sqrt(((1 - 3) ** 2 + (2 - 3) ** 2 + (6 - 3) ** 2) / 3)
    expected = [
        [-2 / deviation, 0.0, 1.0],
        [-1 / deviation, -1.0, 0.0],
        [3 / deviation, 1.0, 0.0],
        [97 / deviation, 94.0, 0.0],
    ]
    assert np.allclose(columns.transform(x), expected, rtol=1e-6)
    huge = columns.transform(np.array([[1e308, -1e308]]))
    assert np.isfinite(huge).all()


def test_slabs_do_not_show() -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    columns = NumberColumns.of(fit_numbers(x, ["a", "b"], np.arange(100), "standard"))
    assert columns is not None
    assert np.allclose(columns.transform(x), (x - x[:100].mean(0)) / x[:100].std(0), atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 400), fraction=st.floats(0, 0.5), seed=st.integers(0, 99), k=st.integers(1, 30))
def test_split_off_keeps_every_row_once_and_every_class_in_training(n, fraction, seed, k) -> None:
    codes = np.random.default_rng(seed).integers(0, k, n)
    _, codes = np.unique(codes, return_inverse=True)
    split = split_off(n, fraction, seed, codes)
    together = np.sort(np.concatenate([split.train, split.valid, split.test]))
    assert np.array_equal(together, np.arange(n)) and len(split.test) == 0
    assert set(codes[split.train]) == set(codes)
    assert len(split.valid) == 0 or abs(len(split.valid) - n * fraction) <= 1 + np.sum(np.bincount(codes) == 1)
    assert (len(split.valid) > 0) <= (n * fraction >= 10)


def test_validation_share() -> None:
    assert [round(n * validation_share(n)) for n in (30, 40, 100, 200, 400, 500, 10_000)] == [
        8,
        10,
        25,
        50,
        50,
        50,
        1000,
    ]


def test_split_off_is_stratified() -> None:
    codes = np.repeat([0, 1], [900, 100])
    split = split_off(1000, 0.1, 0, codes)
    assert len(split.valid) == 100 and abs(codes[split.valid].sum() - 10) <= 1
    assert not np.array_equal(split.valid, split_off(1000, 0.1, 1, codes).valid)


def test_hashes_tell_rows_apart_and_go_with_them() -> None:
    x = np.random.default_rng(0).integers(0, 3, (5000, 4)).astype(float)
    hashes = hash_rows(x)
    _, expected = np.unique(x, axis=0, return_inverse=True)
    _, found = np.unique(hashes, return_inverse=True)
    assert len(np.unique(np.stack([expected.ravel(), found]), axis=1).T) == expected.max() + 1 == found.max() + 1
    order = np.random.default_rng(1).permutation(5000)
    assert np.array_equal(hash_rows(x[order]), hashes[order])
    assert np.array_equal(hash_rows(-x * 0), hash_rows(x * 0))
    assert not np.array_equal(hash_rows(x[:, ::-1]), hashes)
    assert not np.array_equal(hash_rows(x, x[:, 0]), hashes)
