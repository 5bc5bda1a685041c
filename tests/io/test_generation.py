"""Generation folders: what the reader refuses and what the retention keeps."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading

import pytest

from lab.faults import Fail, Shim, count_calls, replaced
from lamina import io
from lamina.errors import CheckpointError, ConfigError, MachineError
from lamina.io.strict_json import guarded_bytes

FILES = {"model.safetensors": b"weights" * 100, "state.json": b"{}", "empty": b""}


@pytest.fixture
def folder(tmp_path):
    return io.write_generation(tmp_path / "checkpoint", "000001", FILES, {"epoch": 3, "loss": float("nan")})


def test_round_trip(folder):
    found = io.read_generation(folder)
    assert found.files == FILES
    assert found.meta == {"epoch": 3, "loss": None}
    assert found.notes == ()
    assert os.listdir(folder.parent) == ["000001"]
    for name, (size, digest) in found.entries.items():
        data = (folder / name).read_bytes()
        assert (size, digest) == (len(data), hashlib.sha256(data).hexdigest())


def test_streamed_both_ways(tmp_path):
    """H25: never whole in memory."""
    pieces = [bytes([i]) * 100_000 for i in range(50)]
    folder = io.write_generation(tmp_path, "g", {"big": iter(pieces)}, {})
    found = io.read_generation(folder, keep=())
    assert found.files == {}
    assert b"".join(found.stream("big")) == b"".join(pieces)
    with (folder / "big").open("r+b") as file:
        file.seek(4_000_000)
        file.write(b"\xff")
    with pytest.raises(CheckpointError, match="big: was changed"):
        list(found.stream("big"))
    with pytest.raises(CheckpointError, match="no file other"):
        list(found.stream("other"))


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_every_single_file_removed(folder, name):
    """J3."""
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*is missing|{name} is missing"):
        io.read_generation(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_truncated_at_every_byte(folder, name):
    """H8."""
    data = (folder / name).read_bytes()
    for size in range(len(data)):
        (folder / name).write_bytes(data[:size])
        with pytest.raises(CheckpointError) as caught:
            io.read_generation(folder)
        assert name in str(caught.value)
        assert caught.value.mend


def test_every_bit_of_the_manifest(folder):
    """H7: each single bit, not a sample."""
    path = folder / "manifest.json"
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        copy = bytearray(data)
        copy[bit // 8] ^= 1 << bit % 8
        path.write_bytes(copy)
        with pytest.raises(CheckpointError):
            io.read_manifest(folder)


def test_newer_format(folder):
    """H10: says which version wrote it."""
    manifest = {"lamina": "9.1", "meta": {}, "files": {}, "new": 1}
    (folder / "manifest.json").write_bytes(guarded_bytes(manifest, "generation", 7))
    with pytest.raises(
        CheckpointError, match=r"written by lamina 9\.1 in format 7; this lamina reads up to 1"
    ) as caught:
        io.read_generation(folder)
    assert "update lamina" in caught.value.mend


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b", "C:\\x", "con", "", ".hidden", "a\0b", "x" * 300])
def test_names_inside_the_manifest_never_leave_the_folder(folder, name):
    """S4, S5."""
    manifest = {"lamina": "0.1", "meta": {}, "files": {name: {"size": 1, "sha256": "0" * 64}}}
    (folder / "manifest.json").write_bytes(guarded_bytes(manifest, "generation", 1))
    with pytest.raises(CheckpointError, match="is not an entry"):
        io.read_generation(folder)
    with pytest.raises(ConfigError):
        io.write_generation(folder.parent, "g", {name: b""}, {})
    assert os.listdir(folder.parent) == ["000001"]


@pytest.mark.parametrize(
    "files", [[], None, 3, {"a": 1}, {"a": {"size": -1.5, "sha256": "0"}}, {"a": {"size": True, "sha256": "0"}}]
)
def test_manifest_of_wrong_types(folder, files):
    """J4."""
    manifest = {"lamina": "0.1", "meta": {}, "files": files}
    (folder / "manifest.json").write_bytes(guarded_bytes(manifest, "generation", 1))
    with pytest.raises(CheckpointError):
        io.read_generation(folder)


def test_moved_renamed_copied(folder, tmp_path):
    """J2."""
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert io.read_generation(tmp_path / "elsewhere").files == FILES


def test_replacing_keeps_no_rest(folder):
    io.write_generation(folder.parent, "000001", {"a": b"2"}, {})
    assert io.read_generation(folder).files == {"a": b"2"}
    assert os.listdir(folder.parent) == ["000001"]


def test_a_users_folder_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="not a lamina folder"):
        io.write_generation(tmp_path, "photos", {"a": b""}, {})
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ConfigError, match="not a lamina folder"):
        io.write_generation(tmp_path, "file", {"a": b""}, {})
    assert (tmp_path / "photos" / "one.jpg").read_bytes() == b"x"
    assert sorted(os.listdir(tmp_path)) == ["file", "photos"]


def test_killed_between_the_renames(folder):
    """The reader takes the copy aside, and says so."""
    folder.rename(folder.with_name(".000001.old"))
    found = io.read_generation(folder)
    assert found.files == FILES
    assert "there is no such folder" in found.notes[0]


def test_disk_that_gives_back_something_else(tmp_path):
    """H23: noticed by the read-back; the old one stays."""
    io.write_generation(tmp_path, "g", {"a": b"old"}, {})

    class Lying(Shim):
        def act(self, name, args):
            result = super().act(name, args)
            return result.replace(b"new", b"nex") if name == "read" and result.startswith(b"new") else result

    with pytest.raises(MachineError, match="not given back"), replaced(Lying()):
        io.write_generation(tmp_path, "g", {"a": b"new"}, {})
    assert io.read_generation(tmp_path / "g").files == {"a": b"old"}
    assert os.listdir(tmp_path) == ["g"]


def test_failing_sync_of_the_folder_leaves_nothing(tmp_path):
    names = count_calls(lambda: io.write_generation(tmp_path / "1", "g", {"a": b"x"}, {}))
    (tmp_path / "2").mkdir()
    n = names.index("fsync_folder", 2)
    with pytest.raises(MachineError), replaced(Fail(n, 5, onwards=False)):
        io.write_generation(tmp_path / "2", "g", {"a": b"x"}, {})
    assert os.listdir(tmp_path / "2") == []


def test_source_errors_are_not_blamed_on_the_disk(tmp_path):
    def source():
        yield b"x"
        raise CheckpointError("the source is damaged", where="elsewhere", mend="m")

    with pytest.raises(CheckpointError, match="elsewhere"):
        io.write_generation(tmp_path, "g", {"a": source()}, {})
    assert os.listdir(tmp_path) == []


def test_meta_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"\$\.meta\.model is a object"):
        io.write_generation(tmp_path, "g", {"a": b""}, {"model": object()})
    assert os.listdir(tmp_path) == []


def test_reading_while_it_is_replaced(tmp_path):
    """A reader in another thread always finds one of the two, whole."""
    contents = [{"a": bytes([i]) * 5000, "b": bytes([i])} for i in range(2)]
    io.write_generation(tmp_path, "g", contents[0], {})
    stop, failures, reads = threading.Event(), [], 0

    def write():
        i = 0
        while not stop.is_set():
            i = 1 - i
            io.write_generation(tmp_path, "g", contents[i], {})

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(300):
        try:
            found = io.read_generation(tmp_path / "g")
            assert found.files in contents
            reads += 1
        except CheckpointError as error:
            failures.append(error)
    stop.set()
    thread.join()
    assert reads + len(failures) == 300
    assert not failures, failures[0]


@pytest.mark.parametrize(
    "make", [lambda: b"x" * 600_000, lambda: [b"x" * 300_001, b"", b"x" * 299_999], lambda: iter([b"x" * 600_000])]
)
@pytest.mark.parametrize("wrong", ["changed", "shorter", "longer"])
def test_read_back_compares_everything(tmp_path, make, wrong):
    """H23: whether the content is still in memory, in pieces, or gone."""

    class Wrong(Shim):
        def act(self, name, args):
            if name == "rename":
                path = args[0] / "a"
                data = path.read_bytes()
                path.write_bytes({"changed": data[:-1] + b"y", "shorter": data[:-1], "longer": data + b"x"}[wrong])
            return super().act(name, args)

    with pytest.raises(MachineError, match="not given back"), replaced(Wrong()):
        io.write_generation(tmp_path, "g", {"a": make()}, {})
    assert os.listdir(tmp_path) == []


# --- numbered ones ---


def _write(generations, i, *, best=False):
    return generations.write({"model": b"%d" % i}, {"i": i}, best=best)


def test_retention_keeps_two_and_the_best(tmp_path):
    """H21."""
    generations = io.Generations(tmp_path / "checkpoint")
    for i in range(1, 10):
        _write(generations, i, best=i in {2, 4})
    assert generations.numbers() == [4, 8, 9]
    assert generations.latest().meta["i"] == 9
    assert generations.best().meta["i"] == 4
    resumed = io.Generations(tmp_path / "checkpoint", keep=3)
    assert _write(resumed, 10).meta == {"i": 10, "generation": 10, "best_generation": 4}
    assert resumed.numbers() == [4, 8, 9, 10]
    assert generations.messages == resumed.messages == []


@pytest.mark.parametrize("keep", [1, 0, -1])
def test_keep_is_at_least_two(tmp_path, keep):
    """H21: with a limit of 1 every checkpoint was deleted elsewhere."""
    with pytest.raises(ConfigError, match="at least 2"):
        io.Generations(tmp_path, keep=keep)


@pytest.mark.parametrize("name", ["model", "manifest.json"])
def test_damage_falls_back_and_says_so(tmp_path, name):
    """H7."""
    generations = io.Generations(tmp_path)
    for i in (1, 2, 3):
        _write(generations, i)
    path = tmp_path / "000003" / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert generations.latest().meta["i"] == 2
    assert "generation 3 is skipped" in generations.messages[0]
    assert name in generations.messages[0]
    _write(generations, 4)
    assert 2 in generations.numbers(), "a damaged one counted as one of the last two good ones"
    assert generations.latest().meta["i"] == 4


def test_all_damaged(tmp_path):
    generations = io.Generations(tmp_path)
    for i in (1, 2):
        _write(generations, i)
    for number in ("000001", "000002"):
        (tmp_path / number / "model").write_bytes(b"?")
    with pytest.raises(CheckpointError, match="no generation is whole"):
        generations.latest()


def test_none_at_all(tmp_path):
    assert io.Generations(tmp_path / "never").latest() is None
    assert io.Generations(tmp_path / "never").best() is None


def test_best_deleted_by_hand(tmp_path):
    """H26."""
    generations = io.Generations(tmp_path)
    for i in range(1, 5):
        _write(generations, i, best=i == 1)
    shutil.rmtree(tmp_path / "000001")
    found = generations.best()
    assert found.meta["i"] == 4
    assert "best generation (1)" in found.notes[0]


def test_a_foreign_folder_is_left(tmp_path):
    (tmp_path / "000001").mkdir()
    (tmp_path / "000001" / "notes.txt").write_text("mine")
    generations = io.Generations(tmp_path)
    for i in range(2, 7):
        _write(generations, i)
    assert (tmp_path / "000001" / "notes.txt").read_text() == "mine"
    assert generations.numbers() == [1, 5, 6]
    assert "was left" in generations.messages[0]


def test_temporary_folders_of_dead_writers_are_ignored_and_swept(tmp_path):
    """H11."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    generations = io.Generations(tmp_path)
    _write(generations, 1)
    left = tmp_path / f".000002.{child}-{io.atomic._host()}{'0' * 12}.tmp"
    shutil.copytree(tmp_path / "000001", left)
    assert generations.latest().meta["i"] == 1
    _write(generations, 2)
    assert left.exists()
    os.utime(left, (1, 1))
    _write(generations, 3)
    assert not left.exists()


def test_number_goes_on_after_a_million(tmp_path):
    generations = io.Generations(tmp_path)
    _write(generations, 1)
    (tmp_path / "000001").rename(tmp_path / "999999")
    assert _write(generations, 2).folder.name == "1000000"
    assert generations.latest().meta["i"] == 2


def test_manifest_is_plain_json(folder):
    assert json.loads((folder / "manifest.json").read_text())["meta"]["epoch"] == 3
