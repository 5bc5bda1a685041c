"""The entrance: an exit code for every kind of error, a place for a bug's traceback, quiet at pipes and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lamina import errors
from lamina.cli.main import main
from lamina.runs.settings import Settings

LAMINA = [sys.executable, "-m", "lamina"]


@dataclass(frozen=True)
class FakeResult:
    """What the fitting workflow returns."""

    folder: Path
    scores: dict[str, Any]
    report: Path
    seconds: float
    stopped: str | None
    diagnosis: str = "good"


class FakeFit:
    """Stands for the fitting workflow: records how it was called, shows a little, and returns or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.source, self.given = "", dict[str, Any]()

    def __call__(self, source: str, **given: Any) -> FakeResult:
        self.source, self.given = source, given
        display = given["display"]
        Path("runs/x-1").mkdir(parents=True, exist_ok=True)
        display.started("runs/x-1", given["settings"].seed, "cpu", 1)
        if self.error is not None:
            raise self.error
        display.line("test", "accuracy 0.9")
        return FakeResult(
            Path("runs/x-1"), {"accuracy": 0.9, "auc": float("nan")}, Path("runs/x-1/report.html"), 1.0, None
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeFit:
    """Put a stand-in where the command looks for the workflow."""
    monkeypatch.chdir(tmp_path)
    stand_in = FakeFit()
    module = types.ModuleType("lamina.workflows.fit")
    module.fit = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lamina.workflows.fit", module)
    return stand_in


KINDS: list[tuple[BaseException, int]] = [
    (errors.ConfigError("x", where="y", mend="z"), 2),
    (errors.DataError("x", where="y", mend="z"), 3),
    (errors.CheckpointError("x", where="y", mend="z"), 4),
    (errors.MachineError("x", where="y", mend="z"), 5),
    (errors.MissingExtra("x", where="y", mend="z"), 5),
    (errors.DivergedError("x", where="y", mend="z"), 6),
    (errors.CheckNotMet("x", where="y", mend="z"), 7),
    (errors.Interrupted(signal.SIGINT, "x", where="y", mend="z"), 130),
    (errors.Interrupted(signal.SIGTERM, "x", where="y", mend="z"), 143),
    (KeyboardInterrupt(), 130),
    (MemoryError(), 5),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), 5),
    (ModuleNotFoundError("No module named 'torch'", name="torch"), 5),
    (ImportError("cannot import name 'x' from 'torch'", name="torch"), 5),
    (ModuleNotFoundError("No module named 'lamina.x'", name="lamina.x"), 1),
    (RuntimeError("boom"), 1),
    (BrokenPipeError(), 0),
]


@pytest.mark.parametrize(("error", "code"), KINDS, ids=lambda value: repr(value)[:40])
def test_exit_code_of_every_kind(
    error: BaseException, code: int, fake: FakeFit, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.error = error
    assert main(["fit", "iris"]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    if isinstance(error, errors.LaminaError):
        assert err.splitlines()[-2:] == ["lamina: y: x", "  mend  z"]


def test_a_bug_is_three_lines_and_leaves_its_traceback_in_the_run_folder(
    fake: FakeFit, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.error = RuntimeError("boom \x1b[31m")
    assert main(["fit", "iris"]) == 1
    lines = capsys.readouterr().err.splitlines()[-3:]
    assert lines[0] == "lamina: a bug in lamina, not in your data: RuntimeError: boom \\x1b[31m"
    assert lines[1] == "  run   runs/x-1"
    assert "runs/x-1/error.txt" in lines[2]
    kept = Path("runs/x-1/error.txt").read_text()
    assert kept.startswith("Traceback")
    assert "boom" in kept


def test_debug_keeps_the_traceback_of_a_refusal_too(fake: FakeFit, capsys: pytest.CaptureFixture[str]) -> None:
    fake.error = errors.DataError("x", where="y", mend="z")
    assert main(["fit", "iris", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err
    assert Path("runs/x-1/error.txt").read_text().startswith("Traceback")


def test_fit_hands_on_what_was_typed(fake: FakeFit, capsys: pytest.CaptureFixture[str]) -> None:
    Path("test.csv").write_text("a\n")
    words = [
        "fit",
        "iris",
        "--target",
        "a",
        "--target",
        "b",
        "--seed",
        "3",
        "--set",
        "hidden=8,8",
        "--test",
        "test.csv",
    ]
    assert main([*words, "--out", "here", "--overwrite", "--data-dir", "d", "--no-header"]) == 0
    given = fake.given
    assert fake.source == "iris"
    assert list(given["targets"]) == ["a", "b"]
    assert given["settings"] == Settings(seed=3, hidden=(8, 8), header=False)
    assert (given["test"], given["out"], given["overwrite"], given["data_dir"]) == ("test.csv", "here", True, "d")
    assert (given["resume"], given["allow_new_data"]) == (None, False)
    out, err = capsys.readouterr()
    assert out == "test       accuracy 0.9\n"
    assert err.startswith("lamina 0.1.0  fit iris\n")


def test_fit_json_is_one_strict_object(fake: FakeFit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "iris", "--json"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert json.loads(out, parse_constant=pytest.fail) == {
        "run": "runs/x-1",
        "report": "runs/x-1/report.html",
        "scores": {"accuracy": 0.9, "auc": None},
        "seconds": 1.0,
        "stopped": None,
        "diagnosis": "good",
    }


def test_fit_quiet_prints_results_only(fake: FakeFit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "iris", "--quiet"]) == 0
    assert capsys.readouterr() == ("test       accuracy 0.9\n", "")


@pytest.mark.parametrize(
    "words", [["data", "list"], ["canon"], ["fit", "--help"], ["fit", "--settings"]], ids=lambda words: " ".join(words)
)
def test_A19_stdout_closed_is_quiet(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*LAMINA, *words], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == b""


def test_I3_ctrl_c_while_importing(tmp_path: Path) -> None:
    """A table that takes no reading at all: the signal falls into the import of the heavy libraries."""
    (tmp_path / "a.csv").write_text("a,b\n" * 50)
    process = subprocess.Popen(
        [*LAMINA, "fit", "a.csv"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_completion_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        assert "_LAMINA_COMPLETE" in capsys.readouterr().out


def test_completion_completes() -> None:
    environment = {
        **os.environ,
        "_LAMINA_COMPLETE": "bash_complete",
        "COMP_WORDS": "lamina fit --ep",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(LAMINA, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,--epochs"]


def test_S13_a_message_is_one_printable_line_whatever_is_in_it(
    fake: FakeFit, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.error = errors.DataError("a\x1b[31m\nb\u202e", where="c\rd", mend="e\x07\nf")
    assert main(["fit", "iris"]) == 3
    assert capsys.readouterr().err.splitlines()[-2:] == ["lamina: c\\rd: a\\x1b[31m\\nb\\u202e", "  mend  e\\x07\\nf"]
