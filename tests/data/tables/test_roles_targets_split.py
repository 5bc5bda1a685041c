"""Roles of columns, targets and splits: catalogue rows B3, B14 to B18, B23, B35, B36, B38 and C1 to C13, C27 to C29."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.data.tables.frame import table_from
from lamina.data.tables.read import read_table
from lamina.data.tables.roles import infer_roles
from lamina.data.tables.split import duplicates_across, row_hashes, shared_rows, split_rows
from lamina.data.tables.table import Table
from lamina.data.tables.targets import (
    ClassTarget,
    CountTarget,
    NumberTarget,
    infer_target,
    target_from_json,
    unlabelled,
)
from lamina.errors import CheckpointError, ConfigError, DataError

RNG = np.random.default_rng(0)
N = 400


def table_with(**columns: Any) -> Table:
    base = {"x": RNG.normal(size=N), "y": RNG.choice(["no", "yes"], N)}
    return table_from({**base, **columns}, name="t.csv")


LEFT_OUT = {
    "B14-wholly-missing": ([None] * N, "no cell has a value"),
    "B15-constant-number": ([7] * N, "same value"),
    "B15-constant-text": (["a"] * N, "same value"),
    "B17-row-number": (list(range(5, N + 5)), "numbers the rows"),
    "B17-rising": (list(range(0, 3 * N, 3)), "rising order"),
    "B17-text-id": ([f"id{i}" for i in range(N)], "400 different values in 400 rows, an identifier"),
    "E-text": (
        [f"a long remark of many words number {i} that a person wrote" for i in range(N)],
        "text columns come later",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_left_out_and_said(case: str) -> None:
    cells, reason = LEFT_OUT[case]
    table = table_with(c=cells)
    roles = infer_roles(table, targets=["y"])
    assert reason in roles.left_out["c"]
    assert "c" not in roles.used
    if "B14" not in case:
        assert "--use c" in roles.left_out["c"]
        assert "c" in infer_roles(table, targets=["y"], use=["c"]).used


def test_ordinary_columns_stay() -> None:
    table = table_with(year=RNG.integers(1990, 2020, N), k=RNG.choice(list("abc"), N), t=RNG.random(N) < 0.5)
    roles = infer_roles(table, targets=["y"])
    assert (roles.numeric, roles.categorical, roles.boolean) == (("x", "year"), ("k",), ("t",))
    assert (roles.left_out, roles.notes, roles.warnings) == ({}, (), ())


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (lambda y: y, "equals"),
        (lambda y: np.where(y == "yes", 1, 0), "one-to-one"),
        (lambda y: np.where(y == "yes", "+", "-"), "one-to-one"),
    ],
    ids=["B18-equal", "B18-image-number", "B18-image-text"],
)
def test_b18_leak_of_classes(make: Any, how: str) -> None:
    y = RNG.choice(["no", "yes"], N)
    almost = make(y).copy()
    almost[0], almost[1] = almost[1], almost[0]
    y[0], y[1] = "no", "yes"
    table = table_with(y=y, c=make(y))
    warnings = infer_roles(table, targets=["y"]).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("W-LEAK")
    assert how in warnings[0]
    assert '"c"' in warnings[0]
    spoilt = make(y).copy()
    spoilt[0] = spoilt[1]
    assert infer_roles(table_with(y=y, c=spoilt), targets=["y"]).warnings == ()


@pytest.mark.parametrize("n", [400, 5_000], ids=["all-rows", "more-than-the-sample"])
def test_b18_leak_of_numbers(n: int) -> None:
    y = RNG.normal(size=n)
    columns = {
        "x": RNG.normal(size=n),
        "double": 2 * y + 1,
        "noisy": y + 1e-3 * RNG.normal(size=n),
        "minus": -y,
        "y": y,
    }
    warnings = infer_roles(table_from(columns), targets=["y"]).warnings
    assert [w.split('"')[1] for w in warnings] == ["double", "minus"]


def test_b23_truth_values_in_mixed_words() -> None:
    words = ["True", "yes", "1", "no", "FALSE", "0"]
    table = table_with(c=[words[i % 6] for i in range(N)])
    assert infer_roles(table, targets=["y"]).boolean == ("c",)
    table = table_with(c=[["True", "yes", "no", "perhaps"][i % 4] for i in range(N)])
    with pytest.raises(DataError, match="perhaps"):
        infer_roles(table, targets=["y"])
    table = table_with(c=[["yes", "no", "perhaps"][i % 3] for i in range(N)])
    assert infer_roles(table, targets=["y"]).categorical == ("c",)


def test_c27_a_column_that_looks_like_a_group_is_warned_of() -> None:
    table = table_with(patient_id=np.repeat(np.arange(N // 4), 4)[RNG.permutation(N)])
    warnings = infer_roles(table, targets=["y"]).warnings
    assert len(warnings) == 1
    assert "W-GROUP" in warnings[0]
    assert "--group patient_id" in warnings[0]


def test_c1_unknown_names_give_the_nearest() -> None:
    table = table_with(Churn=RNG.choice(["a", "b"], N))
    for call in (
        lambda: infer_target(table, "churn"),
        lambda: infer_roles(table, targets=["churn"]),
        lambda: infer_roles(table, targets=["y"], use=["churn"]),
    ):
        with pytest.raises(ConfigError, match=r'no column "churn" in t.csv; did you mean "Churn"\?') as caught:
            call()
        assert "x, y, Churn" in caught.value.mend
    with pytest.raises(ConfigError, match="both left out and used"):
        infer_roles(table, targets=["y"], use=["x"], ignore=["x"])
    with pytest.raises(DataError, match="no column is left"):
        infer_roles(table.select(["y"]), targets=["y"])


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "object": pd.Series([1, 2.5, None, 4], dtype=object),
            "mixed": pd.Series([1, "a", None, 2.5], dtype=object),
            "na": pd.array([1, pd.NA, 3, 4], dtype="Int64"),
            "decimal": pd.Series([Decimal("1.50"), Decimal(2), None, Decimal(4)], dtype=object),
            "category": pd.Categorical(["a", "b", None, "a"], categories=["a", "b", "never"]),
            "bool": [True, False, True, True],
            "text": pd.array(["x", pd.NA, "z", "w"], dtype="string"),
            "zip": ["00501", "12345", "1", "2"],
            "zone": pd.to_datetime(["2024-01-01", "2024-06-01", None, "2024-12-31"]).tz_localize("Europe/Berlin"),
            "f4": np.array([1, 2, np.nan, 4], np.float32),
            "i1": np.array([1, 2, 3, 4], np.int8),
        }
    )


def test_b35_frames_give_the_same_as_their_csv(tmp_path: Path) -> None:
    data = frame().drop(columns=["zone", "bool"])
    data.to_csv(tmp_path / "t.csv", index=False)
    from_csv, direct = read_table(tmp_path / "t.csv"), table_from(data)
    for name in data.columns:
        assert direct.columns[name].to_pylist() == from_csv.columns[name].to_pylist(), name
    whole = table_from(frame())
    assert whole.columns["bool"].to_pylist() == [True, False, True, True]
    assert whole.columns["zone"].to_pylist()[:2] == [dt.datetime(2023, 12, 31, 23), dt.datetime(2024, 5, 31, 22)]
    assert whole.columns["zone"].to_pylist()[2] is None


def test_b35_polars_and_arrow_give_the_same_as_pandas() -> None:
    data = frame()[["na", "category", "bool", "text", "zip", "f4", "i1"]]
    expected = {name: column.to_pylist() for name, column in table_from(data).columns.items()}
    polars = pl.DataFrame(
        {
            "na": pl.Series([1, None, 3, 4]),
            "category": pl.Series(["a", "b", None, "a"], dtype=pl.Categorical),
            "bool": [True, False, True, True],
            "text": ["x", None, "z", "w"],
            "zip": ["00501", "12345", "1", "2"],
            "f4": pl.Series([1, 2, None, 4], dtype=pl.Float32),
            "i1": pl.Series([1, 2, 3, 4], dtype=pl.Int8),
        }
    )
    for other in (polars, polars.lazy(), polars.to_arrow()):
        assert {name: column.to_pylist() for name, column in table_from(other).columns.items()} == expected


def test_b36_names_become_text() -> None:
    data = pd.DataFrame([[1, 2], [3, 4]], columns=[0, ("a", "b")], index=[7, 7])
    assert table_from(data).names == ("0", "a.b")
    assert table_from(np.eye(2)).names == ("column1", "column2")
    assert table_from(np.eye(2), ["p", "q"]).names == ("p", "q")
    with pytest.raises(DataError, match='two columns are called "1"'):
        table_from(pd.DataFrame([[1, 2]], columns=[1, "1"]))
    with pytest.raises(DataError, match="2-D"):
        table_from(np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="no data rows"):
        table_from(np.zeros((0, 2)))
    with pytest.raises(DataError, match="complex"):
        table_from(np.zeros((2, 2), complex))
    with pytest.raises(DataError, match="not a table"):
        table_from(object())


def test_arrays_of_any_layout_are_equal() -> None:
    x = RNG.normal(size=(20, 3))
    readonly = x.copy()
    readonly.flags.writeable = False
    prints = {
        table_from(a).fingerprint()
        for a in (x, np.asfortranarray(x), x.astype(">f8"), readonly, x[::1], x.astype(object))
    }
    assert len(prints) == 1


def test_classes_of_text_numbers_and_truth_values() -> None:
    for cells, classes in [
        (["no", "yes"], ("no", "yes")),
        ([True, False], (False, True)),
        ([3, 1], (1, 3)),
        ([2.0, 0.0], (0, 2)),
        (["True", "False"], ("False", "True")),
    ]:
        values = [cells[i % 2] for i in range(40)]
        target = infer_target(table_with_target(values), "y")
        assert isinstance(target, ClassTarget)
        assert target.classes == classes
        codes = target.encode(table_with_target(values).columns["y"])
        assert codes.dtype == np.int64
        assert codes.tolist() == [classes.index(v) for v in values]
        decoded = target.decode(codes)
        assert decoded.tolist() == values
        assert target_from_json(json.loads(json.dumps(target.to_json()))) == target


def table_with_target(values: list[Any], **more: Any) -> Table:
    return table_from({"y": values, **more}, name="t.csv")


def test_c2_one_class_only() -> None:
    with pytest.raises(DataError, match=r"only one class \('yes'\) in 500 rows"):
        infer_target(table_with_target(["yes"] * 500), "y")


def test_c3_class_with_one_member() -> None:
    table = table_with_target(["a"] * 10 + ["b"] * 10 + ["lonely"])
    with pytest.raises(DataError, match="'lonely' has only 1 row") as caught:
        infer_target(table, "y")
    assert caught.value.where == 't.csv row 21, column "y"'
    assert "--min-class 2" in caught.value.mend


def test_c4_class_that_training_lacks() -> None:
    table = table_with_target(["a", "b"] * 10 + ["c", "c"])
    target = infer_target(table, "y", rows=np.arange(20))
    with pytest.raises(DataError, match=r'"c" is not a class that the training part has'):
        target.encode(table.columns["y"])


@pytest.mark.parametrize("values", [["a", "", "b"] * 10, [1.5, None, 2.5] * 10], ids=["text", "number"])
def test_c5_c6_missing_targets_are_listed(values: list[Any]) -> None:
    table = table_with_target(values, x=list(range(30)))
    with pytest.raises(DataError, match=r"missing in 10 rows \(rows 2, 5, 8, 11, 14, ...\)") as caught:
        infer_target(table, "y")
    assert "--drop-unlabelled" in caught.value.mend
    rows = np.flatnonzero(~unlabelled(table, "y"))
    assert len(rows) == 20
    infer_target(table, "y", rows=rows)


def test_c6_infinite_target() -> None:
    table = Table("t.csv", {"y": pa.array([1.5, 2.5, float("inf"), 3.7])})
    with pytest.raises(DataError, match="infinite") as caught:
        infer_target(table, "y")
    assert caught.value.where == 't.csv row 3, column "y"'


def test_c7_whole_numbers_decided_and_said() -> None:
    quality = RNG.integers(3, 9, 500)
    target = infer_target(table_with_target(quality.tolist()), "y")
    assert isinstance(target, ClassTarget)
    assert "--task number" in target.note
    number = infer_target(table_with_target(quality.tolist()), "y", task="number")
    assert isinstance(number, NumberTarget)
    counts = RNG.poisson(12, 2000).tolist()
    count = infer_target(table_with_target(counts), "y")
    assert isinstance(count, CountTarget) or min(counts) > 1
    assert isinstance(infer_target(table_with_target(counts), "y", task="count"), CountTarget)
    assert "--task" in infer_target(table_with_target([*RNG.poisson(9, 3000).tolist(), 0, 1, 24, 25]), "y").note
    assert isinstance(infer_target(table_with_target(RNG.integers(25, 346, 400).tolist()), "y"), NumberTarget)
    with pytest.raises(ConfigError, match="not a number"):
        infer_target(table_with_target(["a", "b"] * 10), "y", task="number")
    with pytest.raises(ConfigError, match="not a count"):
        infer_target(table_with_target([1.5, 2.0] * 10), "y", task="count")
    with pytest.raises(ConfigError, match="--task must be"):
        infer_target(table_with_target([1.5, 2.0] * 10), "y", task="guess")  # type: ignore[arg-type]


def test_c9_labels_of_mixed_type() -> None:
    table = table_from(pd.DataFrame({"y": pd.Series([1, "1", 2, "2"] * 5, dtype=object)}))
    with pytest.raises(DataError, match='1 occurs as a number and as the text "1"'):
        infer_target(table, "y")


def test_c11_constant_number_and_standardisation() -> None:
    constant = infer_target(table_with_target([2.5] * 30), "y")
    assert isinstance(constant, NumberTarget)
    assert (constant.mean, constant.scale) == (2.5, 1.0)
    assert "constant" in constant.note
    values = RNG.normal(50, 7, 300)
    target = infer_target(table_with_target(values.tolist()), "y", rows=np.arange(200))
    assert isinstance(target, NumberTarget)
    np.testing.assert_allclose([target.mean, target.scale], [values[:200].mean(), values[:200].std()], rtol=1e-12)
    codes = target.encode(values)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(target.decode(codes), values, rtol=1e-6)
    assert target_from_json(json.loads(json.dumps(target.to_json(), allow_nan=False))) == target


def test_c12_huge_span_suggests_the_logarithm() -> None:
    assert "logarithm" in infer_target(table_with_target((10 ** RNG.uniform(-12, 12, 200)).tolist()), "y").note


def test_c13_imbalance_is_said() -> None:
    target = infer_target(table_with_target(["a"] * 5000 + ["b"] * 5), "y")
    assert "1 in 1,001 rows" in target.note
    assert "balanced accuracy" in target.note


def test_c29_names_and_dates_are_no_targets() -> None:
    with pytest.raises(ConfigError, match="not supported as a target"):
        infer_target(table_with_target([f"name {i}" for i in range(100)]), "y")
    with pytest.raises(ConfigError, match="date"):
        infer_target(table_from(pd.DataFrame({"y": pd.date_range("2024", periods=30)})), "y")


def test_target_json_is_checked() -> None:
    good = [
        ClassTarget("y", ("a", "b")).to_json(),
        NumberTarget("y", 1.0, 2.0).to_json(),
        CountTarget("y").to_json(),
    ]
    for data in good:
        for key in data:
            for value in (None, [], {}, "?", -1, float("nan")):
                broken = {**data, key: value}
                try:
                    target_from_json(broken)
                except CheckpointError:
                    continue
                assert (key, value) in [
                    ("name", "?"),
                    ("note", "?"),
                    ("mean", -1),
                    ("low", None),
                    ("high", None),
                    ("low", -1),
                    ("high", -1),
                    ("counts", []),
                ]


def test_b3_too_few_rows() -> None:
    for n in (0, 1, 2):
        with pytest.raises(DataError, match="at least 3 are needed"):
            split_rows(n, seed=0)
    assert [len(part) for part in parts(split_rows(3, seed=0))] == [1, 1, 1]


def parts(split: Any) -> list[np.ndarray]:
    return [split.train, split.valid, split.test]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 400),
    st.integers(0, 5),
    st.sampled_from([(0.65, 0.1, 0.25), (0.8, 0.0, 0.2), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)]),
)
def test_split_takes_every_row_once_in_the_asked_shares(
    n: int, seed: int, fractions: tuple[float, float, float]
) -> None:
    split = split_rows(n, fractions=fractions, seed=seed)
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(n))
    for part, share in zip(parts(split), fractions, strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert abs(len(part) - share * n) <= 1.01
        assert (len(part) > 0) == (share > 0)
    again = split_rows(n, fractions=fractions, seed=seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts(split), parts(again), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=2, max_size=6), st.integers(0, 3))
def test_stratified_split_has_every_class_in_its_share(sizes: list[int], seed: int) -> None:
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    split = split_rows(len(codes), seed=seed, stratify=codes)
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(len(codes)))
    for code, size in enumerate(sizes):
        in_train = int((codes[split.train] == code).sum())
        assert abs(in_train - 0.65 * size) <= 2
        assert in_train >= 1


def test_splits_of_other_seeds_differ() -> None:
    assert not np.array_equal(split_rows(100, seed=0).test, split_rows(100, seed=1).test)


def test_c27_groups_stay_together() -> None:
    groups = np.repeat(np.arange(60), RNG.integers(1, 12, 60))
    split = split_rows(len(groups), seed=0, groups=pa.array([f"g{g}" for g in groups]))
    seen = [set(groups[part]) for part in parts(split)]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert abs(len(split.train) / len(groups) - 0.65) < 0.1
    with pytest.raises(DataError, match="only 2 different groups"):
        split_rows(10, seed=0, groups=np.repeat([0, 1], 5))
    with pytest.raises(ConfigError, match="exclude each other"):
        split_rows(10, seed=0, groups=np.arange(10), time=np.arange(10))


def test_c27_time_goes_forward() -> None:
    time = RNG.permutation(np.repeat(np.arange(50), 4))
    for column in (time, pa.array(np.datetime64("2024-01-01") + time)):
        split = split_rows(200, seed=0, time=column)
        assert time[split.train].max() < time[split.valid].min()
        assert time[split.valid].max() < time[split.test].min()
    # Rows of the time at the cut go to the earlier part together: 6 + 1 rows of 10, not 6.
    assert split_rows(10, seed=0, time=np.array([0, 1, 2, 3, 4, 5, 5, 7, 8, 9])).train.tolist() == list(range(7))
    with pytest.raises(DataError, match="too few different times"):
        split_rows(10, seed=0, time=np.zeros(10))


def test_split_options_are_checked() -> None:
    for fractions in [(0.5, 0.5, 0.5), (-0.1, 0.6, 0.5), (0.0, 0.5, 0.5), (float("nan"), 0.5, 0.5)]:
        with pytest.raises(ConfigError):
            split_rows(10, fractions=fractions, seed=0)


def test_b38_duplicates_across_the_split() -> None:
    n = 1000
    table = table_from({"a": RNG.normal(size=n), "b": [f"t{i}" for i in range(n)], "y": RNG.integers(0, 2, n)})
    split = split_rows(n, seed=0)
    assert duplicates_across(table, split) == (0, 0.0)
    index = np.arange(n)
    index[split.test[:25]] = split.train[:25]
    index[split.test[25:50]] = split.test[50:75]  # within the test part: not counted
    count, share = duplicates_across(table.take(index), split)
    assert (count, share) == (25, 25 / len(split.test))


def test_c28_rows_shared_by_two_files() -> None:
    one = table_from({"a": [1, 2, 3], "b": ["x", "", "z"]})
    two = table_from({"b": ["z", "x", ""], "a": [3.0, 2.0, 2.0], "c": [1, 2, 3]})
    assert shared_rows(one, two) == (2, 2 / 3)


def test_row_hashes_tell_cells_and_columns_apart() -> None:
    rows = [
        ("ab", "c"),
        ("a", "bc"),
        ("", "abc"),
        ("abc", ""),
        ("c", "ab"),
        ("b", "a"),
        ("a", "b"),
        ("aa", ""),
        ("a", "a"),
    ]
    table = Table("t", {"p": pa.array([r[0] for r in rows]), "q": pa.array([r[1] for r in rows])})
    assert len(set(row_hashes(table).tolist())) == len(rows)
    many = Table(
        "t", {"p": pa.array(np.arange(200_000) % 500), "q": pa.array((np.arange(200_000) // 500).astype(str).tolist())}
    )
    assert len(np.unique(row_hashes(many))) == 200_000
