"""``lamina reproduce``: the list, tables on stdout, one JSON object, and going on after SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamina.cli.main import main
from lamina.recipes.catalogue import ENTRIES

LAMINA = [sys.executable, "-m", "lamina"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_without_a_name_the_recipes_are_listed_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    script = "import sys; from lamina.cli.main import main; main(['reproduce']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    *lines, torch_is_there = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in ENTRIES]
    assert torch_is_there == "False"
    assert list(tmp_path.iterdir()) == []


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["recipes"]] == [e.name for e in ENTRIES]


def test_a_wrong_name_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "regularization"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[0].endswith('there is no recipe "regularization"; did you mean "regularisation"?')
    assert error[1].startswith("  mend  give one of xor, parity,")


def test_quick_xor_prints_tables_and_then_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", "xor", "--quick", "--seeds", "1", "--out", "x"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "| hand-wired, sum        | 2-2-1 | 0    | 1    | 1    | 0    |" in shown.out
    assert "smaller form (--quick)" in shown.out
    assert f"figure     {Path('x') / 'starts.png'}" in shown.out
    assert len(shown.err.splitlines()) == 2  # quiet where nobody watches: what runs, and where
    assert main([*words, "--json", "--quiet"]) == 0
    again = capsys.readouterr()
    assert again.err == ""
    content = json.loads(again.out)
    assert content["folder"] == "x"
    assert content["quick"] is True
    assert all(check["met"] for check in content["checks"])
    assert len(content["tables"]) == 2


def test_a_check_that_is_not_met_ends_with_7_and_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lamina.recipes import xor

    good = xor.train_many
    monkeypatch.setattr(xor, "train_many", lambda *a, **k: good(*a, **{**k, "rate": 0.0}))
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "xor", "--quick", "--seeds", "1", "--out", "x"]) == 7
    shown = capsys.readouterr()
    assert "DOES NOT HOLD: 2-12-1 does so from more starts than 2-2-1" in shown.out
    assert "lamina: xor: does not hold:" in shown.err
    assert Path("x/table.md").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_killed_at_work_and_resumed_it_gives_the_same_tables(number: int, code: int, tmp_path: Path) -> None:
    words = ["reproduce", "xor", "--quick", "--seeds", "2", "--quiet"]
    whole = subprocess.run([*LAMINA, *words, "--out", "whole", "--json"], cwd=tmp_path, env=ENVIRONMENT,
                           capture_output=True, text=True, check=True)  # fmt: skip
    running = subprocess.Popen([*LAMINA, *words, "--out", "cut"], cwd=tmp_path, env=ENVIRONMENT,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    log = tmp_path / "cut" / "results.jsonl"
    until = time.monotonic() + 120
    while (not log.exists() or log.read_bytes().count(b"\n") < 7) and time.monotonic() < until:
        time.sleep(0.01)
    running.send_signal(number)
    _, error = running.communicate(timeout=60)
    assert running.returncode == code, error
    done = log.read_bytes().count(b"\n")
    assert 6 <= done < 14  # a signal while a line is written takes the line back
    if code > 0:
        assert "go on with: lamina reproduce xor --resume cut" in error
    resumed = subprocess.run([*LAMINA, "reproduce", "--resume", "cut", "--json", "--quiet"], cwd=tmp_path,
                             env=ENVIRONMENT, capture_output=True, text=True, check=True)  # fmt: skip
    one, two = json.loads(whole.stdout), json.loads(resumed.stdout)
    assert one["tables"] == two["tables"]
    assert one["checks"] == two["checks"]
    assert log.read_bytes().count(b"\n") == 14
