"""What the library offers against over-fitting is in the table, or the page says in a line why it is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lamina.io import read_records
from lamina.penalties.registry import PENALTIES
from lamina.recipes.recipe import Options, Results
from lamina.recipes.regularisation.contest import conclude, plan
from lamina.recipes.regularisation.regularisers import REGULARISERS
from lamina.recipes.regularisation.train import trial
from lamina.recipes.table import Table

ROOT = Path(__file__).parents[3]

ROWS = {
    "dropout": "dropout",
    "input_dropout": "dropout",
    "input_noise": "input noise",
    "hidden_noise": "hidden noise",
    "weight_noise": "weight noise",
    "multiplicative_noise": "multiplicative noise",
    "augmentation": "augmentation",
    "smoothing": "label smoothing",
    "label_noise": "label noise",
    "proximal": "L1, proximal",
    "norm_limit": "max-norm of each unit",
    "bag": "bagging, 5 networks",
    "hints": "hints: the digit's style",
    "pairs": "pairs of neighbours",
    "patience": "early stopping",
    "second_pass": "early stopping, then trained again",
    "tie_to_start": "soft tying to an autoencoder",
    "dropout_inference": "dropout, 50 sub-networks answer",
    "dropout_passes": "dropout, 50 sub-networks answer",
    "share": "hard sharing over places, first layer",
}
"""The settings beside the penalties, docs/regularisation.md, and a row that shows each."""


def section() -> str:
    page = (ROOT / "docs" / "reproduce.md").read_text("utf-8")
    return page.split("\n## regularisation\n")[1].split("\n## ")[0]


def reasons() -> set[str]:
    """The names in front of the colon of each line of the list "Not in the table"."""
    listed = section().split("Not in the table")[1].split("\n\n")[1]
    names: set[str] = set()
    for line in re.split(r"\n(?=- )", listed):
        before, colon, after = line.partition(": ")
        assert colon and after.strip().endswith("."), line
        names |= set(re.findall(r"`([^`]+)`", before))
    return names


def test_every_penalty_of_the_registry_is_at_work_in_a_row_or_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work: set[str] = set()

    def watch(name: str, kind: type[Any]) -> None:
        good = kind.__call__

        def noted(self: Any, *arguments: Any) -> Any:
            at_work.add(name)
            return good(self, *arguments)

        monkeypatch.setattr(kind, "__call__", noted)

    for name, kind in PENALTIES.items():
        watch(name, kind)
    for each in REGULARISERS:
        trial(name=each.name, setting=dict(each.candidates[0]), data="digits", size=128, steps=4, seed=1)
    assert at_work | (reasons() & set(PENALTIES)) == set(PENALTIES)
    assert not at_work & reasons()


def test_every_setting_against_over_fitting_has_a_row_or_a_reason() -> None:
    page = (ROOT / "docs" / "regularisation.md").read_text("utf-8")
    table = page.split("\nAnd beside the penalties:\n\n")[1].split("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    settings = {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}
    assert settings == set(ROWS) | (reasons() & settings)
    assert not set(ROWS) & reasons()
    assert set(ROWS.values()) <= {each.name for each in REGULARISERS}


def test_the_page_shows_the_table_of_the_kept_results() -> None:
    kept = ROOT / "benchmarks" / "results" / "regularisation"
    results = Results({str(one["job"]): one["result"] for one in read_records(kept / "results.jsonl")})
    options, facts = Options(seeds=5), {"data": "mnist", "sizes": [[1_000, 1_000], [10_000, 2_500]]}
    planned = plan(options, facts, results)
    assert planned.later_jobs == 0
    assert {job.key for job in planned.jobs} == set(results)
    (table,) = conclude(options, facts, results).tables
    assert isinstance(table, Table)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section().splitlines() if line[:1] == "|"]
    made = [line for line in table.to_markdown().splitlines() if line[:1] == "|"]
    assert cells == [[cell.strip() for cell in line.split("|")[1:-1]] for line in made]
