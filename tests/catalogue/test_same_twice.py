"""R6 and R15: the same command twice gives the same bits; a clean run warns of nothing and says nothing unexpected."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalogue.case import Place, Runs, call, rows, text

OPTIONS = ["--epochs", "4", "--threads", "1", "--set", "hidden=16"]
TIMES = {"started", "seconds", "name", "command"}


def report(run: Path) -> dict[str, object]:
    """The report's facts without what tells one call from another."""
    facts = json.loads((run / "report.json").read_text())
    facts.pop("sha256", None)
    card = facts.get("content", facts)["run"]
    for name in TIMES:
        card.pop(name)
    return dict(facts)


@pytest.mark.parametrize("kind", ["classes", "number", "pictures"])
def test_r6_same_command_twice(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path, Runs(tmp_path), monkeypatch)
    if kind == "pictures":
        place.photos("data")
        words = ["fit", "data", "--epochs", "2", "--threads", "1", "--set", "width=4"]
    else:
        place.write("data.csv", text(rows(kind=kind)))
        words = ["fit", "data.csv", *OPTIONS]
    for _ in range(2):
        said = call(words)
        assert said.code == 0, said.err
    first, second = (tmp_path / "runs" / f"data-{i}" for i in (1, 2))
    for name in ("model/model.safetensors", "model/preparation.safetensors", "history.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert report(first) == report(second)
    pages = [
        re.sub(
            r"data-[12]|\d\d\d\d-\d\d-\d\dT[^<\"]*|<data value=[^>]*>[^<]*</data>",
            "",
            (run / "report.html").read_text(),
        )
        for run in (first, second)
    ]
    assert len(pages[0]) > 1000
    pages = [re.sub(r"\d+(\.\d+)?\s*(ms|s|min)\b", "", page) for page in pages]
    assert pages[0] == pages[1]


def test_another_seed_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Place(tmp_path, Runs(tmp_path), monkeypatch).write("data.csv", text(rows()))
    for seed in ("0", "1"):
        assert call(["fit", "data.csv", *OPTIONS, "--seed", seed]).code == 0
    first, second = (tmp_path / "runs" / f"data-{i}" / "model/model.safetensors" for i in (1, 2))
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.slow
def test_r15_clean_data_with_defaults(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(text(rows(400)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "random", "PYTHONDEVMODE": ""}
    run = [sys.executable, "-W", "error", "-c", "import sys; from lamina.cli.main import main; sys.exit(main())"]
    done = subprocess.run(
        [*run, "fit", "data.csv", "--threads", "1", "--epochs", "20"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    known = re.compile(
        r"lamina 0|reading data\.csv|run: runs/data-1|  predict |  use |  split |$|baselines on |"
        r"  always |  logistic |  gradient |"
        r"training mlp|  epoch |  working|test |diagnosis |report |model |next |           against |"
        r"training   best epoch|           then a second pass"
    )
    strange = [line for line in [*done.stderr.splitlines(), *done.stdout.splitlines()] if not known.match(line)]
    assert not strange, strange
    for words in (
        ["predict", "runs/data-1", "data.csv", "-o", "o.csv", "--quiet"],
        ["evaluate", "runs/data-1", "data.csv", "--quiet"],
        ["report", "runs/data-1", "--quiet"],
    ):
        done = subprocess.run(
            [*run, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", done.stderr
