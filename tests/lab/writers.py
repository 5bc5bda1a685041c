"""Every writer of ``lamina.io``, one row each. A new writer gets the whole laboratory for one row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.faults import Writer
from lamina import io

OLD, NEW = b"old " * 50, b"new!" * 70


def told(read: Callable[[Path], object], old: object, new: object) -> Callable[[Path], str]:
    """A judge: what ``read`` returns is exactly ``old`` or exactly ``new``."""

    def judge(folder: Path) -> str:
        found = read(folder)
        assert found in (old, new), f"found {found!r}"
        return "old" if found == old else "new"

    return judge


def _files(of: bytes) -> dict[str, bytes]:
    return {"model.safetensors": of, "state.json": of[:40], "empty": b""}


def _generation(folder: Path) -> object:
    if not (folder / "g").exists() and not (folder / ".g.old").exists():
        return None
    found = io.read_generation(folder / "g")
    return found.files, found.meta


def _checkpoints(folder: Path, numbers: range, best: int = 2) -> None:
    generations = io.Generations(folder / "checkpoint")
    for i in numbers:
        generations.write(_files(b"%d" % i * 100), {"epoch": i}, best=i == best)


def _newest(folder: Path) -> object:
    generations = io.Generations(folder / "checkpoint")
    latest, best = generations.latest(), generations.best()
    assert latest is not None and best is not None and not generations.messages, generations.messages
    assert len(generations.numbers()) >= 3, "fewer than two and the best are left"
    return latest.files, latest.meta["epoch"], best.files, best.meta["epoch"]


def _log(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        io.append_record(folder / "history.jsonl", {"epoch": epoch, "loss": 1 / (epoch + 1)})


def _logged(folder: Path) -> object:
    path = folder / "history.jsonl"
    return [record["epoch"] for record in io.read_records(path)] if path.exists() else []


def _cut_log(folder: Path) -> None:
    _log(folder, 0, 1)
    with (folder / "history.jsonl").open("ab") as file:
        file.write(b'{"epoch":2,"lo')


def _old_copy_aside(folder: Path) -> None:
    """What a writer leaves that was killed between its two renames, with the new folder damaged besides."""
    io.write_generation(folder, "g", _files(OLD), {"n": 1})
    (folder / "g").rename(folder / ".g.old")
    io.write_generation(folder, "h", _files(b"other"), {"n": 3})
    (folder / "h" / "state.json").write_bytes(b"damaged")
    (folder / "h").rename(folder / "g")


def _bytes(folder: Path) -> object:
    path = folder / "file"
    return path.read_bytes() if path.exists() else None


_GENERATION = (({**_files(OLD)}, {"n": 1}), ({**_files(NEW)}, {"n": 2}))

WRITERS = [
    Writer(
        "write_file",
        lambda folder: io.write_file(folder / "file", OLD),
        lambda folder: io.write_file(folder / "file", [NEW[:100], NEW[100:]]),
        told(_bytes, OLD, NEW),
    ),
    Writer(
        "write_file, new, overwrite=False",
        lambda folder: None,
        lambda folder: io.write_file(folder / "file", NEW, overwrite=False),
        told(_bytes, None, NEW),
    ),
    Writer(
        "write_generation, new",
        lambda folder: None,
        lambda folder: io.write_generation(folder, "g", _files(NEW), {"n": 2}),
        told(_generation, None, _GENERATION[1]),
    ),
    Writer(
        "write_generation, replace",
        lambda folder: io.write_generation(folder, "g", _files(OLD), {"n": 1}),
        lambda folder: io.write_generation(folder, "g", _files(NEW), {"n": 2}),
        told(_generation, *_GENERATION),
    ),
    Writer(
        "write_generation, after a kill and with damage",
        _old_copy_aside,
        lambda folder: io.write_generation(folder, "g", _files(NEW), {"n": 2}),
        told(_generation, *_GENERATION),
    ),
    Writer(
        "Generations.write with retention",
        lambda folder: _checkpoints(folder, range(6)),
        lambda folder: _checkpoints(folder, range(6, 7)),
        told(
            _newest,
            (_files(b"5" * 100), 5, _files(b"2" * 100), 2),
            (_files(b"6" * 100), 6, _files(b"2" * 100), 2),
        ),
    ),
    Writer(
        "append_record, first",
        lambda folder: None,
        lambda folder: _log(folder, 0),
        told(_logged, [], [0]),
    ),
    Writer(
        "append_record",
        lambda folder: _log(folder, 0, 1),
        lambda folder: _log(folder, 2),
        told(_logged, [0, 1], [0, 1, 2]),
    ),
    Writer(
        "append_record after a cut line",
        _cut_log,
        lambda folder: _log(folder, 2),
        told(_logged, [0, 1], [0, 1, 2]),
    ),
    Writer(
        "truncate_records",
        lambda folder: _log(folder, 0, 1, 2, 3),
        lambda folder: io.truncate_records(folder / "history.jsonl", 2),
        told(_logged, [0, 1, 2, 3], [0, 1]),
    ),
    Writer(
        "write_json",
        lambda folder: io.write_json(folder / "report.json", {"n": 1}, "report"),
        lambda folder: io.write_json(folder / "report.json", {"n": 2, "more": [1.5] * 20}, "report"),
        told(lambda folder: io.read_json(folder / "report.json", "report")["n"], 1, 2),
    ),
    Writer(
        "write_toml",
        lambda folder: io.write_toml(folder / "run.toml", {"n": 1}),
        lambda folder: io.write_toml(folder / "run.toml", {"n": 2, "model": {"layers": [1, 2, 3]}}),
        told(lambda folder: io.read_toml(folder / "run.toml", guarded=True)["n"], 1, 2),
    ),
]
