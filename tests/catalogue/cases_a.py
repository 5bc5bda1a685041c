"""A. Command line and configuration."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import os
import sys

import torch

from catalogue.case import GOOD, Case, Make, Place, Said, both, csv, file, nothing

GOOD_CSV = csv(GOOD)


def config(data: bytes | str) -> Make:
    return both(GOOD_CSV, file("c.toml", data))


def unreadable(place: Place) -> None:
    """As if the file belonged to somebody else; root may read everything, so the system is asked in vain."""
    place.write("t.csv", GOOD).chmod(0o200)
    before = os.access
    place.patch.setattr(os, "access", lambda path, mode: str(path) != "t.csv" and before(path, mode))


def without_gpu(place: Place) -> None:
    place.write("t.csv", GOOD)
    place.patch.setattr(torch.cuda, "is_available", lambda: False)


def without_tensorboard(place: Place) -> None:
    place.write("t.csv", GOOD)
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        place.patch.delitem(sys.modules, name)
    place.patch.setitem(sys.modules, "tensorboard", None)
    place.patch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)


def narrow(place: Place) -> None:
    place.write("t.csv", GOOD.replace(b"kind", "größe".encode()))
    place.patch.setenv("COLUMNS", "20")
    place.patch.setenv("TERM", "dumb")


def eight_lines(place: Place, said: Said) -> None:
    assert len(said.out.splitlines()) == 8
    assert sum(line.startswith("  lamina ") for line in said.out.splitlines()) == 3


def ascii_only(place: Place, said: Said) -> None:
    assert said.all.isascii()
    assert "gr\\xf6\\xdfe" in said.all


def ten_epochs(place: Place, said: Said) -> None:
    assert len((place.path / "runs/t-1/history.jsonl").read_text().splitlines()) == 10


def clean_folder(place: Place, said: Said) -> None:
    (found,) = (place.path / "runs").iterdir()
    assert found.name == "run-CON-1"


def second_number(place: Place, said: Said) -> None:
    assert (place.path / "runs/t-2/report.html").exists()


EPOCHS = "fit t.csv --threads 1 --set hidden=8 --set importance=false --epochs"

CASES = [
    Case("A1-no-arguments", nothing, "", 0, ["lamina fit", "lamina predict"], after=eight_lines),
    Case("A2-unknown-command", nothing, "fti t.csv", 2, ['"fti"', 'did you mean "fit"?'], ["lamina --help"], fast=False),
    Case("A3-unknown-option", GOOD_CSV, "fit t.csv --epoks 3", 2, ["--epoks", "did you mean --epochs?"], ["--help"]),
    Case("A3-prefix-of-two", GOOD_CSV, "fit t.csv --t 3", 2, ["--target", "--test", "not abbreviated"], ["--help"]),
    Case("A3-prefix-of-one", GOOD_CSV, "fit t.csv --epoch 3", 2, ["--epoch;", "--epochs", "not abbreviated"], ["--help"]),
    Case("A4-no-such-file", GOOD_CSV, "fit tt.csv", 2, ["tt.csv", "no such file", 'did you mean "t.csv"?'], ["path"]),
    Case("A4-no-such-test-file", GOOD_CSV, "fit t.csv --test tt.csv", 2, ["tt.csv", 'did you mean "t.csv"?'], ["path"]),
    Case("A4-no-such-run", GOOD_CSV, "predict runs/t-1 t.csv", 2, ["runs/t-1", "no such run"], ["lamina fit"]),
    Case("A5-folder-for-a-table", both(lambda p: p.run("classes"), file("d/a.txt", "x"), file("d/b.txt", "y")),
         "predict run d", 2, ["d is a folder", "a.txt, b.txt"], ["file"]),
    Case("A5-folder-for-a-config", both(GOOD_CSV, file("d/a.txt", "x")), "fit t.csv --config d", 2,
         ["d: ", "is a folder", "a.txt"], ["--config takes a file"]),
    Case("A5-folder-for-the-test-table", both(GOOD_CSV, file("d/a.txt", "x")), "fit t.csv --test d", 2,
         ["d is a folder", "a.txt"], ["file"]),
    Case("A5-file-for-a-run", GOOD_CSV, "report t.csv", 4, ["t.csv", "is a file"], ["lamina fit"]),
    Case("A5-file-for-the-run-folder", both(GOOD_CSV, file("out", "x")), "fit t.csv --out out", 2, ["out: ", "is a file"],
         ["--out"]),
    Case("A6-unreadable", unreadable, "fit t.csv", 5, ["t.csv", "owner", "mode --w-------"], ["chmod"]),
    Case("A7-epochs-0", GOOD_CSV, f"{EPOCHS} 0", 2, ["--epochs", "between 1 and", "got 0"], ["epochs"], fast=False),
    Case("A7-epochs-negative", GOOD_CSV, f"{EPOCHS} -3", 2, ["--epochs", "got -3"], ["epochs"], fast=False),
    Case("A7-epochs-word", GOOD_CSV, f"{EPOCHS} ten", 2, ["--epochs", "whole number", "'ten'"], ["epochs"], fast=False),
    Case("A7-epochs-1e1-is-10", GOOD_CSV, f"{EPOCHS} 1e1", 0, after=ten_epochs, fast=False),
    Case("A8-lr-nan", GOOD_CSV, "fit t.csv --lr nan", 2, ["--learning-rate", "nan"], ["learning_rate"]),
    Case("A8-lr-inf", GOOD_CSV, "fit t.csv --lr inf", 2, ["--learning-rate", "inf"], ["learning_rate"]),
    Case("A8-lr-0", GOOD_CSV, "fit t.csv --lr 0", 2, ["--learning-rate", "got 0"], ["learning_rate"]),
    Case("A8-lr-huge", GOOD_CSV, "fit t.csv --lr 50", 0, ["learning_rate 50", "unusually large"]),
    Case("A9-config-key", config("seed = 1\nlearning_rat = 0.1\n"), "fit t.csv --config c.toml", 2,
         ["c.toml line 2", '"learning_rat"', 'did you mean "learning_rate"?'], ["--settings"]),
    Case("A9-set-key", GOOD_CSV, "fit t.csv --set dropuot=0.1", 2, ["--set dropuot=0.1", '"dropout"'], ["--settings"]),
    Case("A10-config-type", config("# x\n\nbatch_size = 'many'\n"), "fit t.csv --config c.toml", 2,
         ["c.toml line 3", "whole number", "'many'"], ["batch_size"]),
    Case("A10-set-type", GOOD_CSV, "fit t.csv --set batch_size=1.5", 2, ["batch_size=1.5", "whole number"], ["batch_size"]),
    Case("A11-syntax", config("seed 1\n"), "fit t.csv --config c.toml", 2, ["c.toml line 1, column"], ["toml"]),
    Case("A11-bom", config(b"\xef\xbb\xbfseed = 1\n"), "fit t.csv --config c.toml", 2, ["c.toml line 1, column 1"],
         ["UTF-8"]),
    Case("A11-duplicate-key", config("seed = 1\nseed = 2\n"), "fit t.csv --config c.toml", 2, ["c.toml line 2, column"],
         ["toml"]),
    Case("A11-tab-in-a-string", config('model = "m\tlp\x01"\n'), "fit t.csv --config c.toml", 2, ["c.toml line 1, column"],
         ["toml"]),
    Case("A12-option-wins", config("epochs = 7\n"), "fit t.csv --config c.toml", 0, ["--epochs", "c.toml line 1", "epochs"]),
    Case("A13-word-of-elsewhere", config("batch = 32\n"), "fit t.csv --config c.toml", 2,
         ["c.toml line 1", '"batch"', '"batch_size"'], ["batch_size"]),
    Case("A14-group-and-time", csv(b"not even a table"), "fit t.csv --group a --time b", 2, ["group and time exclude"],
         ["--group", "--time"]),
    Case("A14-resume-and-out", lambda p: p.run("classes"), "fit --resume run --out x", 2, ["--resume", "--out", "exclude"],
         ["--out"], fast=False),
    Case("A14-twice-in-two-ways", GOOD_CSV, "fit t.csv --seed 1 --set seed=2", 2, ["--seed", "--set seed", "exclude"],
         ["one of"]),
    Case("A15-no-gpu", without_gpu, "fit t.csv --device cuda", 5, ["no cuda", "the CPU only"], ["--device auto"]),
    Case("A15-no-such-device", GOOD_CSV, "fit t.csv --device gpu9", 2, ["--device", '"gpu9"'], ["auto"]),
    Case("A16-missing-extra", without_tensorboard, "fit t.csv --set tensorboard=true", 5, ["tensorboard"],
         ["pip install"]),
    Case("A17-reserved-name", file("CON.csv", GOOD), "fit CON.csv", 0, after=clean_folder),
    Case("A17-long-name", file("x" * 200 + ".csv", GOOD), f"fit {'x' * 200}.csv", 0),
    Case("A17-out-too-long", GOOD_CSV, f"fit t.csv --out {'y' * 300}", 5, ["yyyy", "the name is too long"],
         ["shorter"]),
    Case("A18-next-number", both(GOOD_CSV, file("runs/t-1/mine.txt", "x")), "fit t.csv", 0, after=second_number),
    Case("A18-out-not-empty", both(GOOD_CSV, file("out/mine.txt", "x")), "fit t.csv --out out", 2, ["out: ", "mine.txt"],
         ["--overwrite"]),
    Case("A18-overwrite-what-is-no-run", both(GOOD_CSV, file("out/mine.txt", "x")), "fit t.csv --out out --overwrite", 2,
         ["out: ", "no run"], ["--out"]),
    Case("A18-refused-before-the-run-is-replaced", both(GOOD_CSV, lambda p: p.run("classes")),
         "fit t.csv --target nix --out run --overwrite", 2, ['"nix"'], ["kind"]),
    Case("A18-predictions-exist", both(lambda p: p.run("classes"), GOOD_CSV, file("o.csv", "mine")),
         "predict run t.csv -o o.csv", 2, ["o.csv", "exists"], ["--overwrite"]),
    Case("A20-empty-stdin", nothing, "fit -", 3, ["no rows on standard input"], ["pipe a table"], stdin=b""),
    Case("A20-stdin-is-read", nothing, "fit - --target kind", 0, ["60 rows"], stdin=GOOD),
    Case("A21-narrow-dumb-ascii", narrow, "fit t.csv", 0, encoding="ascii", after=ascii_only),
    Case("A22-not-utf-8", nothing, ["fit", "caf\udce9.csv"], 2, ["caf\\udce9.csv"], ["path"]),
    Case("A22-not-utf-8-there", lambda p: p.write("caf\udce9.csv", GOOD), ["fit", "caf\udce9.csv"], 0, ["caf\\udce9.csv"]),
    Case("A22-escapes", nothing, ["fit", "a\x1b]0;x\x07.csv"], 2, ["\\x1b]0;x\\x07"], ["path"]),
]  # fmt: skip
