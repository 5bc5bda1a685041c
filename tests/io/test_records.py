"""The append-only log."""

from __future__ import annotations

import json
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.faults import Fail, Shim, replaced
from lamina import io
from lamina.errors import CheckpointError, ConfigError, MachineError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(records=st.lists(st.dictionaries(st.text().filter(lambda key: key != "crc"), VALUES, max_size=4), max_size=5))
def test_round_trip(tmp_path_factory, records):
    path = tmp_path_factory.getbasetemp() / "history.jsonl"
    path.write_bytes(b"")
    for record in records:
        io.append_record(path, record, sync=False)
    found = io.read_records(path)
    assert found == records
    assert found.note == ""
    for line in path.read_bytes().splitlines():
        body, crc = line[:-1].rsplit(b'"crc":"', 1)  # the oracle: the format as the module's docstring says it
        body = body.removesuffix(b",")
        assert int(crc[:-1], 16) == zlib.crc32(body)
        json.loads(line)


def test_not_finite_becomes_null(tmp_path):
    """K3, K10."""
    path = tmp_path / "history.jsonl"
    io.append_record(path, {"loss": float("nan"), "best": float("-inf"), "per class": [1.0, float("inf")]})
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    assert io.read_records(path) == [{"loss": None, "best": None, "per class": [1.0, None]}]


def test_last_line_cut_at_every_byte(tmp_path):
    """H20, K11: dropped and said; the next append goes on from the last whole record."""
    path = tmp_path / "history.jsonl"
    for epoch in range(3):
        io.append_record(path, {"epoch": epoch, "text": "é" * 5})
    data = path.read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    for size in range(start, len(data)):
        path.write_bytes(data[:size])
        found = io.read_records(path)
        assert [record["epoch"] for record in found] == [0, 1]
        assert ("line 3: was cut off" in found.note) == (size > start)
        io.append_record(path, {"epoch": 9})
        assert [record["epoch"] for record in io.read_records(path)] == [0, 1, 9]


def test_cut_line_longer_than_a_read(tmp_path):
    path = tmp_path / "history.jsonl"
    io.append_record(path, {"epoch": 0})
    with path.open("ab") as file:
        file.write(b'{"epoch":1,"text":"' + b"x" * 300_000)
    io.append_record(path, {"epoch": 1})
    assert [record["epoch"] for record in io.read_records(path)] == [0, 1]
    path.write_bytes(b"x" * 300_000)
    io.append_record(path, {"epoch": 0})
    assert [record["epoch"] for record in io.read_records(path)] == [0]


@pytest.mark.parametrize("line", [1, 2, 3])
def test_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "history.jsonl"
    for epoch in range(3):
        io.append_record(path, {"epoch": epoch})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b"epoch", b"epocH")
    path.write_bytes(b"".join(lines))
    with pytest.raises(CheckpointError, match=f"history.jsonl line {line}: is damaged") as caught:
        io.read_records(path)
    assert caught.value.mend


@pytest.mark.parametrize("body", [b"[1", b'{"a":NaN', b'{"a":1,"a":2', b'"x"', b'{"a":'])
def test_right_crc_does_not_excuse_wrong_json(tmp_path, body):
    """J4."""
    (tmp_path / "log").write_bytes(body + b',"crc":"%08x"}\n' % zlib.crc32(body))
    with pytest.raises(CheckpointError, match="log line 1"):
        io.read_records(tmp_path / "log")


def test_failed_append_leaves_the_earlier_ones(tmp_path):
    """H3: and the size of the file is what it was."""
    path = tmp_path / "history.jsonl"
    io.append_record(path, {"epoch": 0})
    before = path.read_bytes()
    for n in range(2, 6):
        with pytest.raises(MachineError), replaced(Fail(n, 28, onwards=False, torn=False)):
            io.append_record(path, {"epoch": 1})
            raise MachineError("not reached when the append fails")
        assert path.read_bytes()[: len(before)] == before
        assert io.read_records(path)[0] == {"epoch": 0}


def test_truncate(tmp_path):
    """H19."""
    path = tmp_path / "history.jsonl"
    io.truncate_records(path, 0)
    assert not path.exists()
    for epoch in range(5):
        io.append_record(path, {"epoch": epoch})
    io.truncate_records(path, 5)
    with pytest.raises(CheckpointError, match="holds 5 records, but the checkpoint was written after 6"):
        io.truncate_records(path, 6)
    io.truncate_records(path, 3)
    assert [record["epoch"] for record in io.read_records(path)] == [0, 1, 2]
    io.truncate_records(path, 0)
    assert io.read_records(path) == []
    assert os.listdir(tmp_path) == ["history.jsonl"]


def test_truncate_drops_damage_behind_the_checkpoint(tmp_path):
    path = tmp_path / "history.jsonl"
    for epoch in range(3):
        io.append_record(path, {"epoch": epoch})
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    io.truncate_records(path, 2)
    assert len(io.read_records(path)) == 2
    data[5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="line 1"):
        io.truncate_records(path, 2)


def test_missing_and_reserved(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        io.read_records(tmp_path / "none")
    with pytest.raises(ConfigError, match="reserved"):
        io.append_record(tmp_path / "log", {"crc": 1})
    with pytest.raises(ConfigError, match=r"\$\.a\[0\] is a set"):
        io.append_record(tmp_path / "log", {"a": [{1}]})
    assert not (tmp_path / "log").exists()


def test_appends_of_two_threads_stay_whole(tmp_path):
    import threading

    path = tmp_path / "log"
    io.append_record(path, {"n": -1})

    def append(k):
        for i in range(50):
            io.append_record(path, {"n": 1000 * k + i}, sync=False)

    threads = [threading.Thread(target=append, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record["n"] for record in io.read_records(path)} == {-1, *range(50), *range(1000, 1050)}


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_failed_append_takes_back_what_it_wrote(tmp_path, failing):
    """H3: a record whose append was reported as failed is not found later."""
    path = tmp_path / "history.jsonl"
    io.append_record(path, {"epoch": 0})
    before = path.read_bytes()

    class Late(Shim):
        def act(self, name, args):
            result = super().act(name, args)
            if name == failing:
                raise OSError(28, "No space left on device")
            return result

    with pytest.raises(MachineError, match="disk is full"), replaced(Late()):
        io.append_record(path, {"epoch": 1})
    assert path.read_bytes() == before
