"""Inference with sub-networks as a setting: kept in the run, and heard by everything that asks the model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.data.tables.read import read_table
from lamina.errors import CheckpointError, ConfigError
from lamina.io import read_json
from lamina.nn import monte_carlo_dropout
from lamina.runs.dropout_inference import DropoutInference
from lamina.runs.predictor import Predictor
from lamina.workflows.evaluate import evaluate
from lamina.workflows.fit import FitResult, fit
from lamina.workflows.predict import predict
from methodology.tables import line, problem, settings, table, trained
from workflows.made import people


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dropout")
    people(root / "people.csv", 120)
    return root


@pytest.fixture(scope="module")
def run(place: Path) -> FitResult:
    asked = settings(dropout=0.4, dropout_inference="monte-carlo", dropout_passes=30, seed=7)
    return fit(str(place / "people.csv"), targets=["churn"], settings=asked, out=str(place / "run"))


def test_the_run_keeps_how_it_answers_and_predict_and_evaluate_do(place: Path, run: FitResult) -> None:
    predictor = Predictor.load(run.folder)
    assert predictor.inference == DropoutInference("monte-carlo", 30, 7)
    inputs, _ = predictor.prepare(read_table(place / "people.csv"))
    by_hand = torch.cat(
        [
            monte_carlo_dropout(predictor.model, row, 30, torch.sigmoid, torch.Generator().manual_seed(7))
            for row in inputs.split(1)
        ]
    )
    answer = predictor.read(predictor.outputs(inputs))[0]
    np.testing.assert_allclose(answer.probabilities[:, 1], by_hand[:, 0].numpy(), rtol=1e-4, atol=1e-6)
    scaled = torch.sigmoid(predictor.model(inputs)).detach().numpy()[:, 0]
    assert np.abs(scaled - answer.probabilities[:, 1]).max() > 1e-3
    predict(str(run.folder), str(place / "people.csv"), output=str(place / "out.csv"))
    with (place / "out.csv").open() as file:
        written = [float(row["p_yes"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(written, answer.probabilities[:, 1], rtol=1e-6)
    rows = [row.rpartition(",")[2] for row in (place / "people.csv").read_text().splitlines()[1:]]
    share = np.mean((answer.probabilities[:, 1] > 0.5) == (np.array(rows) == "yes"))
    found = evaluate(str(run.folder), str(place / "people.csv"))["scores"]["churn"]["accuracy"]["value"]
    assert found == pytest.approx(share)
    assert json.loads((run.folder / "report.json").read_text())["run"]["settings"]["dropout_inference"] == "monte-carlo"


def test_the_same_run_again_says_the_same(place: Path, run: FitResult, tmp_path: Path) -> None:
    asked = settings(dropout=0.4, dropout_inference="monte-carlo", dropout_passes=30, seed=7)
    again = fit(str(place / "people.csv"), targets=["churn"], settings=asked, out=str(tmp_path / "again"))
    assert run.scores == again.scores


def test_a_damaged_way_of_answering_is_refused(run: FitResult, tmp_path: Path) -> None:
    from dataclasses import replace

    predictor = Predictor.load(run.folder)
    saved = replace(predictor, inference=DropoutInference("monte-carlo", 0, 7)).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="what it says of dropout"):
        Predictor.load(saved)
    plain = replace(predictor, inference=None).save(tmp_path / "plain")
    assert Predictor.load(plain).inference is None
    assert "inference" not in read_json(plain / "model.json", "lamina model")
    shutil.rmtree(plain)


def test_the_spread_of_a_number_is_wider_by_what_the_sub_networks_differ() -> None:
    columns = line(120)
    plain, mixed = (
        trained(columns, ["y"], settings(dropout=0.5, dropout_inference=way)).predictor
        for way in ("weight-scaling", "monte-carlo")
    )
    assert plain.inference is None and mixed.inference is not None
    far = table({"x": [-2.0, 0.0, 2.0]})
    inputs, _ = mixed.prepare(far)
    scaled = mixed.model(inputs).detach()
    assert (mixed.likelihood.spread(mixed.outputs(inputs)) > mixed.likelihood.spread(scaled)).all()


@pytest.mark.parametrize(
    ("targets", "changes", "words"),
    [
        (["y"], {"dropout_inference": "monte-carlo", "dropout": 0.0}, "the model has none"),
        (["y"], {"dropout_inference": "monte-carlo", "model": "linear", "dropout": 0.3}, "the model has none"),
        (["y"], {"dropout_inference": "geometric"}, "of class probabilities, of one target"),
        (["k", "y"], {"dropout_inference": "geometric"}, "of class probabilities, of one target"),
        (["k"], {"dropout_inference": "geometric", "bag": 2}, "bag asks for several"),
        (["k"], {"dropout_passes": 7}, "scaled weights take one pass"),
    ],
)
def test_what_has_no_sub_networks_to_average_is_refused(targets, changes, words) -> None:
    columns = line(60) | {"k": ["a", "b", "c"] * 20}
    with pytest.raises(ConfigError, match=words) as caught:
        problem(columns, targets, settings(**changes))
    assert caught.value.mend


@pytest.mark.parametrize("changes", [{"bag": 2}, {"input_dropout": 0.3, "dropout": 0.0}, {"likelihood": "student-t"}])
def test_it_goes_with_the_other_settings(changes) -> None:
    asked = settings(dropout_inference="monte-carlo", dropout_passes=5, **changes)
    predictor = trained(line(100), ["y"], asked).predictor
    (answer,) = predictor.predict(table({"x": [0.0, 1.0]}))
    assert np.isfinite(answer.prediction).all() and (answer.low < answer.high).all()
