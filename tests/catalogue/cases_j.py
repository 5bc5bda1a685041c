"""J. Load and predict."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import csv as reader
import json
import math
import os
import pickle
import struct
from collections.abc import Callable

from catalogue.case import GOOD, Case, Make, Place, Said, call, column, rows, text

PREDICT = "predict run n.csv -o o.csv"
OUT = ["o.csv", "p*.csv"]


def ready(place: Place) -> None:
    place.run("classes")
    place.write("n.csv", GOOD)


def then(change: Callable[[Place], object]) -> Make:
    return lambda place: (ready(place), change(place))


def without(name: str) -> Make:
    return then(lambda place: (place.path / "run" / name).unlink())


def rewritten(change: Callable[[dict], object]) -> Make:
    """The model's description changed by somebody who knows the format: every hash agrees."""

    def make(place: Place) -> None:
        from lamina.io import read_generation, write_generation
        from lamina.io.strict_json import guarded_bytes, parse_guarded

        folder = place.path / "run/model"
        generation = read_generation(folder)
        card = parse_guarded(generation.files["model.json"], "lamina model", 1, "x")
        change(card)
        files = {**generation.files, "model.json": guarded_bytes(card, "lamina model")}
        write_generation(folder.parent, folder.name, files, {"kind": "lamina model"})

    return then(make)


def weights(change: Callable[[bytes], bytes]) -> Make:
    def make(place: Place) -> None:
        from lamina.io import read_generation, write_generation

        folder = place.path / "run/model"
        files = dict(read_generation(folder).files)
        files["model.safetensors"] = change(files["model.safetensors"])
        write_generation(folder.parent, folder.name, files, {"kind": "lamina model"})

    return then(make)


def header(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        (size,) = struct.unpack("<Q", data[:8])
        content = json.loads(data[8 : 8 + size])
        change(content)
        new = json.dumps(content).encode()
        return struct.pack("<Q", len(new)) + new + data[8 + size :]

    return changed


def first(content: dict) -> dict:
    return content[sorted(name for name in content if name != "__metadata__")[0]]


class Trap:
    """Unpickling it would leave a trace."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("it-ran",)


def foreign(name: str, data: bytes | None = None) -> Make:
    return then(lambda place: place.write(name, pickle.dumps(Trap()) if data is None else data))


def did_not_run(place: Place, said: Said) -> None:
    assert not (place.path / "it-ran").exists()


def table(place: Place, name: str = "o.csv") -> list[dict[str, str]]:
    with (place.path / name).open(newline="") as stream:
        return list(reader.DictReader(stream))


def probabilities(place: Place, said: Said) -> None:
    found = table(place)
    assert len(found) == 60
    for row in found:
        p = [float(row["p_no"]), float(row["p_yes"])]
        assert all(0 <= value <= 1 for value in p)
        assert math.isclose(sum(p), 1, abs_tol=1e-6)
        assert row["prediction"] == ("no", "yes")[p[1] > p[0]]


def batches(place: Place, said: Said) -> None:
    """The same row among 1, 7 and 60 rows."""
    lines = rows()
    for n in (1, 7):
        place.write("n.csv", text(lines[: n + 1]))
        assert call(["predict", "run", "n.csv", "-o", f"p{n}.csv"]).code == 0
        for few, all_ in zip(table(place, f"p{n}.csv"), table(place), strict=False):
            assert few["prediction"] == all_["prediction"]
            assert math.isclose(float(few["p_yes"]), float(all_["p_yes"]), abs_tol=1e-6)


def no_formula(place: Place, said: Said) -> None:
    assert {row["note"] for row in table(place)} == {"'=1+1", "'@x", "plain", "'-cmd"}
    assert all(not row["height"].startswith("'") for row in table(place))


def moved(place: Place) -> None:
    ready(place)
    os.rename(place.path / "run", place.path / "run moved 猫")


def crash(place: Place) -> None:
    """The disk is full when the output is written."""
    import errno

    from lamina.io import filesystem

    ready(place)
    before = type(filesystem.active)

    class Full(before):  # type: ignore[valid-type, misc]
        def write(self, *arguments: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.patch.setattr(filesystem, "active", Full())


MODEL_FILES = ("manifest.json", "model.json", "model.safetensors", "preparation.safetensors")
PARTS = ("model", "likelihood", "targets", "preparation")

CASES = [
    Case("J1-no-run", then(lambda p: p.write("d/x.txt", b"x")), "predict d n.csv -o o.csv", 4, ["d: ", "is not a lamina folder", "x.txt"], ["lamina fit"]),
    Case("J1-evaluate-no-run", then(lambda p: p.write("d/x.txt", b"x")), "evaluate d n.csv", 4, ["d: ", "is not a lamina folder"], ["lamina fit"]),
    Case("J1-report-no-run", then(lambda p: p.write("d/x.txt", b"x")), "report d", 4, ["d: ", "is not a lamina folder"], ["lamina fit"]),
    Case("J2-moved", moved, ["predict", "run moved 猫", "n.csv", "-o", "o.csv"], 0, left=OUT),
    *(Case(f"J3-without-{name}", without(f"model/{name}"), PREDICT, 4, ["run/model", name], ["copy"]) for name in MODEL_FILES[1:]),
    Case("J3-without-manifest.json", without("model/manifest.json"), PREDICT, 4, ["run/model", "manifest.json"], ["lamina fit"]),
    Case("J3-without-model", then(lambda p: __import__("shutil").rmtree(p.path / "run/model")), PREDICT, 4, ["run: ", "no model"], ["lamina fit --resume run"]),
    Case("J3-without-report.json", without("report.json"), "report run", 4, ["run", "report.json"], ["lamina fit --resume run"]),
    Case("J3-without-run.toml", without("run.toml"), "report run", 4, ["run", "run.toml"], ["lamina fit"]),
    *(Case(f"J4-{part}-{word}", rewritten(lambda card, part=part, value=value: card.update({part: value})), PREDICT, 4,
           ["run/model/model.json"], ["copy"])
      for part in PARTS for word, value in (("text", "x"), ("number", 10**30), ("null", None))),
    Case("J4-deep", then(lambda p: (p.path / "run/model/manifest.json").write_text('{"a":' * 5000 + "1" + "}" * 5000)), PREDICT, 4,
         ["manifest.json"], ["copy"]),
    Case("J4-dotted-name", rewritten(lambda card: card["model"].update(name="os.system")), PREDICT, 4, ["run/model/model.json", "os.system"], ["copy"]),
    Case("J4-huge-layer", rewritten(lambda card: card["model"]["arguments"].update(hidden=[10**15])), PREDICT, 4, ["run/model/model."], ["copy"]),
    Case("J4-duplicate-keys", then(lambda p: (p.path / "run/model/manifest.json").write_text('{"a": 1, "a": 2}')), PREDICT, 4,
         ["manifest.json"], ["copy"]),
    Case("J4-nan", then(lambda p: (p.path / "run/model/manifest.json").write_text('{"a": NaN}')), PREDICT, 4, ["manifest.json"], ["copy"]),
    Case("J5-header-of-1e18", weights(lambda data: struct.pack("<Q", 10**18) + data[8:]), PREDICT, 4, ["model.safetensors"], ["copy"]),
    Case("J5-1e18-elements", weights(header(lambda c: first(c).update(shape=[10**9, 10**9]))), PREDICT, 4, ["model.safetensors"], ["copy"]),
    Case("J5-overlap", weights(header(lambda c: [t.update(data_offsets=[0, 4]) for n, t in c.items() if n != "__metadata__"])), PREDICT, 4,
         ["model.safetensors"], ["copy"]),
    Case("J5-wrong-dtype", weights(header(lambda c: [t.update(dtype="I32") for n, t in c.items() if n != "__metadata__"])), PREDICT, 4,
         ["model.safetensors"], ["copy"]),
    Case("J6-shape-differs", rewritten(lambda card: card["model"]["arguments"].update(hidden=[9])), PREDICT, 4,
         ["run/model/model.safetensors", "tensor", "shape", "needs"], ["copy"]),
    *(Case(f"J7-{name}", foreign(name), f"predict {name} n.csv -o o.csv", 4, [name, "does not open", "run code"], ["lamina fit"], after=did_not_run)
      for name in ("m.pkl", "m.pt", "m.pth", "m.joblib", "m.keras", "m.h5", "m.bin", "m.ckpt")),
    Case("J7-pickle-under-another-name", foreign("m.model"), "predict m.model n.csv -o o.csv", 4, ["m.model", "run code"], ["lamina fit"], after=did_not_run),
    Case("J7-pickle-inside-a-folder", foreign("d/pytorch_model.bin"), "predict d n.csv -o o.csv", 4, ["d/pytorch_model.bin", "run code"], ["lamina fit"],
         after=did_not_run),
    Case("J9-output-is-input", ready, "predict run n.csv -o n.csv --overwrite", 2, ["n.csv", "same file"], ["-o"]),
    Case("J9-by-another-name", then(lambda p: os.link(p.path / "n.csv", p.path / "same.csv")), "predict run n.csv -o same.csv --overwrite", 2,
         ["same.csv", "same file"], ["-o"]),
    Case("J9-unknown-ending", ready, "predict run n.csv -o o.xlsx", 2, ["o.xlsx", ".xlsx"], [".csv"]),
    Case("J10-disk-full", crash, PREDICT, 5, ["o.csv", "full"], ["free"]),
    Case("J12-batch-sizes", ready, PREDICT, 0, left=OUT, after=batches),
    Case("J13-probabilities", ready, PREDICT, 0, left=OUT, after=probabilities),
    Case("J14-formulas", then(lambda p: p.write("n.csv", column("note", lambda i: ("=1+1", "@x", "plain", "-cmd")[i % 4]))), PREDICT, 0,
         ["45 text cells", "--raw"], left=OUT, after=no_formula),
    Case("J14-raw", then(lambda p: p.write("n.csv", column("note", lambda i: "=1+1"))), PREDICT + " --raw", 0, silent=["formula"], left=OUT),
    Case("J17-output-is-a-link", then(lambda p: ((p.path / "precious").write_text("mine"), (p.path / "o.csv").symlink_to("precious"))), PREDICT, 2,
         ["o.csv", "exists"], ["--overwrite"]),
    Case("J17-link-is-never-followed", then(lambda p: ((p.path / "precious").write_text("mine"), (p.path / "o.csv").symlink_to("precious"))),
         PREDICT + " --overwrite", 0, changed=["o.csv"]),
    Case("J17-dangling-link", then(lambda p: (p.path / "o.csv").symlink_to("precious")), PREDICT, 2, ["o.csv", "exists"], ["--overwrite"]),
]  # fmt: skip
