"""Answers that are refused: what is left empty, and what is scored, by counting in what was written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lamina.errors import ConfigError
from lamina.runs.predictor import Predictor
from lamina.workflows.evaluate import evaluate
from lamina.workflows.fit import fit
from lamina.workflows.predict import predict
from workflows.made import QUICK, people

T = 0.7


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusing")
    source = str(people(folder / "people.csv"))
    settings = QUICK.with_changes({"importance": False, "examples": False}, where="test")
    for name, targets in {"one": ["churn"], "several": ["churn", "city", "spend"], "number": ["spend"]}.items():
        fit(source, targets=targets, settings=settings, out=str(folder / name))
    return folder


def answers(place: Path, run: str, **options: object) -> list[dict[str, str]]:
    out = place / "answers.csv"
    predict(str(place / run), str(place / "people.csv"), output=str(out), overwrite=True, **options)  # type: ignore[arg-type]
    return rows_of(out)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def sure(row: dict[str, str], prefix: str = "p_") -> float:
    return max(float(value) for name, value in row.items() if name.startswith(prefix))


def test_L19_an_answer_is_empty_exactly_where_its_probability_is_below(place: Path) -> None:
    rows, before = answers(place, "one", refuse_below=T), answers(place, "one")
    empty = [row["prediction"] == "" for row in rows]
    assert empty == [sure(row) < T for row in before] and 0 < sum(empty) < len(rows)
    for row, was in zip(rows, before, strict=True):
        assert row["prediction"] in {"", was["prediction"]}
        assert {**row, "prediction": was["prediction"]} == was  # the rest is as it was, probabilities too


def test_several_classes_are_answered_where_all_together_are_sure(place: Path) -> None:
    rows, before = answers(place, "several", refuse_below=T / 2), answers(place, "several")
    together = [sure(row, "churn_p_") * sure(row, "city_p_") for row in before]
    assert [row["churn_prediction"] == "" for row in rows] == [p < T / 2 for p in together]
    assert [row["city_prediction"] == "" for row in rows] == [p < T / 2 for p in together]
    assert 0 < sum(p < T / 2 for p in together) < len(rows)
    assert all(float(row["spend_prediction"]) for row in rows)  # numbers are always answered


def test_evaluate_scores_what_is_answered(place: Path) -> None:
    source = str(place / "people.csv")
    found = evaluate(str(place / "one"), source, refuse_below=T)
    kept = [row for row in answers(place, "one", refuse_below=T) if row["prediction"]]
    right = sum(row["prediction"] == row["churn"] for row in kept)
    assert (found["rows"], found["answered"]) == (300, len(kept))
    assert found["scores"]["churn"]["accuracy"]["value"] == pytest.approx(right / len(kept), abs=1e-12)
    assert "answered" not in evaluate(str(place / "one"), source)
    nothing = evaluate(str(place / "one"), source, refuse_below=1.0)
    assert nothing["answered"] == 0 and nothing["scores"]["churn"]["accuracy"]["value"] is None


def test_other_forms_of_output(place: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = place / "answers.parquet"
    predict(str(place / "one"), str(place / "people.csv"), output=str(out), refuse_below=T)
    column = pq.read_table(out)["prediction"].to_pylist()
    predict(str(place / "one"), str(place / "people.csv"), as_json=True, refuse_below=T)
    lines = [json.loads(line)["prediction"] for line in capsysbinary.readouterr().out.splitlines()]
    assert column == lines == [row["prediction"] or None for row in answers(place, "one", refuse_below=T)]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(place: Path, threshold: float) -> None:
    out = place / "never.csv"
    with pytest.raises(ConfigError, match="between 0 and 1"):
        predict(str(place / "one"), str(place / "people.csv"), output=str(out), refuse_below=threshold)
    assert not out.exists()


def test_numbers_alone_cannot_be_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="only classes can be refused"):
        answers(place, "number", refuse_below=T)


def test_in_python_too(place: Path) -> None:
    predictor = Predictor.load(place / "one")
    table = rows_of(place / "people.csv")
    data = {name: [row[name] for row in table] for name in table[0]}
    (answer,) = predictor.predict(pa.table(data), refuse_below=T)
    assert [value is None for value in answer.prediction] == [p < T for p in answer.probabilities.max(1)]
