"""Facts to strict JSON and back; whatever does not fit is refused with its place."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lamina.errors import CheckpointError
from lamina.methodology.score import Score
from lamina.report.facts import FitFacts, Mistake, ScoreRow, TargetFacts
from report.demo_facts import diabetes, digits, history


@pytest.mark.parametrize("make", [digits, diabetes])
def test_there_and_back(make: Any) -> None:
    facts = make()
    text = json.dumps(facts.to_json(), allow_nan=False)  # K10: strict
    again = FitFacts.from_json(text)
    assert again == replace(facts, run=again.run) and again.to_json() == facts.to_json()


def test_k3_k10_what_is_not_finite_is_null() -> None:
    row = ScoreRow("ours", "test", True, {"auc": Score(float("nan"), reason="only one class")})
    bad = TargetFacts(replace(digits().targets[0]).target, "auc", (row,))
    records = ({"epoch": 1, "loss": float("inf"), "valid_loss": np.float32("nan"), "steps": np.int64(3)},)
    facts = replace(digits(), targets=(bad,), history=records)
    encoded = facts.to_json()
    assert encoded["targets"][0]["scores"][0]["scores"]["auc"] == {
        "value": None, "low": None, "high": None, "higher_is_better": True, "unit": "", "reason": "only one class",
    }  # fmt: skip
    assert encoded["history"] == [{"epoch": 1, "loss": None, "valid_loss": None, "steps": 3}]
    json.dumps(encoded, allow_nan=False)


def _set(value: dict[str, Any], path: list[Any], new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    if new is KeyError:
        del value[path[-1]]
    else:
        value[path[-1]] = new


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (["layout"], 99, "version 99"),
        (["layout"], KeyError, "version None"),
        (["run"], [], "report.json.run: must be dict"),
        (["run", "state"], "done", "report.json.run.state: must be one of finished"),
        (["run", "seed"], 1.5, "report.json.run.seed: must be int"),
        (["run", "seed"], True, "report.json.run.seed: must be int"),
        (["run", "epochs"], KeyError, 'report.json.run: lacks "epochs"'),
        (["run", "more"], 1, 'unknown entry "more"'),
        (["targets", 0, "classes", "n"], "7", "report.json.targets[0].classes.n: must be int"),
        (["targets", 0, "classes", "rows", 3, "f1"], "x", "rows[3].f1: must be float"),
        (["targets", 0, "mistakes", 0, "image"], '"><script>', "not base64"),
        (["history"], {}, "report.json.history: must be list"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(path: list[Any], new: Any, said: str) -> None:
    value = copy.deepcopy(digits().to_json())
    _set(value, path, new)
    with pytest.raises(CheckpointError) as caught:
        FitFacts.from_json(value)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"layout": NaN}', "[" * 100_000])
def test_what_is_not_strict_json_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        FitFacts.from_json(text)


def test_s24_without_examples_neither_page_nor_data_hold_them() -> None:
    facts = replace(digits(), examples=False)
    assert all(not target.mistakes for target in facts.targets)
    assert digits().targets[0].mistakes
    assert digits().targets[0].mistakes[0].image not in json.dumps(facts.to_json())


def test_parts_have_one_name_each() -> None:
    assert ScoreRow("a", "valid", True, {}).part == "validation"
    assert digits().targets[0].row("train") is digits().targets[0].row("training") is not None
    assert digits().targets[0].decisive == "test" and len(history(5)) == 5


def test_an_image_that_is_no_base64_is_refused() -> None:
    with pytest.raises(CheckpointError):
        Mistake("a", "b", "c", image="javascript:alert(1)")
