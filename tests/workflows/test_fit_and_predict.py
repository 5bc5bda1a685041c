"""Whole fits: what is decided, what is left, and what comes out at predict."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss

from lamina.data.tables.table import Table
from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Poisson
from lamina.runs.predictor import Predictor
from lamina.workflows.evaluate import evaluate
from lamina.workflows.fit import FitResult, fit
from lamina.workflows.predict import predict
from lamina.workflows.report import report
from lamina.workflows.source import open_input, open_source
from workflows.made import QUICK, people, shapes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fits")
    people(folder / "people.csv")
    shapes(folder / "shapes")
    return folder


@pytest.fixture(scope="module")
def classes(place: Path) -> FitResult:
    return fit(str(place / "people.csv"), settings=QUICK, out=str(place / "classes"))


@pytest.fixture(scope="module")
def pictures(place: Path) -> FitResult:
    settings = QUICK.with_changes({"epochs": 8, "width": 8}, where="test")
    return fit(str(place / "shapes"), settings=settings, out=str(place / "pictures"))


def rows_of(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode())))


def test_run_folder_holds_what_the_contract_says(classes: FitResult) -> None:
    names = {p.name for p in classes.folder.iterdir() if not p.name.startswith(".")}
    assert names == {"run.toml", "history.jsonl", "model", "checkpoint", "report.html", "report.json"}
    facts = json.loads((classes.folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert "NaN" not in (classes.folder / "report.json").read_text()
    assert facts["schema"]
    lines = (classes.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    assert {"loss", "valid_loss", "valid_accuracy", "learning_rate"} <= set(json.loads(lines[0]))


def test_target_decides_the_likelihood(place: Path, classes: FitResult) -> None:
    source = str(place / "people.csv")
    expected = {"churn": Bernoulli(), "city": Categorical(4), "spend": Gaussian(), "visits": Poisson()}
    for target, likelihood in expected.items():
        found = fit(source, targets=[target], settings=QUICK, out=str(place / f"to-{target}"))
        assert Predictor.load(found.folder).likelihood == likelihood, target


def test_several_targets_share_a_trunk_and_have_a_head_each(place: Path) -> None:
    found = fit(str(place / "people.csv"), targets=["churn", "spend"], settings=QUICK, out=str(place / "heads"))
    predictor = Predictor.load(found.folder)
    assert predictor.likelihood == Heads((Bernoulli(), Gaussian()), ("churn", "spend"))
    assert set(found.scores) == {"churn", "spend"}
    result = place / "heads.csv"
    predict(str(found.folder), str(place / "people.csv"), output=str(result), overwrite=True)
    row = rows_of(result.read_bytes())[0]
    assert {"churn_prediction", "churn_p_no", "churn_p_yes", "spend_prediction", "spend_low", "spend_high"} <= set(row)


def test_predict_writes_the_inputs_columns_then_the_answers(place: Path, classes: FitResult) -> None:
    out = place / "out.csv"
    done = predict(str(classes.folder), str(place / "people.csv"), output=str(out), overwrite=True)
    rows = rows_of(out.read_bytes())
    given = list(rows_of((place / "people.csv").read_bytes())[0])
    assert list(rows[0]) == [*given, "prediction", "p_no", "p_yes"]
    assert done.rows == len(rows) == 300
    p = np.array([[float(r["p_no"]), float(r["p_yes"])] for r in rows])
    assert np.allclose(p.sum(1), 1.0, atol=1e-6) and (p >= 0).all()
    assert [r["prediction"] for r in rows] == [("no", "yes")[int(k)] for k in p.argmax(1)]
    parquet = place / "out.parquet"
    predict(str(classes.folder), str(place / "people.csv"), output=str(parquet), overwrite=True)
    assert np.allclose(np.asarray(pq.read_table(parquet)["p_yes"]), p[:, 1])


def test_evaluate_agrees_with_scikit_learn(place: Path, classes: FitResult) -> None:
    out = place / "judged.csv"
    predict(str(classes.folder), str(place / "people.csv"), output=str(out), overwrite=True)
    rows = rows_of(out.read_bytes())
    found = evaluate(str(classes.folder), str(place / "people.csv"))["scores"]["churn"]
    truth = [r["churn"] for r in rows]
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(truth, [r["prediction"] for r in rows]))
    assert found["log_loss"]["value"] == pytest.approx(log_loss(truth, [float(r["p_yes"]) for r in rows]), rel=1e-5)


def test_J2_a_moved_run_loads_and_says_the_same(place: Path, classes: FitResult, tmp_path: Path) -> None:
    moved = shutil.copytree(classes.folder, tmp_path / "elsewhere" / "another name")
    one, other = (Predictor.load(folder) for folder in (classes.folder, moved))
    table = {"age": [30.0, None], "city": ["Rome", "Nowhere"], "member": [True, False], "joined": ["2020-01-02"] * 2}
    table |= {"visits": [1, 2], "spend": [30.0, 40.0]}
    a, b = (p.predict(pa.table(table))[0].probabilities for p in (one, other))
    assert a is not None and b is not None and np.array_equal(a, b)
    report(str(moved))


def test_J12_a_row_gets_the_same_answer_in_any_batch(place: Path, classes: FitResult) -> None:
    predictor = Predictor.load(classes.folder)
    inputs, _ = predictor.prepare(pa.table({k: pa.array(v) for k, v in columns(place / "people.csv").items()}))
    whole = predictor.outputs(inputs)
    for size in (1, 7):
        import torch

        parts = torch.cat([predictor.outputs(inputs[i : i + size]) for i in range(0, 70, size)])
        assert torch.allclose(parts[:70], whole[:70], atol=1e-6)


def columns(path: Path) -> dict[str, list[str]]:
    rows = rows_of(path.read_bytes())
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_C19_no_rows_give_no_answers_with_the_right_columns(place: Path, classes: FitResult) -> None:
    predictor = Predictor.load(classes.folder)
    empty = pa.table({k: pa.array(v[:0], pa.string()) for k, v in columns(place / "people.csv").items()})
    from lamina.data.tables.table import Table

    answer = predictor.predict(Table("empty", {name: empty[name] for name in empty.column_names}))[0]
    assert list(answer.columns()) == ["prediction", "p_no", "p_yes"] and len(answer.prediction) == 0


def test_S12_text_that_a_spreadsheet_would_run_is_marked_and_counted(place: Path, classes: FitResult) -> None:
    source, out = place / "evil.csv", place / "evil-out.csv"
    rows = rows_of((place / "people.csv").read_bytes())[:5]
    rows[0]["city"] = '=HYPERLINK("http://x","y")'
    rows[1]["city"] = "@SUM(1)"
    rows[2]["city"] = "-cmd"
    with source.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = predict(str(classes.folder), str(source), output=str(out), overwrite=True)
    cells = [r["city"] for r in rows_of(out.read_bytes())]
    assert [c[0] for c in cells[:3]] == ["'"] * 3 and cells[3] == rows[3]["city"]
    assert done.marked == 3
    predict(str(classes.folder), str(source), output=str(out), overwrite=True, raw=True)
    assert [r["city"] for r in rows_of(out.read_bytes())] == [r["city"] for r in rows]


def test_C17_C18_strict_refuses_what_training_did_not_have(place: Path, classes: FitResult) -> None:
    table = pa.table({**{k: pa.array(v[:3]) for k, v in columns(place / "people.csv").items()}, "city": ["Bonn"] * 3})
    predictor = Predictor.load(classes.folder)
    _, found = predictor.prepare(table)
    assert found.unseen == {"city": 3}
    with pytest.raises(DataError, match='column "city" has 3 cells with a category unknown'):
        predictor.prepare(table, strict=True)


@pytest.mark.parametrize(("output", "words"), [("people.csv", "same file"), ("out.xlsx", "cannot write")])
def test_J9_outputs_that_cannot_be(place: Path, classes: FitResult, output: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        predict(str(classes.folder), str(place / "people.csv"), output=str(place / output))


def test_splits_by_group_and_time_keep_their_promise(place: Path) -> None:
    source = str(place / "people.csv")
    for option, column in (("group", "city"), ("time", "joined")):
        settings = QUICK.with_changes({option: column}, where="test")
        found = fit(source, targets=["spend"], settings=settings, out=str(place / f"by-{option}"))
        card = json.loads((found.folder / "report.json").read_text())["data"]
        assert column in card["split"]


def test_rows_of_a_test_file_are_the_test_part(place: Path) -> None:
    people(place / "later.csv", rows=80, seed=9)
    found = fit(str(place / "people.csv"), settings=QUICK, test=str(place / "later.csv"), out=str(place / "with-test"))
    parts = {p["name"]: p["size"] for p in json.loads((found.folder / "report.json").read_text())["data"]["parts"]}
    assert parts["test"] == 80 and parts["training"] + parts["validation"] == 300


def test_pictures_are_learnt_predicted_and_evaluated(place: Path, pictures: FitResult) -> None:
    assert pictures.scores["class"]["test"]["accuracy"]["value"] == 1.0
    judged = evaluate(str(pictures.folder), str(place / "shapes"))
    assert judged["rows"] == 60 and judged["scores"]["class"]["accuracy"]["value"] > 0.95
    out = place / "pictures.csv"
    predict(str(pictures.folder), str(place / "shapes" / "above"), output=str(out), overwrite=True)
    rows = rows_of(out.read_bytes())
    assert len(rows) == 30 and list(rows[0]) == ["file", "prediction", "p_above", "p_below"]
    assert sum(r["prediction"] == "above" for r in rows) >= 29


def test_tables_are_not_pictures(place: Path, classes: FitResult, pictures: FitResult) -> None:
    with pytest.raises(ConfigError, match="is a folder, not a table"):
        predict(str(classes.folder), str(place / "shapes"), output=str(place / "no.csv"))
    with pytest.raises(ConfigError, match="reads pictures"):
        predict(str(pictures.folder), str(place / "people.csv"), output=str(place / "no.csv"))


def test_H12_changed_data_and_H13_changed_settings_are_refused(place: Path, tmp_path: Path) -> None:
    source = people(tmp_path / "mine.csv", rows=120)
    found = fit(str(source), settings=QUICK, out=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match="hidden"):
        fit("", settings=QUICK.with_changes({"hidden": "8"}, where="test"), resume=str(found.folder))
    weights = (found.folder / "model" / "model.safetensors").read_bytes()
    again = fit("", settings=QUICK, resume=str(found.folder))  # H15: nothing left to do
    assert (again.folder / "model" / "model.safetensors").read_bytes() == weights
    people(source, rows=120, seed=4)
    with pytest.raises(CheckpointError, match="data have changed"):
        fit("", settings=QUICK, resume=str(found.folder))


def test_more_epochs_go_on_from_the_checkpoint(place: Path, tmp_path: Path) -> None:
    settings = QUICK.with_changes({"schedule": "constant", "patience": 50}, where="test")
    short = fit(str(place / "people.csv"), settings=settings, out=str(tmp_path / "short"))
    longer = settings.with_changes({"epochs": 9}, where="test")
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(place / "people.csv"), settings=longer, out=str(tmp_path / "whole"))
    files = [folder / "model" / "model.safetensors" for folder in (short.folder, whole.folder)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("way", ["retrain", "continue"])
def test_second_pass_learns_from_the_validation_rows_too(place: Path, tmp_path: Path, way: str) -> None:
    settings = QUICK.with_changes({"second_pass": way}, where="test")
    once = fit(str(place / "people.csv"), settings=QUICK, out=str(tmp_path / "once"))
    twice = fit(str(place / "people.csv"), settings=settings, out=str(tmp_path / "twice"))
    assert (twice.folder / "history-second.jsonl").exists()
    files = [r.folder / "model" / "model.safetensors" for r in (once, twice)]
    assert files[0].read_bytes() != files[1].read_bytes()
    assert (once.folder / "history.jsonl").read_bytes() == (twice.folder / "history.jsonl").read_bytes()


def test_B19_codes_with_leading_zeros_are_the_same_categories_at_predict(tmp_path: Path) -> None:
    codes = ["00501", "1.50", "00901", "2.00"]
    rows = [f"{codes[i % 4]},{i % 7},{'yes' if i % 4 < 2 else 'no'}" for i in range(160)]
    (tmp_path / "t.csv").write_text("\n".join(["zip,x,kind", *rows]) + "\n")
    found = fit(str(tmp_path / "t.csv"), settings=QUICK, out=str(tmp_path / "run"))
    # without a leading zero in sight the column would be read as numbers, and 1.5 is no category that training had
    (tmp_path / "new.csv").write_text("zip,x\n1.50,1\n2.00,2\n")
    predictor = Predictor.load(found.folder)
    data = open_input(str(tmp_path / "new.csv"), QUICK, predictor.preparation)
    _, met = predictor.prepare(data)
    assert met.unseen == {}
    naive = open_source(str(tmp_path / "new.csv"), QUICK).data
    assert isinstance(naive, Table) and str(naive.column("zip").type) != "string"
