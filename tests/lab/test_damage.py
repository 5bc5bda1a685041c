"""H7, H8 and figure R4: no damaged file is loaded silently wrong."""

from __future__ import annotations

import random

import pytest

from lab.damage import rot
from lamina import io

N = 2100  # times five kinds of files


def _generation(folder):
    chance = random.Random(1)
    io.write_generation(
        folder, "g", {"model.safetensors": _safetensors()}, {f"note {i}": chance.random() for i in range(300)}
    )


def _safetensors():
    np = pytest.importorskip("numpy")
    return io.pack_arrays({name: np.random.default_rng(0).normal(size=(32, 32)) for name in "abcd"})


def _loaded(folder):
    found = io.read_generation(folder / "g")
    return found.meta, found.files


def _log(folder):
    for i in range(400):
        io.append_record(folder / "history.jsonl", {"epoch": i, "loss": 1 / (i + 1), "label": "é"}, sync=False)


def _long_mapping():
    return {"values": [i / 7 for i in range(800)], "names": {f"column {i}": f"text\n{i}" for i in range(100)}}


CASES = {
    "manifest": (_generation, "g/manifest.json", _loaded),
    "safetensors": (_generation, "g/model.safetensors", _loaded),
    "history": (_log, "history.jsonl", lambda folder: io.read_records(folder / "history.jsonl")),
    "toml": (
        lambda folder: io.write_toml(folder / "run.toml", _long_mapping()),
        "run.toml",
        lambda folder: io.read_toml(folder / "run.toml", guarded=True),
    ),
    "json": (
        lambda folder: io.write_json(folder / "report.json", _long_mapping(), "report"),
        "report.json",
        lambda folder: io.read_json(folder / "report.json", "report"),
    ),
}


def test_rot_is_never_silent(tmp_path, capsys, record_property):
    """R4: 0 of 10,000."""
    files, silent = 0, []
    for seed, (name, (make, file, read)) in enumerate(CASES.items()):
        folder = tmp_path / name
        folder.mkdir()
        make(folder)
        assert (folder / file).stat().st_size > 8192
        whole = read(folder)

        def shorter_and_said(found, folder=folder, whole=whole):
            """A log may be shorter; a cut inside a line is said, and the checkpoint's count catches the rest."""
            at_line_end = (folder / "history.jsonl").read_bytes()[-1:] in {b"\n", b""}
            if found != whole[: len(found)] or not (found.note or at_line_end):
                return False
            with pytest.raises(io.records.CheckpointError):
                io.truncate_records(folder / "history.jsonl", len(whole))
            return True

        tally = rot(folder / file, lambda read=read, folder=folder: read(folder), N, seed,
                    shorter_and_said if name == "history" else None)  # fmt: skip
        record_property(name, str(tally))
        with capsys.disabled():
            print(f"\n  R4-{name}: {tally}", end="")
        if name in {"manifest", "safetensors"}:
            assert tally.refused == tally.files, "every change at all must be noticed here"
        files += tally.files
        silent += tally.silent
    assert not silent, silent[:20]
    assert files >= 10_000


def test_the_laboratory_sees_silent_rot(tmp_path):
    """Plain safetensors, unguarded JSON and a log without CRC are read wrongly without a word, and that is counted."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(_safetensors())
    plain = rot(
        path, lambda: {k: v.tobytes() for k, v in io.unpack_arrays(path.read_bytes(), name="m").items()}, 500, 0
    )
    assert len(plain.silent) > 300, plain
    unguarded = tmp_path / "report.json"
    unguarded.write_text(io.dump_json(_long_mapping()))
    read = lambda: io.strict_json.parse_json(unguarded.read_bytes(), "report.json")  # noqa: E731
    assert len(rot(unguarded, read, 500, 0).silent) > 50
