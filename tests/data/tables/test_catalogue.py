"""The bad-input catalogue of tables: each input gives one clear error, or is read right and the note says how."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from lamina.data.tables.read import read_table
from lamina.data.tables.table import Table
from lamina.errors import ConfigError, DataError, LaminaError


@dataclass(frozen=True)
class Case:
    """One input and what must come of it."""

    id: str
    data: bytes
    says: tuple[str, ...] = ()
    mend: str = ""
    kind: type[LaminaError] = DataError
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = "t.csv"


def numbers_and(bad: str, n: int = 40) -> bytes:
    rows = [f"{i}.5,{i % 3}" for i in range(n)]
    rows[n // 2] = f"{bad},1"
    return ("a,b\n" + "\n".join(rows) + "\n").encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


GOOD = b"a,b\n" + b"".join(b"%d,x%d\n" % (i, i % 7) for i in range(20_000))
PARQUET = io.BytesIO()
parquet.write_table(pa.table({"a": list(range(100)), "b": ["x"] * 100}), PARQUET)

REFUSED = [
    Case("B1-empty", b"", ("t.csv", "empty")),
    Case("B1-empty-gzip", gzip.compress(b""), ("nothing is packed",), name="t.csv.gz"),
    Case("B1-only-blank-lines", b"\n\n  \n", ("blank lines",)),
    Case("B2-header-only", b"a,b\n", ("no data rows",)),
    Case("B2-header-only-without-newline", b"a,b", ("no data rows",)),
    Case("B4-no-header", b"1,2\n3,4\n", ("line 1", "all numbers", "1, 2"), "--no-header"),
    Case("B5-too-few-cells", b"a,b,c\n1,2,3\n4,5\n", ("line 3", "2 cells", "has 3", '"c"')),
    Case("B5-too-few-cells-after-blank-lines", b"a,b\n1,2\n\n\n4\n", ("line 5", "1 cell ")),
    Case("B5-too-few-cells-after-quoted-newline", b'a,b\n"1\n2",2\n4\n', ("line 4",)),
    Case("B5-too-few-in-a-late-block", b"a,b\n" + b"1,2\n" * 3_000_000 + b"7\n", ("line 3000002", "1 cell ")),
    Case("B6-too-many-cells", b"a,b\n1,2\n3,4,5\n", ("line 3", "3 cells", '"5"'), "--delimiter"),
    Case("B8-duplicate-names", b"a,b,a\n1,2,3\n", ('"a"', "columns 1 and 3"), "rename"),
    Case("B9-empty-name", b"a,,c\n1,2,3\n4,9,6\n", ("column 2 has no name", "line 1"), "--no-header"),
    Case("B11-word-in-numbers", numbers_and("two"), ("line 22", 'column "a"', '"two"', "39 other"), "--categorical a"),
    Case("B11-word-in-whole-numbers", b"a\n" + b"7\n" * 50 + b"x\n", ("line 52", 'column "a"', '"x"')),
    Case(
        "B11-word-in-a-late-block",
        b"a,b\n" + b"1.5,2\n" * 1_500_000 + b"oops,2\n" + b"1.5,2\n" * 9,
        ("line 1500002", 'column "a"', '"oops"', "1,500,009 other"),
    ),
    Case("B16-inf", numbers_and("inf"), ("line 22", 'column "a"', "infinite"), "--clip-inf"),
    Case("B16-minus-infinity", numbers_and("-Infinity"), ("line 22", "infinite"), "--clip-inf"),
    Case("B16-1e999", numbers_and("1e999"), ("line 22", "infinite"), "--clip-inf"),
    Case("B20-ambiguous-delimiter", b"a,b;c,d\n1,2;3,4\n5,6;7,8\n", ("comma", "semicolon"), "--delimiter"),
    Case("B20-ambiguous-comma", b"a;b\n1,234;x\n5,678;y\n", ('"1,234"', "1.234", "1234"), "--decimal"),
    Case("B24-latin-1", "a,b\n1,x\n2,né\n".encode("latin-1"), ("line 3", "0xe9", "character 4"), "--encoding latin-1"),
    Case("B24-cp1252", "a,b\n1,“x”\n".encode("cp1252"), ("line 2", "0x93"), "--encoding cp1252"),
    Case("B24-shift-jis", "a,b\n1,日本語テキスト\n".encode("shift_jis"), ("line 2",), "--encoding shift_jis"),
    Case(
        "B24-wrong-encoding-given",
        "a,b\n1,é\n".encode("latin-1"),
        ("line 2",),
        "--encoding",
        options={"encoding": "cp932"},
    ),
    Case("B24-unknown-encoding", b"a,b\n1,2\n", ("klingon",), "--encoding", ConfigError, {"encoding": "klingon"}),
    Case("B27-nul", b"a,b\n1,2\n3,\x004\n", ("line 3", "NUL", "character 3")),
    Case("B27-control", b"a,b\n1,x\x07y\n", ("line 2", "0x07", "character 4")),
    Case("B27-utf-16-without-mark", "a,b\n1,2\n".encode("utf-16-le"), ("line 1", "NUL"), "utf-16"),
    Case("B28-quote-never-closed", b'a,b\n1,x\n2,"y\n3,z\n', ("line 3", "quote")),
    Case("B28-quote-closed-late", b'a,b\n1,"x\n2,y\n3,"z"\n', ("line 2", "quote")),
    Case("B30-html", b"<!DOCTYPE html>\n<html><body>404</body></html>", ("HTML", "failed download"), "download"),
    Case("B30-html-lower", b"\n\n<html><head>", ("HTML",), "download"),
    Case("B30-pdf", b"%PDF-1.7 ...", ("PDF",), "CSV"),
    Case("B30-xlsx", b"PK\x03\x04rest", ("spreadsheet",), "CSV"),
    Case("B30-xls", b"\xd0\xcf\x11\xe0\xa1\xb1", ("Excel",), "CSV"),
    Case("B30-png", b"\x89PNG\r\n\x1a\n", ("PNG",), "folder"),
    Case("B30-pickle", b"\x80\x04\x95\x10\x00\x00", ("pickle", "run code"), "CSV"),
    Case("B31-cut-gzip", gzip.compress(GOOD)[:-2000], ("gzip", "damaged", "rows"), "nothing of it was used"),
    Case("B31-cut-xz", lzma.compress(GOOD)[:-500], ("xz", "damaged"), "again"),
    Case("B31-cut-bz2", bz2.compress(GOOD)[:-500], ("bz2", "damaged"), "again"),
    Case("B31-cut-zstd", zstd(GOOD)[:-500], ("zstd", "damaged"), "again"),
    Case("B31-cut-parquet", PARQUET.getvalue()[:-100], ("Parquet", "damaged"), "again", name="t.parquet"),
    Case("B31-cut-arrow", b"ARROW1\0\0" + b"\1" * 40, ("Arrow", "damaged"), "again", name="t.feather"),
    Case("B33-more-than-the-cap", GOOD, ("more than 1,000 bytes",), "--max-bytes", options={"max_bytes": 1000}),
    Case("B34-cell-of-2-MB", b"a,b\nx," + b"y" * 2_000_000 + b"\n", ("line 2", 'column "b"', "2,000,000"), "shorten"),
    Case("S8-bomb-gzip", gzip.compress(b"a,b\n" + b"1,2\n" * 25_000_000, 9), ("200 times",), "unpack"),
    Case("A4-no-such-file", b"", ("there is no file",), "", ConfigError, name="../missing/t.csv"),
    Case("B30-json-list", b"[1, 2]\n", ("line 1", "JSON list"), "object", name="t.jsonl"),
    Case("B30-json-broken", b'{"a": 1}\n{"a": \n', ("line 2", "not JSON"), "object", name="t.jsonl"),
    Case("B30-json-nested", b'{"a": {"b": 1}}\n', ("line 1", 'column "a"', "nested"), "flatten", name="t.jsonl"),
    Case("B8-json-key-twice", b'{"a": 1, "a": 2}\n', ("line 1", '"a"', "twice"), "rename", name="t.jsonl"),
    Case(
        "B20-bad-delimiter-option", b"a,b\n1,2\n", ("one character",), "--delimiter", ConfigError, {"delimiter": ",,"}
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_table_catalogue_refused(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    if case.kind is not ConfigError or path.parent.exists():
        path.write_bytes(case.data)
    with pytest.raises(case.kind) as caught:
        read_table(path, **case.options)
    message = str(caught.value)
    for word in case.says:
        assert word in message, message
    assert case.mend in caught.value.mend
    assert caught.value.mend
    assert "\n" not in message + caught.value.mend
    assert len(message) < 400


@dataclass(frozen=True)
class Read:
    """One input and the columns it must give."""

    id: str
    data: bytes
    columns: Mapping[str, list[Any]]
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = "t.csv"
    last_line: int | None = None


TYPED = {"a": [1, 2], "b": ["x", "y"]}

READ = [
    Read("B7-blank-lines", b"a,b\n1,x\n\n\n2,y\n\n", TYPED, ("3 blank lines",), last_line=5),
    Read("B7-blank-lines-with-spaces", b"a,b\n1,x\n  \n2,y\n", TYPED, ("1 blank line skipped",), last_line=4),
    Read("B7-blank-lines-crlf", b"a,b\r\n1,x\r\n\r\n2,y\r\n", TYPED, ("1 blank line",), last_line=4),
    Read("B9-trailing-comma", b"a,b,\n1,x,\n2,y,\n", TYPED, ("column 3 has no name and no cells",)),
    Read("B9-trailing-comma-below-the-header", b"a,b\n1,x,\n2,y,\n", TYPED, ("column 3 has no name and no cells",)),
    Read("B9-row-numbers", b",a,b\n0,1,x\n1,2,y\n", TYPED, ("column 1 has no name and numbers the rows",)),
    Read("B10-case-twins", b"a,A\n1,x\n2,y\n", {"a": [1, 2], "A": ["x", "y"]}, ("differ only by case",)),
    Read("B10-spaces-in-names", b"a, b\n1,x\n2,y\n", TYPED, ("spaces around column names",)),
    Read(
        "B11-chosen-as-text", b"a\n" + b"7\n" * 30 + b"x\n", {"a": ["7"] * 30 + ["x"]}, options={"text_columns": ["a"]}
    ),
    Read("B12-blanks", b"a,b\n1,x\n,y\n3,z\n", {"a": [1, None, 3], "b": ["x", "y", "z"]}, ("1 blank cell (line 3)",)),
    Read(
        "B13-missing-words",
        b"a,b\n1,NA\nNA,DE\nn/a,FR\nnull,NA\nNone,US\n?,NA\n-,NA\n.,\n2,NA\n",
        {
            "a": [1, None, None, None, None, None, None, None, 2],
            "b": ["NA", "DE", "FR", "NA", "US", "NA", "NA", "", "NA"],
        },
        ("7 blank cells (lines 3, 4, 5, ...)",),
    ),
    Read("B14-wholly-missing", b"a,b\n1,\n2,NA\n", {"a": [1, 2], "b": [None, None]}),
    Read("B16-clip-inf", b"a\n1\n-inf\n3\n1e999\n", {"a": [1, 1, 3, 3]}, ("2 infinite cells",), {"clip_inf": True}),
    Read("B19-leading-zero", b"a,b\n00501,1\n12345,2\n", {"a": ["00501", "12345"], "b": [1, 2]}, ("leading zeros",)),
    Read(
        "B19-leading-zero-in-a-late-block",
        b"a,b\n" + b"12345,2\n" * 1_300_000 + b"00501,2\n",
        {},
        ('"a" is kept as text: cells with leading zeros',),
    ),
    Read("B19-zero-point-is-a-number", b"a\n0.5\n-0.25\n0\n0e1\n", {"a": [0.5, -0.25, 0, 0]}),
    Read("B19-exponent-with-zero", b"a\n1e-05\n2E+07\n", {"a": [1e-5, 2e7]}),
    Read("B19-16-digits", b"a\n1234567890123456\n1\n", {"a": ["1234567890123456", "1"]}, ("more than 15 digits",)),
    Read(
        "B19-above-2-63-late",
        b"a,b\n" + b"1,2\n" * 1_500_000 + b"9223372036854775809,2\n",
        {},
        ("more than 15 digits",),
    ),
    Read(
        "B20-semicolon-decimal-comma",
        b"a;b\n1,5;x\n2,25;y\n",
        {"a": [1.5, 2.25], "b": ["x", "y"]},
        ("semicolon", "decimal comma"),
    ),
    Read("B20-tab", b"a\tb\n1\tx\n2\ty\n", TYPED, ("tab",)),
    Read("B20-tsv", b"a\tb\n1\tx, y\n2\ty\n", {"a": [1, 2], "b": ["x, y", "y"]}, name="t.tsv"),
    Read("B20-bar", b"a|b\n1|x\n2|y\n", TYPED, ("vertical bar",)),
    Read(
        "B20-decided-by-option",
        b"a;b\n1,234;x\n5,678;y\n",
        {"a": [1.234, 5.678], "b": ["x", "y"]},
        options={"decimal": ","},
    ),
    Read(
        "B20-decided-by-another-column",
        b"a;b\n1,234;1,5\n5,678;2,5\n",
        {"a": [1.234, 5.678], "b": [1.5, 2.5]},
        ("as in the other",),
    ),
    Read("B21-thousands", b'a,b\n"1,234",x\n"12",y\n', {"a": [1234, 12], "b": ["x", "y"]}, ("thousands marks",)),
    Read(
        "B21-thousands-point-decimal-comma",
        b"a;b\n1.234,5;x\n7,25;y\n",
        {"a": [1234.5, 7.25], "b": ["x", "y"]},
        ("decimal comma", "thousands"),
    ),
    Read("B21-currency", b"a,b\n$1.50,x\n-$2,y\n", {"a": [1.5, -2], "b": ["x", "y"]}, ('"$" taken off',)),
    Read("B21-per-cent", b"a,b\n12%,x\n3.5 %,y\n", {"a": [12, 3.5], "b": ["x", "y"]}, ('"%" taken off',)),
    Read("B21-currency-disagrees", b"a,b\n$1,x\n3%,y\n", {"a": ["$1", "3%"], "b": ["x", "y"]}),
    Read("B24-encoding-given", "a,b\n1,é\n".encode("latin-1"), {"a": [1], "b": ["é"]}, options={"encoding": "latin-1"}),
    Read("B25-utf-16", "a,b\n1,é\n".encode("utf-16"), {"a": [1], "b": ["é"]}),
    Read("B25-utf-16-be", b"\xfe\xff" + "a,b\n1,é\n".encode("utf-16-be"), {"a": [1], "b": ["é"]}),
    Read("B25-utf-32", "a,b\n1,日本\n".encode("utf-32"), {"a": [1], "b": ["日本"]}),
    Read("B26-bom", b"\xef\xbb\xbfa,b\n1,x\n2,y\n", TYPED),
    Read("B29-newline-in-quotes", b'a,b\n1,"x\ny\nz"\n2,w\n', {"a": [1, 2], "b": ["x\ny\nz", "w"]}, last_line=5),
    Read(
        "B29-quote-in-a-cell",
        b'a,b\n1,5" pipe\n2,"say ""hi"""\n',
        {"a": [1, 2], "b": ['5" pipe', 'say "hi"']},
        last_line=3,
    ),
    Read("B30-old-mac-line-ends", b"a,b\r1,x\r2,y\r", TYPED),
    Read("B30-no-last-newline", b"a,b\n1,x\n2,y", TYPED),
    Read(
        "B4-no-header-option",
        b"1,x\n2,y\n",
        {"column1": [1, 2], "column2": ["x", "y"]},
        options={"header": False},
        last_line=2,
    ),
    Read("B4-running-numbers-as-names", b"0,1,2\n4,5,6\n", {"0": [4], "1": [5], "2": [6]}, ("running numbers",)),
    Read("B31-gzip", gzip.compress(b"a,b\n1,x\n2,y\n"), TYPED, name="t.csv.gz"),
    Read("B31-xz", lzma.compress(b"a,b\n1,x\n2,y\n"), TYPED, name="t.csv.xz"),
    Read("B31-bz2", bz2.compress(b"a,b\n1,x\n2,y\n"), TYPED, name="t.csv.bz2"),
    Read("B31-zstd", zstd(b"a,b\n1,x\n2,y\n"), TYPED, name="t.csv.zst"),
    Read("B31-json-lines", b'{"a": 1, "b": "x"}\n\n{"b": "y", "a": 2}\n', TYPED, name="t.jsonl", last_line=3),
    Read("B31-json-lines-gzip", gzip.compress(b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}'), TYPED, name="t.jsonl.gz"),
    Read("B31-json-missing-key", b'{"a": 1}\n{"b": "y"}\n', {"a": [1, None], "b": ["", "y"]}, name="t.jsonl"),
]


@pytest.mark.parametrize("case", READ, ids=lambda case: case.id)
def test_table_catalogue_read(case: Read, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data)
    table = read_table(path, **case.options)
    if case.columns:
        assert {name: column.to_pylist() for name, column in table.columns.items()} == case.columns
    notes = "; ".join(table.notes)
    for word in case.notes:
        assert word in notes, notes
    if case.last_line is not None:
        assert table.location(table.n_rows - 1) == f"{case.name} line {case.last_line}"


def quiet(data: bytes, path: Path) -> Table:
    path.write_bytes(data)
    return read_table(path)


def test_r15_clean_data_has_no_notes(tmp_path: Path) -> None:
    assert quiet(b"a,b\n1,x\n2,y\n", tmp_path / "t.csv").notes == ()


def write_parquet(table: pa.Table, path: Path) -> None:
    parquet.write_table(table, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("t.parquet", write_parquet), ("t.feather", lambda table, path: feather.write_feather(table, path))],
)
def test_b35_typed_files_give_the_same_columns(
    name: str, write: Callable[[pa.Table, Path], None], tmp_path: Path
) -> None:
    table = pa.table(
        {
            "a": pa.array([1, None, 3], pa.int16()),
            "b": pa.array(["x", None, "z"]).dictionary_encode(),
            "c": pa.array([True, None, False]),
            "d": pa.array([1.5, float("nan"), None], pa.float32()),
        }
    )
    write(table, tmp_path / name)
    read = read_table(tmp_path / name)
    assert {key: column.to_pylist() for key, column in read.columns.items()} == {
        "a": [1, None, 3],
        "b": ["x", "", "z"],
        "c": [True, None, False],
        "d": [1.5, None, None],
    }
    assert read.location(1, "a") == f'{name} row 2, column "a"'


def test_b37_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lamina.data.tables import delimited

    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n3,4\n")
    original = delimited._first_pass

    def slow(*arguments: Any) -> Any:
        result = original(*arguments)
        path.write_bytes(b"a,b\n1,2\n3,4\n5,6\n")
        return result

    monkeypatch.setattr(delimited, "_first_pass", slow)
    with pytest.raises(DataError, match="changed while it was read"):
        read_table(path)


@pytest.mark.parametrize(
    ("data", "match"), [(b"", "no rows on standard input"), (b"a,b\n1\n", "standard input line 2")]
)
def test_a20_standard_input(data: bytes, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(DataError, match=match):
        read_table("-")


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,x\n")))
    assert read_table("-").columns["b"].to_pylist() == ["x"]


def test_a4_a5_missing_file_names_the_nearest_and_a_folder_its_content(tmp_path: Path) -> None:
    (tmp_path / "churn.csv").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"churn\.csv"):
        read_table(tmp_path / "chrun.csv")
    with pytest.raises(ConfigError, match=r"folder.*churn\.csv"):
        read_table(tmp_path)


def test_b32_fifty_thousand_columns(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(50_000))
    rows = "\n".join(",".join(["1.5"] * 50_000) for _ in range(3))
    table = quiet(f"{names}\n{rows}\n".encode(), tmp_path / "wide.csv")
    assert (table.n_rows, len(table.names)) == (3, 50_000)


def test_large_table_is_narrowed_without_visible_loss(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    columns = {f"x{i}": rng.standard_normal(n) for i in range(48)}
    columns["stamp"] = 1.7e9 + rng.random(n)  # needs float64: float32 keeps 128 s here
    columns["count"] = rng.integers(0, 10**9, n).astype(np.int64)
    from pyarrow import csv

    csv.write_csv(pa.table(columns), tmp_path / "large.csv")
    table = read_table(tmp_path / "large.csv")
    kinds = {str(table.columns[name].type) for name in table.names if name.startswith("x")}
    assert kinds == {"float"}
    assert str(table.columns["stamp"].type) == "double"
    assert str(table.columns["count"].type) == "int32"
    for name, values in columns.items():
        np.testing.assert_allclose(np.asarray(table.columns[name]).astype(np.float64), values, rtol=1e-7, atol=0)


def test_fingerprint_tells_any_changed_cell(tmp_path: Path) -> None:
    base = b"a,b,c\n1,x,0.5\n2,,0.25\n3,z,\n"
    first = quiet(base, tmp_path / "t.csv").fingerprint()
    assert quiet(base, tmp_path / "t.csv").fingerprint() == first
    for old, new in [
        (b"0.25", b"0.26"),
        (b"x", b"y"),
        (b",c\n", b",d\n"),
        (b"z,\n", b"z,1\n"),
        (b"z,\n", b"z,0\n"),
        (b"2,,", b"2,q,"),
        (b"3,z", b"4,z"),
    ]:
        assert quiet(base.replace(old, new), tmp_path / "t.csv").fingerprint() != first
    chunked = Table("t", {"a": pa.chunked_array([["x", "yz"], ["w"]])})
    whole = Table("t", {"a": pa.array(["x", "yz", "w"])})
    shifted = Table("t", {"a": pa.array(["xy", "z", "w"])})
    assert chunked.fingerprint() == whole.fingerprint() != shifted.fingerprint()


def test_take_select_drop_and_cells_keep_the_lines(tmp_path: Path) -> None:
    table = quiet(b"a,b\n1,x\n\n2,y\n3,z\n", tmp_path / "t.csv")
    part = table.take(np.array([2, 1]))
    assert part.location(0, "a") == 't.csv line 5, column "a"'
    assert part.select(["b"]).names == ("b",) == part.drop(["a"]).names
    assert part.cells([0], ["b", "a"]) == [{"b": "z", "a": "3"}]
    with pytest.raises(ConfigError, match='did you mean "b"'):
        Table("t", {"bb": pa.array([1]), "b": pa.array([1])}).column("B")
