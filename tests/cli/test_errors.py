"""The catalogue of wrong commands: one line that names the place, one with the mend, the right exit code."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lamina.cli.main import main

# id, words, exit code, what stderr must say (all of it)
WRONG: list[tuple[str, list[str], int, list[str]]] = [
    ("A2-unknown-command", ["fti"], 2, ['"fti"', 'did you mean "fit"?']),
    ("A2-unknown-subcommand", ["data", "lst"], 2, ['"lst"', 'did you mean "list"?']),
    ("A3-unknown-option", ["fit", "iris", "--epocs", "3"], 2, ["--epocs", "did you mean --epochs?"]),
    ("A3-prefix-of-one", ["fit", "iris", "--epoch", "3"], 2, ["--epoch;", "did you mean --epochs?", "not abbreviated"]),
    ("A3-prefix-of-two", ["fit", "iris", "--t", "3"], 2, ["--target or --test", "not abbreviated"]),
    ("A3-nothing-near", ["fit", "iris", "--zzz"], 2, ["there is no option --zzz"]),
    ("A3-missing-value", ["fit", "iris", "--epochs"], 2, ["--epochs", "needs a value"]),
    ("A3-extra-argument", ["fit", "iris", "wine"], 2, ["takes no further argument", "wine"]),
    ("A3-key-value-argument", ["fit", "iris", "epochs=3"], 2, ["--set epochs=3"]),
    ("A4-no-such-file", ["fit", "chrn.csv"], 2, ["chrn.csv", "no such file", 'did you mean "churn.csv"?']),
    ("A4-no-such-name", ["fit", "irs"], 2, ["irs", 'did you mean "iris"?']),
    ("A4-no-such-test-file", ["fit", "iris", "--test", "chrn.csv"], 2, ["chrn.csv", 'did you mean "churn.csv"?']),
    ("A4-no-such-run", ["predict", "runs/x", "churn.csv"], 2, ["runs/x", "no such run"]),
    ("A4-no-such-input", ["evaluate", "folder", "chrn.csv"], 2, ["chrn.csv", "no such file"]),
    ("A4-nul-in-the-name", ["fit", "a\0b.csv"], 2, ["\\x00", "no such file"]),
    ("A4-missing-source", ["fit"], 2, ["SOURCE is missing"]),
    ("A4-missing-run", ["predict"], 2, ["argument RUN is missing"]),
    ("A5-file-for-a-run", ["report", "churn.csv"], 4, ["churn.csv", "is a file, not a lamina folder"]),
    ("A5-folder-for-a-config", ["fit", "iris", "--config", "folder"], 2, ["folder", "is a folder", "it holds inside"]),
    ("A7-epochs-zero", ["fit", "iris", "--epochs", "0"], 2, ["--epochs", "got 0"]),
    ("A7-epochs-negative", ["fit", "iris", "--epochs", "-3"], 2, ["--epochs", "got -3"]),
    ("A7-epochs-word", ["fit", "iris", "--epochs", "ten"], 2, ["--epochs", "whole number", "'ten'"]),
    ("A7-epochs-fraction", ["fit", "iris", "--epochs", "1.5"], 2, ["--epochs", "whole number", "'1.5'"]),
    ("A8-lr-nan", ["fit", "iris", "--lr", "nan"], 2, ["--learning-rate", "nan"]),
    ("A8-lr-inf", ["fit", "iris", "--lr", "inf"], 2, ["--learning-rate", "inf"]),
    ("A8-lr-zero", ["fit", "iris", "--lr", "0"], 2, ["--learning-rate", "got 0"]),
    ("A9-config-key", ["fit", "iris", "--config", "key.toml"], 2, ["key.toml line 2", 'did you mean "learning_rate"?']),
    ("A9-config-table", ["fit", "iris", "--config", "table.toml"], 2, ["table.toml line 1", "[train"]),
    ("A9-set-key", ["fit", "iris", "--set", "dropuot=0.1"], 2, ["--set dropuot=0.1", 'did you mean "dropout"?']),
    ("A9-set-without-value", ["fit", "iris", "--set", "dropout"], 2, ["--set dropout", "key=value"]),
    ("A10-config-type", ["fit", "iris", "--config", "type.toml"], 2, ["type.toml line 3", "whole number", "'many'"]),
    ("A10-config-range", ["fit", "iris", "--config", "range.toml"], 2, ["range.toml line 1", "0.95", "got 2"]),
    ("A11-config-syntax", ["fit", "iris", "--config", "syntax.toml"], 2, ["syntax.toml line 1, column"]),
    ("A11-config-bom", ["fit", "iris", "--config", "bom.toml"], 2, ["bom.toml line 1, column 1", "byte order mark"]),
    ("A11-config-twice", ["fit", "iris", "--config", "twice.toml"], 2, ["twice.toml line 2"]),
    ("A13-other-word", ["fit", "iris", "--set", "lr=0.1"], 2, ['"lr"', 'called "learning_rate"']),
    ("A13-other-word-in-config", ["fit", "iris", "--config", "old.toml"], 2, ["old.toml line 1", '"batch_size"']),
    ("A14-group-and-time", ["fit", "iris", "--group", "a", "--time", "b"], 2, ["--group", "--time", "exclude"]),
    ("A14-resume-and-out", ["fit", "--resume", "folder", "--out", "x"], 2, ["--resume and --out exclude"]),
    ("A14-twice-in-two-ways", ["fit", "iris", "--seed", "1", "--set", "seed=2"], 2, ["--seed and --set seed exclude"]),
    ("A22-not-utf8", ["fit", "caf\udce9.csv"], 2, ["caf\\udce9.csv", "no such file"]),
    ("txt-not-yet", ["fit", "corpus.txt"], 2, ["corpus.txt", "cannot fit a text file yet"]),
    ("split-two-shares", ["fit", "iris", "--split", "0.5,0.5"], 2, ["--split", "three shares"]),
    ("canon-unknown", ["canon", "rleu"], 2, ["rleu", 'did you mean "relu"?']),
    ("completion-unknown", ["completion", "bsh"], 2, ["bsh", 'did you mean "bash"?']),
    ("demo-unknown", ["demo", "dgits"], 2, ["dgits", 'did you mean "digits"?']),
    ("control-characters", ["fit", "a\x1b]0;x\x07.csv"], 2, ["\\x1b]0;x\\x07"]),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with some files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "churn.csv").write_text("a,b\n1,2\n")
    (tmp_path / "corpus.txt").write_text("text\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("")
    (tmp_path / "key.toml").write_text("seed = 1\nlearning_rat = 0.1\n")
    (tmp_path / "table.toml").write_text("[train]\nseed = 1\n")
    (tmp_path / "type.toml").write_text("# settings\n\nepochs = 'many'\n")
    (tmp_path / "range.toml").write_text("dropout = 2\n")
    (tmp_path / "syntax.toml").write_text("seed 1\n")
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfseed = 1\n")
    (tmp_path / "twice.toml").write_text("seed = 1\nseed = 2\n")
    (tmp_path / "old.toml").write_text("batch = 32\n")


@pytest.mark.parametrize(("words", "code", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_command_catalogue(words: list[str], code: int, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith(("lamina 0", "run:"))]
    assert 1 <= len(lines) <= 2, err
    assert lines[0].startswith("lamina: ")
    assert not lines[0].endswith(".")
    assert len(lines) == 2, f"no mend: {err}"
    assert lines[1].startswith("  mend  ")
    for words_ in said:
        assert words_ in err
    assert "Traceback" not in err
    assert all(c.isprintable() or c == "\n" for c in err)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_command_catalogue_A6_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "churn.csv").chmod(0)
    assert main(["fit", "churn.csv"]) == 5
    assert "mode ----------" in capsys.readouterr().err


def test_command_catalogue_A6_names_owner_and_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "churn.csv").chmod(0o200)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["fit", "churn.csv"]) == 5
    err = capsys.readouterr().err
    assert stat.filemode(0o100200) in err
    assert "owner " in err


def test_A1_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 8
    assert sum(line.startswith("  lamina ") for line in out.splitlines()) == 3


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "nowhere.csv", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "lamina: nowhere.csv" in err
