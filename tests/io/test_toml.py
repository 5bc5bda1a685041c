"""TOML written and read; the standard library's parser is the oracle of the writer."""

from __future__ import annotations

import datetime
import hashlib
import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina import io
from lamina.errors import CheckpointError, ConfigError, MachineError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates(min_value=datetime.date(1000, 1, 1))
    | st.datetimes(min_value=datetime.datetime(1000, 1, 1))
    | st.times()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_round_trip(mapping):
    assert tomllib.loads(io.dump_toml(mapping)) == mapping


def test_form():
    mapping = {
        "seed": 3,
        "none": None,
        "model": {"name": "mlp", "layers": (1, 2), "inner": {"a b": 0.1, "none": None}},
        "columns": [{"name": "x"}, {"name": "y", "none": None}],
        "empty": {},
        "nan": math.nan,
        "number": np.float32(0.5),
    }
    assert io.dump_toml(mapping) == (
        'seed = 3\nnan = nan\nnumber = 0.5\n\n[model]\nname = "mlp"\nlayers = [1, 2]\n\n[model.inner]\n"a b" = 0.1\n\n'
        '[[columns]]\nname = "x"\n\n[[columns]]\nname = "y"\n\n[empty]\n'
    )
    assert io.dump_toml({}) == ""


@pytest.mark.parametrize(
    "mapping", [{"a": {1}}, {"a": {"b": b"x"}}, {"a": [None]}, {1: 2}, {"a": "\ud800"}, {"\udfff": 1}, {"a": object()}]
)
def test_what_has_no_form_is_refused(mapping):
    with pytest.raises(ConfigError):
        io.dump_toml(mapping)


def test_too_deep():
    deep: dict[str, object] = {}
    deep["a"] = deep
    with pytest.raises(ConfigError, match="100 levels"):
        io.dump_toml(deep)
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ConfigError, match="100 levels"):
        io.dump_toml({"a": circle})


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_guarded_round_trip(tmp_path_factory, mapping):
    path = tmp_path_factory.getbasetemp() / "run.toml"
    io.write_toml(path, mapping)
    assert io.read_toml(path, guarded=True) == mapping
    assert tomllib.loads(path.read_text(encoding="utf-8")) == mapping
    body, _, last = path.read_bytes()[:-1].rpartition(b"# sha256 ")
    assert hashlib.sha256(body).hexdigest() == last.decode()


def test_every_bit_of_a_guarded_file(tmp_path):
    """H7."""
    path = tmp_path / "run.toml"
    io.write_toml(path, {"seed": 3, "model": {"name": "mlp"}})
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        copy = bytearray(data)
        copy[bit // 8] ^= 1 << bit % 8
        path.write_bytes(copy)
        with pytest.raises(CheckpointError):
            io.read_toml(path, guarded=True)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            io.read_toml(path, guarded=True)
    path.write_bytes(data + b"seed = 4\n")
    with pytest.raises(CheckpointError):
        io.read_toml(path, guarded=True)


def test_guarded_and_missing(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        io.read_toml(tmp_path / "run.toml", guarded=True)


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        pytest.param(b"a = 1\nb = = 2\n", "line 2, column 5", "is not TOML", id="A11-syntax"),
        pytest.param(b"\xef\xbb\xbfa = 1", "line 1, column 1", "byte order mark", id="A11-bom"),
        pytest.param(b"\xff\xfea\x00", "line 1, column 1", "UTF-16 byte order mark", id="A11-utf16"),
        pytest.param(b"a = 1\na = 2\n", "line 2, column", "is not TOML", id="A11-duplicate"),
        pytest.param(b"[a]\n[b]\n[a]\n", "line 3, column", "is not TOML", id="A11-duplicate-table"),
        pytest.param(b"a = 1\nb = '\xe9'", "line 2, column 6", "is not UTF-8", id="A11-latin1"),
        pytest.param(b'a = "open', "line 1, column", "is not TOML", id="A11-end"),
        pytest.param(b"a = " + b"9" * 5000, "line 1, column", "is not TOML", id="A11-digits"),
        pytest.param(b"a = " + b"[" * 100_000, "", "too deep", id="A11-deep"),
        pytest.param(b"a = 1979-13-40", "line 1, column", "is not TOML", id="A11-date"),
        pytest.param(b"a = 1\r\nb\t= \x01", "line 2, column", "is not TOML", id="A11-control"),
    ],
)
def test_a_users_mistake_has_line_and_column(tmp_path, data, place, words):
    (tmp_path / "c.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=words) as caught:
        io.read_toml(tmp_path / "c.toml", guarded=False)
    assert place in str(caught.value)
    assert caught.value.mend
    assert caught.value.exit_code == 2
    assert "\x01" not in str(caught.value)


def test_a_users_tabs_are_fine(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"a\t=\t1\r\n")
    assert io.read_toml(tmp_path / "c.toml", guarded=False) == {"a": 1}


def test_a_users_missing_file_folder_and_giant(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        io.read_toml(tmp_path / "none", guarded=False)
    with pytest.raises(ConfigError, match="is a folder"):
        io.read_toml(tmp_path, guarded=False)
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot be read"):
        io.read_toml(tmp_path / "f" / "c.toml", guarded=False)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ConfigError, match="larger than 16 MB"):
        io.read_toml(tmp_path / "huge", guarded=False)
