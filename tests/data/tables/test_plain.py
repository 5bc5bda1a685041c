"""Blocks of plain numbers read without the CSV parser, and blocks read ahead: against Python's own reading."""

from __future__ import annotations

import csv
import io
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.data.tables import delimited, plain, source
from lamina.data.tables.ahead import in_order
from lamina.data.tables.plain import plain_numbers
from lamina.data.tables.read import read_table
from lamina.data.tables.rows import Rows
from lamina.errors import DataError

FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**6), 10**6).map(lambda n: f"{n / 1000}"),
)
WHOLE = st.integers(-(2**63), 2**63 - 1).map(str)


def rows_of(data: bytes, line: int = 2) -> Rows:
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return Rows(data, line, n_lines, None, 0, quoted=b'"' in data, inner_lines=False)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], str]:
    kinds = draw(st.lists(st.sampled_from(["float", "int"]), min_size=1, max_size=7))
    row = st.tuples(*[FLOATS if kind == "float" else WHOLE for kind in kinds]).map(list)
    return kinds, draw(st.lists(row, min_size=1, max_size=30)), draw(st.sampled_from(",;\t|"))


@settings(max_examples=150, deadline=None)
@given(tables())
def test_plain_numbers_are_what_python_reads(case: tuple[list[str], list[list[str]], str]) -> None:
    kinds, cells, delimiter = case
    found = plain_numbers(rows_of("".join(delimiter.join(row) + "\n" for row in cells).encode()), delimiter, kinds)
    assert found is not None
    table, bounds = found
    for i, kind in enumerate(kinds):
        expected = [(float if kind == "float" else int)(row[i]) for row in cells]
        assert table.column(str(i)).to_pylist() == expected
        assert bounds[i] == (min(expected), max(expected))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.tuples(*[st.integers(-(10**9), 10**9)] * n), min_size=1, max_size=40)
    ),
    st.integers(0, 9),
    st.sampled_from([4, 16, 64]),
)
def test_cells_of_all_lengths_are_found_in_pieces_of_any_size(
    rows: list[tuple[int, ...]], digits: int, piece: int
) -> None:
    cells = [[str(n // 10**digits) for n in row] for row in rows]
    data = "".join(",".join(row) + "\n" for row in cells).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_PIECE", piece)
        found = plain_numbers(rows_of(data), ",", ["int"] * len(cells[0]))
    assert found is not None
    assert [list(row) for row in zip(*found[0].to_pydict().values(), strict=True)] == [
        [int(cell) for cell in row] for row in cells
    ]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("1,2\n3\n4,5,6\n", ["float", "float"]),
        ("1,2\n3,4,5,6\n7,8\n", ["float", "float"]),
        ("1,2,3\n4\n", ["float", "float"]),
        ("1,2\n,4\n", ["float", "float"]),
        ("1,2\n\n3,4\n", ["float", "float"]),
        ("1\n\n3\n", ["float"]),
        ("1,2\n3, 4\n", ["float", "float"]),
        ("1,2\n3,x\n", ["float", "float"]),
        ("1,2\r\n3,4\r\n", ["float", "float"]),
        ('1,2\n"3",4\n', ["float", "float"]),
        ("1,2\n3,4", ["float", "float"]),
        ("1,2\n3,4.5\n", ["float", "int"]),
        ("1,2\n3,9223372036854775808\n", ["float", "int"]),
        ("1,2\n3,4\n", ["float", "text"]),
    ],
)
def test_whatever_is_not_plain_is_left_to_the_parser(text: str, kinds: list[str]) -> None:
    assert plain_numbers(rows_of(text.encode()), ",", kinds) is None


def test_nan_shows_in_the_bounds() -> None:
    found = plain_numbers(rows_of(b"1,2\nnan,4\n"), ",", ["float", "float"])
    assert found is not None
    assert math.isnan(found[1][0][0])
    assert found[1][1] == (2.0, 4.0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(FLOATS, WHOLE, FLOATS), min_size=1, max_size=30),
    st.sampled_from([(0,), (2,), (0, 2)]),
)
@np.errstate(over="ignore")
def test_wanted_singles_are_rounded_once_and_only_where_it_does_no_harm(
    cells: list[tuple[str, str, str]], singles: tuple[int, ...]
) -> None:
    data = "".join(",".join(row) + "\n" for row in cells).encode()
    found = plain_numbers(rows_of(data), ",", ["float", "int", "float"], singles)
    assert found is not None
    for i in (0, 2):
        exact = np.array([float(row[i]) for row in cells])
        size, spread = np.abs(exact).max(), min(exact.max() - exact.min(), 1e300)
        got = found[0].column(str(i)).combine_chunks().to_numpy()
        if got.dtype == np.float32:
            assert i in singles
            assert size == 0 or (size < 1.01e14 and spread >= 0.9e-3 * size)
            assert (got == exact.astype(np.float32)).all()
        else:
            assert (got == exact).all()
            assert i not in singles or size >= 1e14 or size <= 1e-30 or spread < 1.1e-3 * size
    assert found[0].column("1").to_pylist() == [int(row[1]) for row in cells]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_items_come_in_order_and_errors_in_their_turn(workers: int) -> None:
    seen = []

    def items() -> Iterator[int]:
        yield from range(7)
        raise OSError("in reading")

    def job(i: int) -> Callable[[], int]:
        def work() -> int:
            if workers > 1:
                assert threading.current_thread() is not threading.main_thread()
                threading.Event().wait(0.002 * (7 - i))
            return i * i

        return work

    with pytest.raises(OSError, match="in reading"):
        for item, result in in_order(items(), job, workers):
            seen.append((item, result))
    assert seen == [(i, i * i) for i in range(7)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("late", ["", "NA", "nan", "0.50", "7", "1e3", "-007", " 1.5", '"2.5"', "12345678901234567890"])
def test_a_late_odd_cell_is_read_as_ever(
    late: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    rows = [[str(i % 50), f"{rng.normal():.5f}", f"{rng.normal():.3f}"] for i in range(4000)]
    rows[3000][1] = late
    if late == "1e3":
        rows[3500][0] = "1.5"
    path = tmp_path / "t.csv"
    path.write_text("i,x,y\n" + "".join(",".join(row) + "\n" for row in rows))
    whole = read_table(path)
    monkeypatch.setattr(source, "BLOCK", 1 << 10)
    monkeypatch.setattr(delimited, "cores", lambda: workers)
    table = read_table(path)
    assert table.fingerprint() == whole.fingerprint()
    assert table.notes == whole.notes
    assert table.location(3999) == "t.csv line 4001"
    read = list(csv.reader(io.StringIO(path.read_text())))[1:]
    if table.columns["x"].type == "double":
        expected = [float(row[1]) if row[1] not in {"", "NA", "nan"} else None for row in read]
        assert table.columns["x"].to_pylist() == expected
    else:
        assert late in {"-007", "12345678901234567890"}
        assert table.columns["x"].to_pylist() == [row[1] for row in read]
    assert [float(row[2]) for row in read] == table.columns["y"].to_pylist()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("row", "match"), [("1,2", "2 cells where"), ("1,2,3,4", "4 cells where"), ("1,\x00,3", "a NUL byte")]
)
def test_the_first_of_two_bad_rows_is_told(
    row: str, match: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["1,2.5,3"] * 3000
    rows[2000], rows[2900] = row, '1,"2,3'
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "\n".join(rows) + "\n")
    monkeypatch.setattr(source, "BLOCK", 1 << 10)
    monkeypatch.setattr(delimited, "cores", lambda: workers)
    with pytest.raises(DataError, match=match) as caught:
        read_table(path)
    assert "line 2002" in str(caught.value.where)
