"""R4, J3 to J6, H7, H8: whole runs, each file damaged in turn; never silently wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from catalogue.case import Runs, call, rows, text
from lab.damage import damages
from lamina.errors import CheckpointError

EACH = 40
"""Damages of each file of the model: a few hundred in all for each kind of run."""


def answers(run: Path, kind: str) -> list[bytes]:
    from lamina.runs.predictor import Predictor

    predictor = Predictor.load(run)
    if kind == "pictures":
        data: object = np.arange(5 * 64, dtype=np.uint8).reshape(5, 1, 8, 8)
    else:
        data = {"height": [0.1, -2.0, 3.0], "weight": [1.0, 0.0, -1.0], "colour": ["red", "green", "blue"]}
    found = predictor.predict(data)
    return [
        np.asarray(v).tobytes()
        for one in found
        for v in (one.prediction.astype(str), one.probabilities, one.low, one.high)
        if v is not None
    ]


@pytest.mark.parametrize("kind", ["classes", "number", "pictures"])
def test_r4_damaged_models_are_refused(
    kind: str, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs.folder / kind, run)
    right = answers(run, kind)
    files = sorted((run / "model").iterdir())
    assert [file.name for file in files] == [
        "manifest.json",
        "model.json",
        "model.safetensors",
        "preparation.safetensors",
    ]
    tally, silent = {"refused": 0, "harmless": 0}, []
    for seed, file in enumerate(files):
        data = file.read_bytes()
        for what, damaged in damages(data, EACH, seed):
            if damaged == data:
                continue
            file.write_bytes(damaged)
            try:
                found = answers(run, kind)
            except CheckpointError as error:
                assert error.where, error
                assert error.mend, error
                tally["refused"] += 1
            else:
                tally["harmless"] += found == right
                silent += [f"{file.name}, {what}"] if found != right else []
        file.write_bytes(data)
        file.unlink()  # J3
        with pytest.raises(CheckpointError, match=file.name.replace(".", r"\.")):
            answers(run, kind)
        file.write_bytes(data)
    with capsys.disabled():
        print(
            f"\n  R4-{kind}: {sum(tally.values()) + len(silent)} damaged models: {tally}, {len(silent)} silent", end=""
        )
    assert not silent, silent
    assert answers(run, kind) == right


def outcome(run: Path) -> tuple[bytes, bytes]:
    return (run / "model/model.safetensors").read_bytes(), (run / "history.jsonl").read_bytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that was saved after every update; its last two generations are kept."""
    place = tmp_path_factory.mktemp("saved")
    (place / "classes.csv").write_bytes(text(rows()))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        words = [
            "--epochs",
            "3",
            "--threads",
            "1",
            "--set",
            "hidden=8",
            "--set",
            "dropout=0.3",
            "--set",
            "importance=false",
        ]
        said = call(["fit", "classes.csv", "--out", "run", "--set", "checkpoint_seconds=0", *words])
    assert said.code == 0, said.err
    return place


FILES = {
    "H7-newest-state": ("newest/state.safetensors", 0),
    "H7-newest-state.json": ("newest/state.json", 0),
    "H7-newest-manifest": ("newest/manifest.json", 0),
    "H7-older-state": ("older/state.safetensors", 0),
    "H8-card": ("run.toml", 4),
    "H20-history": ("history.jsonl", None),
    "H8-model": ("model/model.safetensors", 0),
}
"""Which file is damaged, and how a resume must end: 0 it goes on, 4 it is refused, None either."""


@pytest.mark.parametrize("name", FILES)
def test_resume_of_a_damaged_run(name: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is damaged, a resume ends with the very bits of the run that was not, or is refused with 4."""
    file, code = FILES[name]
    monkeypatch.chdir(tmp_path)
    shutil.copy(saved / "classes.csv", tmp_path)
    *_, older, newest = sorted(entry.name for entry in (saved / "run/checkpoint").iterdir())
    file = file.replace("newest/", f"checkpoint/{newest}/").replace("older/", f"checkpoint/{older}/")
    expected, data = outcome(saved / "run"), (saved / "run" / file).read_bytes()
    changes = [
        lambda path: path.unlink(),
        *(lambda path, bad=bad: path.write_bytes(bad) for _, bad in damages(data, 4, 7)),
    ]
    for change in changes:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(saved / "run", tmp_path / "run")
        change(tmp_path / "run" / file)
        said = call(["fit", "--resume", "run"])
        assert said.code in ({0, 4} if code is None else {code}), said.all
        assert "Traceback" not in said.all
        if said.code == 0:
            assert outcome(tmp_path / "run") == expected, said.all
            assert ("skipped" in said.all) == ("newest" in name), said.all
        else:
            assert len(said.error) == 2, said.all


@pytest.mark.parametrize("file", ["report.json", "run.toml"])
def test_report_of_a_damaged_run(file: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(runs.folder / "classes", run)
    data, page = (run / file).read_bytes(), (run / "report.html").read_bytes()
    for what, damaged in damages(data, 40, 3):
        if damaged == data:
            continue
        (run / file).write_bytes(damaged)
        said = call(["report", "run"])
        assert "Traceback" not in said.all
        if said.code == 0:
            assert (run / "report.html").read_bytes() == page, what
        else:
            assert said.code == 4, said.all
            assert len(said.error) == 2
            assert (run / "report.html").read_bytes() == page
