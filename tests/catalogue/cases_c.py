"""C. Targets and splits; new data for a fitted model."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import csv as reader

import numpy as np

from catalogue.case import GOOD, Case, Place, Said, both, column, csv, file, line, rows, target, text

FIT = "fit t.csv"
LINES = rows()
KINDS = [old.rsplit(",", 1)[1] for old in LINES[1:]]


def classes(place: Place) -> None:
    place.run("classes")


def with_input(data: bytes) -> object:
    return both(classes, file("n.csv", data))


PREDICT, EVALUATE = "predict run n.csv -o o.csv", "evaluate run n.csv"
OUT = ["o.csv"]


def predictions(place: Place) -> list[dict[str, str]]:
    with (place.path / "o.csv").open(newline="") as stream:
        return list(reader.DictReader(stream))


def alone_and_in_company(place: Place, said: Said) -> None:
    """A row's answer does not hang on the rows around it."""
    from catalogue.case import call

    (alone,) = predictions(place)
    place.write("n.csv", GOOD)
    assert call(["predict", "run", "n.csv", "-o", "all.csv"]).code == 0
    with (place.path / "all.csv").open(newline="") as stream:
        among = list(reader.DictReader(stream))[4]
    assert alone["prediction"] == among["prediction"]
    assert np.isclose(float(alone["p_yes"]), float(among["p_yes"]), rtol=0, atol=1e-6)


def in_any_order(place: Place, said: Said) -> None:
    from catalogue.case import call

    place.write("n.csv", GOOD)
    assert call(["predict", "run", "n.csv", "-o", "p.csv"]).code == 0
    with (place.path / "p.csv").open(newline="") as stream:
        straight = [row["p_yes"] for row in reader.DictReader(stream)]
    assert [row["p_yes"] for row in predictions(place)] == straight


def empty_with_the_right_columns(place: Place, said: Said) -> None:
    lines = (place.path / "o.csv").read_text().splitlines()
    assert lines == ["height,weight,colour,prediction,p_no,p_yes"] or lines == [
        '"height","weight","colour","prediction","p_no","p_yes"'
    ]


def dated(place: Place) -> None:
    import datetime

    import pyarrow as pa
    from pyarrow import parquet

    days = [datetime.datetime(2024, 1 + i % 12, 11) for i in range(60)]
    parquet.write_table(pa.table({"a": list(range(30)) * 2, "kind": days}), place.path / "t.parquet")


def turned(data: bytes) -> bytes:
    return text([",".join(reversed(one.split(","))) for one in data.decode().splitlines()])


def mixed_labels() -> bytes:
    import json

    lines = []
    for i in range(60):
        lines.append(json.dumps({"a": i * 0.37 % 5, "kind": 1 if i % 3 else "1"}))
    return text(lines)


def late() -> bytes:
    """A class that begins only in the last days."""
    lines = column("day", lambda i: f"2024-01-{1 + i // 3:02d}").decode().splitlines()
    return text([*lines[:-5], *(one.rsplit(",", 1)[0] + ",late" for one in lines[-5:])])


TWO = text([f"{old},{'n2' if i == 0 else i % 3 + 0.5 * (i % 2)}" for i, old in enumerate(LINES)])

CASES = [
    Case("C1-no-such-column", csv(GOOD), FIT + " --target kin", 2, ['"kin"', "t.csv", 'did you mean "kind"?'], ["height, weight"]),
    Case("C1-no-such-column-in-the-test-table", both(csv(GOOD), file("u.csv", column("x", lambda i: 1).replace(b"kind", b"kund"))),
         FIT + " --test u.csv", 2, ['"kind"', "u.csv", "kund"], ["columns"]),
    Case("C1-evaluate-without-the-target", with_input(text([old.rsplit(",", 1)[0] for old in LINES])), EVALUATE, 2,
         ['"kind"', "n.csv"], ["height, weight"]),
    Case("C2-one-class", csv(target(lambda i: "yes")), FIT, 3, ["only one class", "'yes'", "60 rows"], ["--target"]),
    Case("C3-class-of-one", csv(target(lambda i: "odd" if i == 9 else KINDS[i])), FIT, 3, ["t.csv line 11", "'odd'", "1 row"],
         ["--min-class 2"]),
    Case("C3-left-out", csv(target(lambda i: "odd" if i == 9 else KINDS[i])), FIT + " --set min_class=2", 0, ["odd", "left out"]),
    Case("C4-class-missing-from-training", csv(late()), FIT + " --time day", 3, ['"late"', "training"], ["split"]),
    Case("C5-missing-targets", csv(target(lambda i: "" if i in {3, 9} else KINDS[i])), FIT, 3,
         ['column "kind"', "2 rows", "lines 5, 11"], ["--drop-unlabelled"]),
    Case("C5-dropped", csv(target(lambda i: "" if i in {3, 9} else KINDS[i])), FIT + " --drop-unlabelled", 0, ["2 rows", "left out"]),
    Case("C6-nan", csv(target(lambda i: "nan" if i == 9 else f"{i * 1.7:.2f}")), FIT, 3, ["11", 'column "kind"', "missing"],
         ["--drop-unlabelled"]),
    Case("C6-inf", csv(target(lambda i: "inf" if i == 9 else f"{i * 1.7:.2f}")), FIT, 3, ["t.csv line 11", 'column "kind"', "infinite"],
         ["correct"]),
    Case("C7-few-whole-numbers", csv(target(lambda i: i % 3)), FIT, 0, ["3 classes", "--task number"]),
    Case("C7-task-given", csv(target(lambda i: i % 3)), FIT + " --task number", 0, ["a number from 0 to 2, as asked"]),
    Case("C7-task-that-cannot-be", csv(GOOD), FIT + " --task number", 2, ["t.csv line 2", 'column "kind"', "not a number"],
         ["--task classes"]),
    Case("C9-mixed-labels", file("t.jsonl", mixed_labels()), "fit t.jsonl --target kind", 3,
         ['column "kind"', '"1"', "number", "text"], ["all"]),
    Case("C10-truth-values", csv(target(lambda i: str(i % 3 == 0))), FIT, 0, ["2 classes"]),
    Case("C11-constant-number", csv(target(lambda i: 7.5)), FIT + " --task number", 0, ["R2 is not defined", "RMSE 0 ", "MAE 0"]),
    Case("C12-wide-range", csv(target(lambda i: f"{10.0 ** (i % 25 - 12):g}")), FIT + " --task number", 0, ["logarithm"]),
    Case("C13-imbalance", csv(target(lambda i: "rare" if i % 150 == 0 else "common", n=450)), FIT, 0, ["1 in 150", "balanced accuracy"]),
    Case("C16-column-missing", with_input(text([old.split(",", 1)[1] for old in LINES])), PREDICT, 3, ["n.csv", "height"], ["column"]),
    Case("C16-columns-renamed", with_input(line(1, "hight,weight,colour,kind")), PREDICT, 3, ["n.csv", "height", "hight"], ["columns"]),
    Case("C16-any-order", with_input(turned(GOOD)), PREDICT, 0, left=OUT, after=in_any_order),
    Case("C16-extra-column", with_input(column("extra", lambda i: i)), PREDICT, 0, ["not used", "extra"], left=OUT),
    Case("C16-words-for-numbers", with_input(text([LINES[0], *(f"tall{old[old.index(','):]}" for old in LINES[1:])])), PREDICT, 3,
         ['column "height"', '"tall"', "n.csv line 2"], ["number"]),
    Case("C17-unseen-category", with_input(line(9, "1,2,violet,no")), PREDICT, 0, ['column "colour"', "1 cells", "did not have"], left=OUT),
    Case("C17-strict", with_input(line(9, "1,2,violet,no")), PREDICT + " --strict", 3, ["n.csv", 'column "colour"', "1 cell"], ["--strict"]),
    Case("C18-blank-cell", with_input(line(9, "1,,red,no")), PREDICT, 0, ['column "weight"', "1 missing cell"], left=OUT),
    Case("C18-strict", with_input(line(9, "1,,red,no")), PREDICT + " --strict", 3, ["n.csv", 'column "weight"', "1 missing cell"], ["--strict"]),
    Case("C19-no-rows", with_input(b"height,weight,colour\n"), PREDICT, 0, left=OUT, after=empty_with_the_right_columns),
    Case("C19-evaluate-no-rows", with_input(b"height,weight,colour,kind\n"), EVALUATE, 3, ["n.csv", "no data rows"], ["check"]),
    Case("C20-one-row", with_input(text([LINES[0], LINES[5]])), PREDICT, 0, left=OUT, after=alone_and_in_company),
    Case("C27-group", csv(column("patient", lambda i: f"p{i % 20}")), FIT + " --group patient", 0, ['by group "patient"'], silent=["W-GROUP"]),
    Case("C27-looks-like-a-group", csv(column("patient_id", lambda i: (i * 7) % 20)), FIT, 0, ["W-GROUP", "--group patient_id"]),
    Case("C27-time", csv(column("day", lambda i: f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}")), FIT + " --time day", 0, ['by time "day"', "earlier rows train"]),
    Case("C27-no-such-group", csv(GOOD), FIT + " --group patient", 2, ['"patient"', "t.csv"], ["columns"]),
    Case("C28-test-overlaps", both(csv(GOOD), file("u.csv", text([LINES[0], *LINES[40:]]))), FIT + " --test u.csv", 0,
         ["W-DUP", "21 test rows" if len(LINES) == 61 else "test rows"]),
    Case("C29-running-text", csv(target(lambda i: f"a long remark number {i} that nobody else has written so far")), FIT, 2,
         ['column "kind"', "not supported"], ["--target"]),
    Case("C29-several-targets", csv(TWO), FIT + " --target kind --target n2 --task classes", 0, ["kind: ", "n2: "]),
    Case("C29-date-target", dated, "fit t.parquet", 2, ['"kind"', "date", "not supported"], ["number"]),
    Case("C29-unknown-class-at-evaluate", with_input(line(9, "1,2,red,perhaps")), EVALUATE, 3, ['"perhaps"', "not a class", "row 8"], ["label"]),
]  # fmt: skip
