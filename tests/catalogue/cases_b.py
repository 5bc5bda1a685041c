"""B. Tables."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import zipfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from catalogue.case import GOOD, Case, Place, Said, column, csv, file, line, rows, text

FIT = "fit t.csv"
LINES = rows()
WIDE = text(rows(400))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return buffer.getvalue()


def frame(**columns: object) -> bytes:
    buffer = io.BytesIO()
    n = 60
    table = {
        "height": pa.array(np.linspace(-1, 1, n)),
        "kind": pa.array(["yes" if i % 3 else "no" for i in range(n)]),
        **columns,
    }
    parquet.write_table(pa.table({name: value for name, value in table.items()}), buffer)
    return buffer.getvalue()


def typed(place: Place) -> None:
    n = 60
    values = {
        "level": pa.array(["a", "b", None] * 20).dictionary_encode(),
        "whole": pa.array([1, None, 3] * 20, pa.int16()),
        "when": pa.array(
            [datetime(2024, 1 + i % 9, 11, tzinfo=UTC) for i in range(n)], pa.timestamp("us", tz="Europe/Berlin")
        ),
        "sure": pa.array([True, None, False] * 20),
        "money": pa.array([f"{i % 7}.50" for i in range(n)]).cast(pa.decimal128(6, 2)),
    }
    place.write("t.parquet", frame(**values))


def changing(place: Place) -> None:
    """The file grows between the two passes over it."""
    from lamina.data.tables import delimited

    path = place.write("t.csv", GOOD)
    first_pass = delimited._first_pass

    def slow(*arguments: object) -> object:
        result = first_pass(*arguments)
        with path.open("ab") as stream:
            stream.write(b"1,2,red,no\n")
        return result

    place.patch.setattr(delimited, "_first_pass", slow)


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, allow_pickle=True)  # type: ignore[arg-type]
    return buffer.getvalue()


def sixty(place: Place, said: Said) -> None:
    assert "60 rows x 4 columns" in said.all


def shuffled_twice() -> bytes:
    lines = rows(60)
    return text([lines[0], *lines[1:], *lines[1:]])


NUMBERS = np.random.default_rng(0).normal(size=(60, 3))
YES = (NUMBERS.sum(1) > 0).astype(int)

CASES = [
    Case("B1-empty", csv(b""), FIT, 3, ["t.csv", "empty"], ["check"]),
    Case("B1-blank-lines-only", csv(b"\n\n \n"), FIT, 3, ["t.csv", "blank lines"], ["check"]),
    Case("B2-header-only", csv(b"height,kind\n"), FIT, 3, ["t.csv", "no data rows"], ["check"]),
    Case("B3-one-row", csv(text(LINES[:2])), FIT, 3, ["1 row", "at least"], ["rows"]),
    Case("B3-two-rows", csv(text(LINES[:3])), FIT, 3, ["2 rows", "at least"], ["rows"]),
    Case("B4-no-header", csv(b"1,2\n3,4\n5,6\n"), FIT, 3, ["t.csv line 1", "all numbers", "1, 2"], ["--no-header"]),
    Case("B4-no-header-given", csv(text(LINES[1:])), FIT + " --no-header", 0, ["60 rows x 4 columns"]),
    Case("B5-too-few-cells", csv(line(7, "1,2,red")), FIT, 3, ["t.csv line 7", "3 cells", "has 4"], ["complete"]),
    Case("B6-too-many-cells", csv(line(7, "1,2,red,no,more")), FIT, 3, ["t.csv line 7", "5 cells", '"more"'], ["--delimiter"]),
    Case("B7-blank-lines", csv(text([*LINES[:9], "", "", *LINES[9:], ""])), FIT, 0, ["3 blank lines"], after=sixty),
    Case("B8-duplicate-names", csv(line(1, "height,weight,height,kind")), FIT, 3, ['"height"', "columns 1 and 3"], ["rename"]),
    Case("B9-empty-name", csv(line(1, "height,,colour,kind")), FIT, 3, ["t.csv line 1", "column 2", "no name"], ["name"]),
    Case("B9-trailing-comma", csv(text([f"{old}," for old in LINES])), FIT + " --target kind", 0, ["column 5 has no name"],
         after=sixty),
    Case("B10-case-twins", csv(column("HEIGHT", lambda i: i % 7)), FIT, 0, ["differ only by case"]),
    Case("B10-spaces", csv(line(1, "height, weight ,colour,kind")), FIT, 0, ["spaces around column names"]),
    Case("B11-word-in-numbers", csv(line(9, "1,tall,red,no")), FIT, 3, ['t.csv line 9, column "weight"', '"tall"'],
         ["--categorical weight"]),
    Case("B12-blank-numbers", csv(text([*LINES[:9], "0.5,,red,no", *LINES[10:]])), FIT, 0, ["1 blank cell", "line 10"]),
    Case("B13-missing-words", csv(text([*LINES[:9], "NA,?,NA,no", "null,-,red,no", *LINES[11:]])), FIT, 0,
         ["2 blank cells", "lines 10, 11"]),
    Case("B14-wholly-missing", csv(column("gone", lambda i: "")), FIT, 0, ["leave out", "gone", "no cell has a value"]),
    Case("B15-constant", csv(column("same", lambda i: 7)), FIT, 0, ["leave out", "same", "same value in every row"]),
    Case("B16-inf", csv(line(9, "1,inf,red,no")), FIT, 3, ['t.csv line 9, column "weight"', "infinite"], ["--clip-inf"]),
    Case("B16-minus-infinity", csv(line(9, "1,-Infinity,red,no")), FIT, 3, ["t.csv line 9", "infinite"], ["--clip-inf"]),
    Case("B16-1e999", csv(line(9, "1,1e999,red,no")), FIT, 3, ["t.csv line 9", "infinite"], ["--clip-inf"]),
    Case("B16-clipped", csv(line(9, "1,1e999,red,no")), FIT + " --clip-inf", 0, ["1 infinite cell"]),
    Case("B17-identifier", csv(column("customer", lambda i: f"c-{(i * 37) % 61:03d}x")), FIT, 0,
         ["leave out", "customer", "identifier", "--use customer"]),
    Case("B17-row-number", csv(column("n", lambda i: i)), FIT, 0, ["leave out", "identifier", "--use n"]),
    Case("B18-leak", csv(text([f"{old.rsplit(',', 1)[1]}{'' if i else '2'},{old}" for i, old in enumerate(LINES)])), FIT, 0,
         ["W-LEAK", '"kind2"', "--ignore kind2"]),
    Case("B19-leading-zeros", csv(column("zip", lambda i: f"00{500 + i % 5}")), FIT, 0, ['"zip"', "leading zeros"]),
    Case("B19-long-digits", csv(column("card", lambda i: f"12345678901234567{i % 5}")), FIT, 0, ['"card"', "15 digits"]),
    Case("B20-semicolon-decimal-comma", csv(GOOD.replace(b",", b";").replace(b".", b",")), FIT, 0,
         ["semicolon", "decimal comma"], after=sixty),
    Case("B20-tab", csv(GOOD.replace(b",", b"\t")), FIT, 0, ["tab"], after=sixty),
    Case("B20-ambiguous", csv(b"a;b\n1,234;x\n5,678;y\n1,111;x\n"), FIT, 3, ['"1,234"'], ["--decimal"]),
    Case("B20-decided", csv(b"a;b\n" + b"1,234;x\n5,678;y\n1,111;x\n" * 9), FIT + " --decimal ,", 0, ["27 rows"]),
    Case("B20-ambiguous-delimiter", csv(b"a,b;c,d\n1,2;3,4\n5,6;7,8\n"), FIT, 3, ["comma", "semicolon"], ["--delimiter"]),
    Case("B21-currency", csv(column("paid", lambda i: f"${i % 9}.50")), FIT, 0, ['"$"', "paid"]),
    Case("B22-dates", csv(column("day", lambda i: f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}")), FIT, 0,
         ['"day"', "year, month, day, weekday, age"]),
    Case("B22-mixed-orders", csv(column("day", lambda i: "03/25/2024" if i == 9 else f"{13 + i % 15}/02/2024")), FIT, 3,
         ['column "day"', "03/25/2024"], ["date"]),
    Case("B23-booleans", csv(column("member", lambda i: ("True", "no", "yes", "False")[i % 4])), FIT, 0, ["1 true/false"]),
    Case("B23-three-meanings", csv(column("member", lambda i: ("True", "no", "yes", "0", "1", "maybe")[i % 6])), FIT, 3,
         ['column "member"', '"maybe"'], ["--categorical member"]),
    Case("B24-latin-1", csv("größe,kind\n1,né\n".encode("latin-1")), FIT, 3, ["t.csv line 1", "0xf6"], ["--encoding latin-1"]),
    Case("B24-shift-jis", csv(column("city", lambda i: "日本語").decode().encode("shift_jis")), FIT, 3, ["t.csv line 2"],
         ["--encoding shift_jis"]),
    Case("B24-encoding-given", csv(column("größe", lambda i: i % 3).decode().encode("latin-1")), FIT + " --encoding latin-1", 0),
    Case("B25-utf-16", csv(GOOD.decode().encode("utf-16")), FIT, 0, after=sixty),
    Case("B25-utf-32", csv(GOOD.decode().encode("utf-32")), FIT, 0, after=sixty),
    Case("B26-bom", csv(b"\xef\xbb\xbf" + GOOD), FIT + " --use height", 0, after=sixty),
    Case("B27-nul", csv(line(9, "1,2,r\0d,no")), FIT, 3, ["t.csv line 9", "NUL"], ["damaged"]),
    Case("B27-control", csv(line(9, "1,2,r\x07d,no")), FIT, 3, ["t.csv line 9", "0x07"], ["damaged"]),
    Case("B28-open-quote", csv(line(9, '1,2,"red,no')), FIT, 3, ["t.csv line 9", "quote"], ["quote"]),
    Case("B29-newline-in-quotes", csv(text([*LINES[:8], '1,2,"re\nd",no', "1,x,red,no", *LINES[10:]])), FIT, 3,
         ['t.csv line 11, column "weight"', '"x"'], ["--categorical"]),
    Case("B30-html", csv(b"<!DOCTYPE html>\n<html><body>404</body></html>"), FIT, 3, ["t.csv", "HTML"], ["download"]),
    Case("B30-pdf", csv(b"%PDF-1.7\n..."), FIT, 3, ["t.csv", "PDF"], ["CSV"]),
    Case("B30-xlsx", csv(zipped()), FIT, 3, ["t.csv", "spreadsheet"], ["CSV"]),
    Case("B30-png", csv(b"\x89PNG\r\n\x1a\n...."), FIT, 3, ["t.csv", "PNG"], ["folder"]),
    Case("B30-pickle", csv(pickle.dumps({"a": [1]})), FIT, 3, ["t.csv", "pickle"], ["CSV"]),
    Case("B31-cut-gzip", file("t.csv.gz", gzip.compress(WIDE)[:-40]), "fit t.csv.gz", 3, ["t.csv.gz", "damaged", "gzip"], ["again"]),
    Case("B31-cut-xz", file("t.csv.xz", lzma.compress(WIDE)[:-40]), "fit t.csv.xz", 3, ["t.csv.xz", "damaged", "xz"], ["again"]),
    Case("B31-cut-parquet", file("t.parquet", frame()[:-30]), "fit t.parquet", 3, ["t.parquet", "damaged"], ["again"]),
    Case("B31-gzip", file("t.csv.gz", gzip.compress(GOOD)), "fit t.csv.gz", 0, after=sixty),
    Case("B34-many-levels", csv(column("word", lambda i: f"w{i % 30}", n=400, kind="number")), FIT, 0, ["400 rows"]),
    Case("B34-cell-of-2-MB", csv(line(9, f"1,2,{'r' * 2_000_000},no")), FIT, 3, ['t.csv line 9, column "colour"', "2,000,000"],
         ["shorten"]),
    Case("B35-typed-columns", typed, "fit t.parquet --target kind", 0, ["60 rows x 7 columns", "1 dates"]),
    Case("B37-changes-while-read", changing, FIT, 3, ["t.csv", "changed while it was read"], ["again"], changed=["t.csv"]),
    Case("B38-duplicate-rows", csv(shuffled_twice()), FIT, 0, ["W-DUP", "test rows", "%"]),
    Case("B39-npz-3-d", file("t.npz", npz(x=NUMBERS.reshape(10, 6, 3), y=YES[:10])), "fit t.npz", 3, ["t.npz", "pixels of x"], ["scale"]),
    Case("B39-npz-objects", file("t.npz", npz(x=np.array([{"a": 1}] * 60, dtype=object), y=YES)), "fit t.npz", 3,
         ["t.npz", "object"], ["numbers"]),
    Case("B39-npz-complex", file("t.npz", npz(x=NUMBERS + 1j, y=YES)), "fit t.npz", 3, ["t.npz", "complex"], ["numeric"]),
    Case("B39-npz-lengths", file("t.npz", npz(x=NUMBERS, y=YES[:50])), "fit t.npz", 3, ["t.npz", "60", "50"], ["one target"]),
    Case("B39-npz-byte-swapped-fortran", file("t.npz", npz(x=np.asfortranarray(NUMBERS.astype(">f8")), y=YES.astype(">i4"))),
         "fit t.npz", 0, ["60 rows x 4 columns"]),
]  # fmt: skip
