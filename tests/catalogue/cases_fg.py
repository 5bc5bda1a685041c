"""F and G. Downloads, and the numerics of training."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import json
import socket

from catalogue.case import GOOD, Case, Make, Place, Said, csv, rows, text

SMALL = "--threads 1 --set hidden=8 --set importance=false"


def offline(place: Place) -> None:
    """No name is found."""

    def no_name(*arguments: object, **options: object) -> object:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    (place.path / "data").mkdir()
    place.patch.setattr(socket, "getaddrinfo", no_name)
    place.patch.setattr("time.sleep", lambda seconds: None)


def cache_is_a_file(place: Place) -> None:
    place.write("data", b"x")


def no_home(place: Place) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        place.patch.delenv(name, raising=False)
    place.write("t.csv", GOOD)


def nothing_learnt(place: Place, said: Said) -> None:
    """No model of numbers that are not finite is left behind."""
    assert not (place.path / "runs/t-1/model").exists()
    assert (place.path / "runs/t-1/run.toml").exists()


def strict_history(place: Place, said: Said) -> None:
    lines = (place.path / "runs/t-1/history.jsonl").read_text().splitlines()
    assert lines
    for one in lines:
        json.loads(one, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))


def guess() -> bytes:
    """Nothing here can be learnt."""
    import random

    chance = random.Random(5)
    lines = ["a,b,kind"]
    for _ in range(200):
        lines.append(f"{chance.gauss(0, 1):.3f},{chance.gauss(0, 1):.3f},{'yes' if chance.random() < 0.1 else 'no'}")
    return text(lines)


NUMBER: Make = csv(text(rows(kind="number")))

CASES = [
    Case("F1-no-network", offline, "fit mnist --data-dir data", 5, ["mnist", "cannot be fetched"], ["SHA-256"], left=["data/*"]),
    Case("F9-cache-cannot-be-made", cache_is_a_file, "fit mnist --data-dir data", 5, ["data"], ["--data-dir"]),
    Case("G9-batch-larger-than-data", csv(GOOD), f"fit t.csv --epochs 2 {SMALL} --set batch_size=4096", 0, ["batch_size 4,096", "39 is used"], fast=False),
    Case("G13-learning-rate-1e6", NUMBER, f"fit t.csv --epochs 30 --lr 1e12 --set optimizer=sgd --set schedule=constant {SMALL}", 6,
         ["update 2"], ["learning_rate"], left=["runs/*"], fast=False, after=nothing_learnt),
    Case("G14-patience-beyond-epochs", csv(GOOD), "fit t.csv --set patience=9", 0, ["patience"]),
    Case("G14-no-validation-rows", csv(GOOD), "fit t.csv --split 0.75,0,0.25", 0, ["no validation rows"]),
    Case("G14-patience-without-validation-rows", csv(GOOD), "fit t.csv --split 0.75,0,0.25 --set patience=1", 3,
         ["--split", "early stopping", "no rows"], ["share"]),
    Case("G16-require-baseline", csv(guess()), f"fit t.csv --epochs 1 --lr 1e-9 {SMALL} --require baseline", 7,
         ["--require baseline", "worse than the baseline"], ["report"], left=["runs/*"], fast=False),
    Case("G16-said-in-the-verdict", csv(guess()), f"fit t.csv --epochs 1 --lr 1e-9 {SMALL}", 0, ["worse than the baseline"], fast=False),
    Case("G17-zero-variance-in-training", csv(text([f"{old.rsplit(',', 1)[0]},{'spike' if i == 0 else 1 if i == 40 else 0},{old.rsplit(',', 1)[1]}"
         for i, old in enumerate(rows())])), "fit t.csv --use spike", 0, after=strict_history),
    Case("G19-minutes", csv(GOOD), f"fit t.csv --epochs 1000000 --minutes 0.005 {SMALL} --set patience=1000000", 0, ["--minutes"], fast=False),
    Case("I11-no-home", no_home, "fit t.csv", 0),
    Case("I12-clock-of-1970", lambda p: (p.write("t.csv", GOOD), p.patch.setattr("time.time", lambda: 5.0)), "fit t.csv", 0),
]  # fmt: skip
