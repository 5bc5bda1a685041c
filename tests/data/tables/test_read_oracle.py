"""Reading against the standard library's csv module, cell by cell and line by line; noise ends in one error."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.data.tables import delimited, narrow, source
from lamina.data.tables.read import read_table
from lamina.data.tables.table import Table
from lamina.errors import DataError, LaminaError

CELL = st.text(st.sampled_from("ab é日\"\n;,|\t'=."), max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELL, CELL, st.integers(-999, 999)), min_size=1, max_size=30),
    blank_after=st.sets(st.integers(0, 29), max_size=3),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    block=st.sampled_from([1 << 6, 1 << 9, 1 << 22]),
)
def test_text_cells_and_lines_as_the_csv_module(
    rows: list[tuple[str, str, int]],
    blank_after: set[int],
    ending: str,
    quoting: Any,
    block: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=quoting, lineterminator=ending)
    writer.writerow(["p", "q", "n"])
    lines = []
    for i, row in enumerate(rows):
        lines.append(out.getvalue().count("\n") + 1)
        writer.writerow(row)
        if i in blank_after:
            out.write(ending)
    path = tmp_path / "t.csv"
    path.write_bytes(out.getvalue().encode())
    with monkeypatch.context() as patch:
        patch.setattr(source, "BLOCK", block)
        table = read_table(path, delimiter=",", text_columns=["p", "q"])
    assert table.columns["p"].to_pylist() == [row[0] for row in rows]
    assert table.columns["q"].to_pylist() == [row[1] for row in rows]
    assert table.columns["n"].to_pylist() == [row[2] for row in rows]
    assert [table.location(i) for i in range(len(rows))] == [f"t.csv line {line}" for line in lines]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), st.integers(-(10**14), 10**14)
        ),
        min_size=2,
        max_size=60,
    ),
    block=st.sampled_from([1 << 6, 1 << 22]),
)
def test_numbers_come_back_to_the_bit(
    rows: list[tuple[float | None, int]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("n") / "t.csv"
    path.write_text("x,n\n" + "".join(f"{'' if x is None else repr(x)},{n}\n" for x, n in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", block)
        table = read_table(path)
    assert table.columns["n"].to_pylist() == [n for _, n in rows]
    read = table.columns["x"].to_pylist()
    assert [None if v is None else float(v) for v in read] == [x for x, _ in rows]


def test_blocks_of_any_size_give_the_same_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f'{i},{rng.normal():.4f},"a, {i % 5}",{"" if i % 7 else "NA"}' for i in range(3000)]
    rows[2000] = '2000,oops,"two\nlines",x'  # a float column set aside late, and an inner line end
    (tmp_path / "t.csv").write_text("i,x,k,m\n" + "\n".join(rows))
    prints = set()
    for block in (1 << 8, 1 << 12, 1 << 22):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source, "BLOCK", block)
            table = read_table(tmp_path / "t.csv", text_columns=["x"])
        prints.add((table.fingerprint(), table.location(2500), table.notes))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source, "BLOCK", block)
            with pytest.raises(DataError, match='"oops" is not a number') as caught:
                read_table(tmp_path / "t.csv")
        assert caught.value.where == 't.csv line 2002, column "x"'
    assert len(prints) == 1


def test_packed_columns_equal_plain_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n = 5000
    x = rng.normal(size=n)
    rows = [f"{i},{'' if i % 11 == 0 else f'{x[i]:.5f}'},{i % 3 if i < 4000 else i % 3 + 0.5}" for i in range(n)]
    (tmp_path / "t.csv").write_text("i,x,h\n" + "\n".join(rows) + "\n")
    plain = read_table(tmp_path / "t.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", 1 << 12)
        patch.setattr(delimited, "LARGE", 1)
        packed = read_table(tmp_path / "t.csv")
    assert packed.columns["x"].null_count == plain.columns["x"].null_count > 0
    for name in plain.names:
        left, right = (
            np.array([v if v is not None else np.nan for v in t.columns[name].to_pylist()]) for t in (plain, packed)
        )
        np.testing.assert_allclose(right, left, rtol=1e-7)
    assert {str(packed.columns[name].type) for name in "ix"} == {"int32", "float"}
    assert narrow.LARGE == 1 << 26


def test_a_column_that_turns_narrow_late_is_kept_in_full(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=5000), rng.normal(size=5000)
    y[2500:] = 1000 + y[2500:] / 10_000  # from here on, float32 would lose what little the values differ
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{a:.7f},{b:.7f}\n" for a, b in zip(x, y, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", 1 << 12)
        patch.setattr(delimited, "LARGE", 1)
        packed = read_table(tmp_path / "t.csv")
    assert {name: str(packed.columns[name].type) for name in "xy"} == {"x": "float", "y": "double"}
    np.testing.assert_array_equal(packed.columns["x"].to_numpy(), x.round(7).astype(np.float32))
    late = packed.columns["y"].to_numpy()[2600:]  # the block in which it turns holds both kinds of rows
    np.testing.assert_array_equal(late, y[2600:].round(7))


SEEDS = [
    b"a,b,c\n1,x,2024-01-01\n2,y,2024-02-01\n3,,2024-03-01\n",
    b'a;b\n1,5;"x;y"\n2,5;"z\nw"\n',
    b'{"a": 1, "b": "x"}\n{"a": null, "b": "y"}\n',
    "a\tb\né\t1\n日\t2\n".encode(),
    "a,b\n1,2\n".encode("utf-16"),
]
TOKENS = [
    b",",
    b"\n",
    b"\r",
    b'"',
    b"\x00",
    b"\xff",
    b"0",
    b"inf",
    b"NA",
    b"\n\n",
    b";",
    b"\t",
    b"1e999",
    b"\xef\xbb\xbf",
    b"{",
    b"-",
    b"%",
]


def test_r11_mutated_files_end_in_a_table_or_one_error(tmp_path: Path) -> None:
    generator = random.Random(0)
    path = tmp_path / "t.csv"
    outcomes = {"table": 0, "error": 0}
    for _ in range(1500):
        data = bytearray(generator.choice(SEEDS))
        for _ in range(generator.randint(1, 5)):
            at = generator.randint(0, len(data))
            kind = generator.random()
            if kind < 0.5:
                data[at:at] = generator.choice(TOKENS)
            elif kind < 0.8:
                del data[at : at + generator.randint(1, 4)]
            else:
                data[at : at + 1] = bytes([generator.randrange(256)])
        path.write_bytes(data)
        try:
            table = read_table(path)
        except LaminaError as error:
            outcomes["error"] += 1
            assert "\n" not in str(error) + error.mend
            assert error.mend
        else:
            outcomes["table"] += 1
            assert isinstance(table, Table)
            assert len({len(column) for column in table.columns.values()}) == 1
            table.fingerprint()
            table.location(table.n_rows - 1)
    assert min(outcomes.values()) > 200, outcomes
