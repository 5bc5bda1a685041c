"""The preparation of a table: training rows only, codes in range, state there and back; oracle scikit-learn."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from lamina.data.tables.dates import column_format, to_days
from lamina.data.tables.encoders import CategoryEncoder, NumberEncoder, Seen, date_parts
from lamina.data.tables.frame import table_from
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.roles import Roles, infer_roles
from lamina.data.tables.table import Table
from lamina.errors import CheckpointError, ConfigError, DataError


def people(n: int = 300, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 10, n)),
            "pay": rng.lognormal(8, 1, n),
            "city": rng.choice([f"c{i}" for i in range(12)], n),
            "sex": rng.choice(["f", "m"], n),
            "member": rng.choice(["yes", "no", ""], n, p=[0.5, 0.4, 0.1]),
            "since": pd.Series(
                pd.to_datetime("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, n), unit="D")
            ).dt.strftime("%Y-%m-%d"),
        }
    )
    return table_from(frame)


ROLES = Roles(numeric=("age", "pay"), categorical=("city", "sex"), boolean=("member",), date=("since",))


def fitted(table: Table, rows: np.ndarray | None = None, **settings: Any) -> TablePreparation:
    return TablePreparation.fit(table, ROLES, np.arange(table.n_rows) if rows is None else rows, **settings)


def test_numbers_as_scikit_learn_fills_and_scales_them() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(5, 3, (200, 1))
    x[rng.random(200) < 0.2] = np.nan
    train = np.arange(120)
    encoder = NumberEncoder.fit(x[train, 0], "standard")
    out = np.empty((200, 2), np.float32)
    encoder.write(x[:, 0], out, Seen())
    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(x[train])
    scaler = StandardScaler().fit(x[train])
    filled = imputer.transform(x)
    expected = np.column_stack([scaler.transform(filled[:, :1])[:, 0], filled[:, 1]])
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    # The nearest wrong versions differ by far more than the tolerance: the sample deviation, and the mean as filling.
    assert np.abs(expected[:, 0] * np.sqrt(119 / 120) - expected[:, 0]).max() > 1e-3


def test_quantile_scale_as_scikit_learn() -> None:
    x = np.random.default_rng(2).lognormal(0, 2, 5000)
    encoder = NumberEncoder.fit(x, "quantile")
    inside = np.quantile(x, np.linspace(0.02, 0.98, 97))
    expected = (
        QuantileTransformer(n_quantiles=1000, output_distribution="normal").fit(x[:, None]).transform(inside[:, None])
    )
    np.testing.assert_allclose(encoder.scale.apply(inside), expected[:, 0], atol=5e-3)


def test_robust_scale_bends_tails_smoothly() -> None:
    x = np.concatenate([np.random.default_rng(3).standard_normal(999), [1e9]])
    z = NumberEncoder.fit(x, "robust").scale.apply(x)
    assert np.abs(z).max() < 3 + 1e-9
    assert abs(z[:999].std() - 0.9) < 0.15


def test_one_hot_as_scikit_learn() -> None:
    table = people()
    encoder = CategoryEncoder.fit(table.columns["sex"], min_count=1, one_hot_up_to=8)
    out = np.empty((table.n_rows, 2), np.float32)
    encoder.write(encoder.encode(table.columns["sex"], Seen()), out)
    cells = np.array(table.columns["sex"].to_pylist())[:, None]
    expected = OneHotEncoder(categories=[list(encoder.levels)], sparse_output=False).fit_transform(cells)
    np.testing.assert_array_equal(out, expected)


def test_codes_go_by_frequency_then_name() -> None:
    column = pa.array(["b", "a", "c", "a", "b", "", "d"])
    encoder = CategoryEncoder.fit(column, min_count=1, one_hot_up_to=0)
    assert encoder.levels == ("a", "b", "", "c", "d")
    seen = Seen()
    assert encoder.encode(pa.array(["a", "zz", None, "d"]), seen).tolist() == [1, 0, 3, 5]
    assert (seen.unseen, seen.imputed) == (1, 0)
    rare = CategoryEncoder.fit(column, min_count=2, one_hot_up_to=0)
    assert (rare.levels, rare.rare, rare.cardinality) == (("a", "b"), 3, 3)


def test_b34_ten_thousand_levels_at_most() -> None:
    cells = [f"v{i}" for i in range(12_000)] * 2
    encoder = CategoryEncoder.fit(pa.array(cells), min_count=1, one_hot_up_to=8)
    assert encoder.cardinality == 10_001
    table = Table("t", {"a": pa.array(cells)})
    preparation = TablePreparation.fit(table, Roles(categorical=("a",)), np.arange(24_000), min_count=1)
    assert "2,000 rare" in preparation.notes[0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(-1e12, 1e12)),
            st.sampled_from(["a", "b", "c", "", "é"]),
            st.sampled_from(["yes", "no", "NA"]),
        ),
        min_size=2,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_training_rows_alone_decide(rows: list[tuple[float | None, str, str]], random: Any) -> None:
    n_train = max(1, len(rows) // 2)
    roles = Roles(numeric=("x",), categorical=("k",), boolean=("t",))

    def table(cells: list[tuple[float | None, str, str]]) -> Table:
        x, k, t = zip(*cells, strict=True)
        return Table("t", {"x": pa.array(x, pa.float64()), "k": pa.array(k), "t": pa.array(t)})

    other = rows[:n_train] + [(random.uniform(-1e9, 1e9), "zz", "yes") for _ in rows[n_train:]]
    for numeric in ("standard", "robust", "quantile"):
        one = TablePreparation.fit(table(rows), roles, np.arange(n_train), numeric=numeric, one_hot_up_to=2)
        two = TablePreparation.fit(table(other), roles, np.arange(n_train), numeric=numeric, one_hot_up_to=2)
        first, second = one.state(), two.state()
        assert first[0] == second[0]
        assert all(np.array_equal(first[1][key], second[1][key]) for key in first[1])
        matrix, report = one.transform(table(other))
        assert np.isfinite(matrix).all()
        assert matrix.shape == (len(rows), one.spec.width) == (len(rows), len(one.feature_names))
        for i, cardinality in enumerate(one.spec.cardinalities):
            codes = matrix[:, one.spec.n_numeric + i]
            assert ((codes >= 0) & (codes < cardinality) & (codes == np.floor(codes))).all()
        if len(rows) > n_train:
            assert report.unseen["k"] == len(rows) - n_train
        meta = json.loads(json.dumps(first[0], allow_nan=False))
        back = TablePreparation.from_state(meta, first[1])
        assert np.array_equal(back.transform(table(other))[0], matrix)


def test_state_with_dates_comes_back() -> None:
    table = people()
    preparation = fitted(table, numeric="quantile")
    meta, arrays = preparation.state()
    back = TablePreparation.from_state(json.loads(json.dumps(meta, allow_nan=False)), arrays)
    assert np.array_equal(back.transform(table)[0], preparation.transform(table)[0])
    assert back.feature_names == preparation.feature_names
    assert sorted(i for group in back.groups.values() for i in group) == list(range(back.spec.width))


def corrupted(value: Any) -> list[Any]:
    return [None, "x", -1, float("nan"), [], {}, True, 10**400]


def test_j4_every_value_of_the_state_replaced_is_refused_or_harmless() -> None:
    table = people(60)
    meta, arrays = fitted(table, numeric="quantile").state()

    def paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = [at] if at else []
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            found += paths(value, (*at, key))
        return found

    refused = 0
    for path in paths(meta):
        for value in corrupted(None):
            broken = json.loads(json.dumps(meta))
            node = broken
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            try:
                matrix = TablePreparation.from_state(broken, arrays).transform(table)[0]
            except (CheckpointError, DataError):
                refused += 1
            else:
                assert np.isfinite(matrix).all()
    assert refused > 200
    for key in arrays:
        for bad in (arrays[key].astype(np.float32), arrays[key][:-1], np.full_like(arrays[key], np.nan), None):
            with pytest.raises(CheckpointError):
                TablePreparation.from_state(meta, {**arrays, key: bad})


def test_c16_columns_by_name_in_any_order_and_missing_ones_named() -> None:
    table = people()
    preparation = fitted(table)
    matrix, _ = preparation.transform(table)
    shuffled = Table(
        "t", {"extra": pa.nulls(table.n_rows), **{name: table.columns[name] for name in reversed(table.names)}}
    )
    again, report = preparation.transform(shuffled)
    assert np.array_equal(matrix, again)
    assert report.extra_columns == ("extra",)
    with pytest.raises(DataError, match=r'missing columns "age", "sex".*it has others: Age'):
        preparation.transform(Table("t", {"Age": table.columns["age"], **table.drop(["age", "sex"]).columns}))


def test_c17_unseen_category_is_counted() -> None:
    table = people()
    preparation = fitted(table)
    columns = dict(table.columns)
    columns["city"] = pa.array(["Ur"] * table.n_rows)
    columns["sex"] = pa.array(["x"] * table.n_rows)
    matrix, report = preparation.transform(Table("t", columns))
    assert report.unseen == {"city": 300, "sex": 300}
    groups = preparation.groups
    assert (matrix[:, groups["city"]] == 0).all()
    assert (matrix[:, groups["sex"]] == 0).all()


def test_c18_new_missing_values_are_filled_and_counted() -> None:
    table = people()
    preparation = fitted(table)
    columns = dict(table.columns)
    columns["pay"] = pa.nulls(table.n_rows, pa.float64())
    matrix, report = preparation.transform(Table("t", columns))
    assert report.imputed["pay"] == 300
    median = np.median(np.asarray(table.columns["pay"]))
    values = np.asarray(table.columns["pay"])
    np.testing.assert_allclose(
        matrix[:, preparation.groups["pay"][0]], (median - values.mean()) / values.std(), rtol=1e-5
    )


def test_c19_c20_no_row_and_one_row() -> None:
    table = people()
    preparation = fitted(table)
    whole, _ = preparation.transform(table)
    assert preparation.transform(table.take(np.array([], np.int64)))[0].shape == (0, preparation.spec.width)
    for row in (0, 7, 299):
        assert np.array_equal(preparation.transform(table.take(np.array([row])))[0][0], whole[row])


def test_many_rows_in_slabs_equal_the_rows_one_by_one() -> None:
    table = people(20_000)
    matrix, _ = fitted(table).transform(table)
    preparation = fitted(table)
    assert matrix.flags.c_contiguous
    assert matrix.dtype == np.float32
    rows = np.array([0, 8191, 8192, 16_383, 16_384, 19_999])
    assert np.array_equal(preparation.transform(table.take(rows))[0], matrix[rows])


def test_one_row_of_twenty_columns_is_quick() -> None:
    rng = np.random.default_rng(0)
    columns = {f"x{i}": pa.array(rng.standard_normal(100)) for i in range(14)}
    columns |= {f"k{i}": pa.array(rng.choice(list("abcdefghijklm"), 100).tolist()) for i in range(6)}
    table = Table("t", columns)
    roles = Roles(numeric=tuple(f"x{i}" for i in range(14)), categorical=tuple(f"k{i}" for i in range(6)))
    preparation = TablePreparation.fit(table, roles, np.arange(100))
    one = table.take(np.array([3]))
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        preparation.transform(one)
        best = min(best, time.perf_counter() - start)
    assert best < 1e-3


def test_g17_column_constant_in_training_stays_finite() -> None:
    table = Table("t", {"x": pa.array([0.1] * 10 + [5.0])})
    matrix, report = TablePreparation.fit(table, Roles(numeric=("x",)), np.arange(10)).transform(table)
    assert np.abs(matrix[:10]).max() < 1e-6
    assert np.isfinite(matrix).all()
    assert report.out_of_range == {"x": pytest.approx(1 / 11)}


def test_text_where_a_number_was_is_refused_with_its_place() -> None:
    table = people()
    preparation = fitted(table)
    columns = {**table.columns, "pay": pa.array(["12"] * 299 + ["lots"])}
    with pytest.raises(DataError, match=r'"lots" is not a number') as caught:
        preparation.transform(Table("new.csv", columns))
    assert caught.value.where == 'new.csv row 300, column "pay"'


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2024-02-29", "2023-12-31"], ["2024-02-29", "2023-12-31"]),
        (["2024/2/9 13:30", ""], ["2024-02-09T13:30", "NaT"]),
        (["31.12.2024", "1.2.2024"], ["2024-12-31", "2024-02-01"]),
        (["31/12/2024", "01/02/2024"], ["2024-12-31", "2024-02-01"]),
        (["12/31/2024", "01/02/2024"], ["2024-12-31", "2024-01-02"]),
        (["2024-01-01T00:30:00+01:00", "2024-01-01T00:30:00Z"], ["2023-12-31T23:30", "2024-01-01T00:30"]),
    ],
)
def test_b22_dates_are_read(cells: list[str], expected: list[str]) -> None:
    table = Table("t", {"d": pa.array(cells)})
    form = column_format(table.columns["d"], table, "d")
    assert form is not None
    want = np.array(expected, "datetime64[s]")
    days = np.where(np.isnat(want), np.nan, want.astype(np.int64) / 86_400)
    np.testing.assert_allclose(to_days(table.columns["d"], form), days)


def test_b22_mixed_or_undecided_order_is_refused() -> None:
    for cells, words in [
        (["31/12/2024", "12/31/2024"], "change places"),
        (["01/02/2024", "03/04/2024"], "no cell tells"),
    ]:
        table = Table("t", {"d": pa.array(cells)})
        with pytest.raises(DataError, match=words) as caught:
            column_format(table.columns["d"], table, "d")
        assert "--categorical d" in caught.value.mend


@given(st.dates())
def test_date_parts_as_the_standard_library(date: Any) -> None:
    days = np.array([float(np.datetime64(date, "D").astype(int))])
    year, month, day, weekday, sine, cosine, _ = (float(part[0]) for part in date_parts(days, with_hour=False))
    assert (year, month, day, weekday) == (date.year, date.month, date.day, date.weekday())
    turn = 2 * np.pi * (date.timetuple().tm_yday - 1) / 365.2425
    np.testing.assert_allclose([sine, cosine], [np.sin(turn), np.cos(turn)], atol=1e-12)


def test_settings_are_checked() -> None:
    table = people()
    with pytest.raises(ConfigError, match="standard, robust or quantile"):
        fitted(table, numeric="log")
    with pytest.raises(DataError, match="no training rows"):
        fitted(table, np.array([], np.int64))


def test_roles_and_preparation_of_a_frame_with_everything() -> None:
    table = people(600)
    roles = infer_roles(Table("t", {**table.columns, "y": table.columns["sex"]}), targets=["y"])
    assert set(roles.numeric) == {"age", "pay"}
    assert roles.boolean == ("member",)
    assert roles.date == ("since",)
