"""H. Checkpoints and resume."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

from catalogue.case import GOOD, Case, Make, Place, Said, call, rows, text

RESUME = "fit --resume run"


def finished(place: Place) -> Path:
    """A run of ten epochs whose data lie beside it."""
    place.write("classes.csv", text(rows()))
    return place.run("classes")


def then(change: object) -> Make:
    return lambda place: (finished(place), change(place))  # type: ignore[operator]


def older(place: Place) -> None:
    """Two generations, the newest damaged."""
    run = finished(place)
    said = call(["fit", "--resume", "run", "--epochs", "3"])
    assert said.code == 0, said.err
    newest = sorted((run / "checkpoint").iterdir())[-1]
    state = newest / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def new_format(place: Place) -> None:
    from lamina.io import read_toml, write_toml

    path = finished(place) / "run.toml"
    card = read_toml(path, guarded=True)
    card["format"] = 99
    card["versions"]["lamina"] = "9.9.9"
    write_toml(path, card)


def other_versions(place: Place) -> None:
    from lamina.io import read_toml, write_toml

    path = finished(place) / "run.toml"
    card = read_toml(path, guarded=True)
    card["versions"]["torch"] = "2.12.0"
    write_toml(path, card)


def locked(place: Place) -> None:
    """A living process holds the run."""
    import filelock

    run = finished(place)
    lock = filelock.FileLock(run / ".lock", thread_local=False)
    lock.acquire()
    place.patch.setattr(place, "lock", lock, raising=False)
    (run / ".lock.owner").write_text(json.dumps({"pid": os.getpid(), "host": os.uname().nodename}))


def left_over(place: Place) -> None:
    """What a process that died two hours ago had half written, and what a stranger left."""
    from lamina.io.atomic import temporary_beside

    run = finished(place)
    name = temporary_beside(run / "report.json").name.replace(f".{os.getpid()}-", ".4199999-")
    for half in (run / name, run / ".mine.tmp"):
        half.write_text("x")
        long_ago = time.time() - 9_000
        os.utime(half, (long_ago, long_ago))


def swept(place: Place, said: Said) -> None:
    assert [entry.name for entry in (place.path / "run").glob(".*.tmp")] == [".mine.tmp"]


def cut_log(place: Place) -> None:
    log = place.path / "run/history.jsonl"
    log.write_bytes(log.read_bytes()[:-9])


def four_epochs(place: Place, said: Said) -> None:
    lines = (place.path / "run/history.jsonl").read_text().splitlines()
    assert [json.loads(line).get("epoch", json.loads(line).get("data", {}).get("epoch")) for line in lines] == [
        1,
        2,
        3,
        4,
    ]


CHANGED = ["run/*", "run/.lock*"]
NEW = ["run/*"]

CASES = [
    Case("H7-newest-generation-damaged", older, RESUME + " --epochs 4", 0, ["generation 2 is skipped"], left=NEW, changed=CHANGED,
         after=four_epochs, fast=False),
    Case("H7-all-damaged", then(lambda p: [f.write_bytes(b"x" + f.read_bytes()[1:]) for f in p.path.glob("run/checkpoint/*/state.json")]),
         RESUME + " --epochs 4", 4, ["run/checkpoint", "no generation is whole"], ["start a new run"], fast=False, changed=["run/run.toml"]),
    Case("H8-cut-card", then(lambda p: (p.path / "run/run.toml").write_bytes((p.path / "run/run.toml").read_bytes()[:-99])),
         RESUME, 4, ["run/run.toml"], ["copy"], fast=False),
    Case("H9-manifest-missing", then(lambda p: next(p.path.glob("run/checkpoint/*/manifest.json")).unlink()), RESUME + " --epochs 3", 4,
         ["manifest.json", "missing"], ["copy"], fast=False, changed=["run/run.toml"]),
    Case("H10-newer-format", new_format, RESUME, 4, ["run/run.toml", "99", "9.9.9"], ["version"], fast=False),
    Case("H11-left-over-temporary", left_over, RESUME + " --epochs 3", 0, left=NEW, changed=CHANGED, after=swept, fast=False),
    Case("H12-data-changed", then(lambda p: p.write("classes.csv", text(rows()[:-1]))), RESUME + " --epochs 3", 4,
         ["classes.csv", "have changed", "59 rows"], ["--allow-new-data"], fast=False),
    Case("H12-allowed", then(lambda p: p.write("classes.csv", text([*rows()[:-1], "1,1,red,yes"]))), RESUME + " --epochs 3 --allow-new-data", 0,
         ["have changed"], left=NEW, changed=CHANGED, fast=False),
    Case("H12-data-gone", then(lambda p: (p.path / "classes.csv").unlink()), RESUME + " --epochs 3", 2, ["classes.csv"], ["path"], fast=False),
    Case("H13-other-settings", finished, RESUME + " --epochs 3 --set hidden=9 --seed 4", 2, ["--resume", "hidden", "seed", "(8,) -> (9,)"],
         ["new run"], fast=False),
    Case("H14-other-torch", other_versions, RESUME + " --epochs 3", 0, ["torch", "2.12.0", "bits may differ"], left=NEW, changed=CHANGED, fast=False),
    Case("H15-finished-run", finished, RESUME, 0, ["nothing was left to train", "--epochs"], left=NEW, changed=CHANGED, fast=False),
    Case("H15-more-epochs", finished, RESUME + " --epochs 4", 0, left=NEW, changed=CHANGED, after=four_epochs, fast=False),
    Case("H16-still-running", locked, RESUME, 5, ["run: ", "in use by process", str(os.getpid())], ["wait"], fast=False),
    Case("H20-log-cut", then(cut_log), RESUME + " --epochs 4", 0, left=NEW, changed=CHANGED, after=four_epochs, fast=False),
    Case("H22-two-runs-at-once", lambda p: (p.write("t.csv", GOOD), (p.path / "runs/t-1").mkdir(parents=True)), "fit t.csv", 0,
         ["runs/t-2"]),
    Case("H26-checkpoints-deleted", then(lambda p: shutil.rmtree(p.path / "run/checkpoint")), RESUME + " --epochs 3", 0, ["checkpoint"],
         left=NEW, changed=CHANGED, fast=False),
]  # fmt: skip
