"""Strict JSON and guarded JSON files."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina import io
from lamina.errors import CheckpointError, ConfigError
from lamina.io.strict_json import guarded_bytes, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def _nulled(value):
    """The oracle for K3, over plain Python values."""
    if isinstance(value, float) and (math.isnan(value) or math.isinf(value)):
        return None
    if isinstance(value, list):
        return [_nulled(one) for one in value]
    return {key: _nulled(one) for key, one in value.items()} if isinstance(value, dict) else value


def _no_constants(word):
    raise AssertionError(f"{word} in strict JSON")


@given(VALUES)
def test_dump_is_strict(value):
    text = io.dump_json(value)
    assert json.loads(text, parse_constant=_no_constants) == _nulled(value)
    assert parse_json(text.encode(), "x") == _nulled(value)
    assert "\n" not in text
    assert text.isascii()


def test_dump_of_numpy_and_friends():
    value = {"a": np.float32(0.5), "b": np.int64(3), "c": (1, 2), "d": np.bool_(True), "e": np.float64("nan")}
    assert io.dump_json(value) == '{"a":0.5,"b":3,"c":[1,2],"d":true,"e":null}'
    assert io.dump_json(np.array(2.0)) == "2.0"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b": {1, 2}}]}, r"\$\.a\[1\]\.b is a set"),
        ({"a": b"x"}, r"\$\.a is a bytes"),
        ({"a": {1: 2}}, r"\$\.a has the key 1, which is not a string"),
        ({"a": np.zeros(3)}, r"\$\.a is a ndarray"),
        ({"a": 1j}, r"\$\.a is a complex"),
    ],
)
def test_dump_refuses_with_the_path(value, words):
    with pytest.raises(ConfigError, match=words):
        io.dump_json(value)


def test_dump_refuses_a_circle():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ConfigError, match="more than 100 levels"):
        io.dump_json(circle)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b'{"a": {"b": [1, NaN]}}', r"\$\.a\.b\[1\] is NaN", id="J4-nan"),
        pytest.param(b'{"a": -Infinity}', r"\$\.a is -Infinity", id="J4-infinity"),
        pytest.param(b'{"a": [{"b": 1, "b": 2}]}', r'\$\.a\[0\] has the key "b" twice', id="J4-duplicate"),
        pytest.param(b'{"a": 1e999}', r"\$\.a is beyond the range", id="J4-huge-float"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", r"\$\.a is a number of 5000 digits", id="J4-huge-integer"),
        pytest.param(b"[" * 101 + b"]" * 101, r"\$(\[0\]){20}.* is nested more than 100", id="J4-deep"),
        pytest.param(b"[" * 100_000, "nested more than 100", id="J4-very-deep"),
        pytest.param(b'{"a":' * 100_000, "nested more than 100", id="J4-very-deep-objects"),
        pytest.param(b'{"a": 1,}', "line 1, column", id="J4-comma"),
        pytest.param(b'{\n"a": x}', "line 2, column 6", id="J4-line"),
        pytest.param(b"\xff", "byte 0 is not UTF-8", id="J4-utf8"),
        pytest.param(b"\xef\xbb\xbf{}", "is not JSON", id="J4-bom"),
        pytest.param(b"", "is not JSON", id="J4-empty"),
    ],
)
def test_parse_refuses_with_the_path(text, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        parse_json(text, "file.json")
    assert str(caught.value).startswith("file.json: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_exactly_100_levels_pass():
    assert parse_json(b"[" * 100 + b"]" * 100, "x")


@given(st.dictionaries(st.text().filter(lambda key: key not in {"schema", "sha256"}), VALUES, max_size=5))
def test_guarded_round_trip(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "report.json"
    io.write_json(path, content, "report")
    assert io.read_json(path, "report") == _nulled(content)
    document = json.loads(path.read_text())
    claimed = document.pop("sha256")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert claimed == hashlib.sha256(canonical).hexdigest()
    assert document["schema"] == "lamina.report/1"


def test_reformatting_is_no_damage_but_content_is(tmp_path):
    path = tmp_path / "report.json"
    io.write_json(path, {"score": 0.9, "classes": ["a", "b"]}, "report")
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document, indent=8).replace("\n", "\r\n"))
    assert io.read_json(path, "report")["score"] == 0.9
    document["score"] = 0.91
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        io.read_json(path, "report")


def test_kinds_versions_and_reserved_keys(tmp_path):
    path = tmp_path / "report.json"
    io.write_json(path, {"lamina": "9.9"}, "report", version=3)
    assert io.read_json(path, "report", version=4) == {"lamina": "9.9"}
    with pytest.raises(CheckpointError, match=r"written by lamina 9\.9 in format 3; this lamina reads up to 2"):
        io.read_json(path, "report", version=2)
    with pytest.raises(CheckpointError, match=r"lamina\.report/3 file, not lamina\.metrics"):
        io.read_json(path, "metrics")
    for key in ("schema", "sha256"):
        with pytest.raises(ConfigError, match="reserved"):
            io.write_json(path, {key: 1}, "report")


@pytest.mark.parametrize(
    "data", [b"[]", b"1", b"null", b"{}", b'{"schema": 1, "sha256": 2}', b'{"schema": "lamina.r/1"}']
)
def test_unguarded_is_refused(tmp_path, data):
    (tmp_path / "r.json").write_bytes(data)
    with pytest.raises(CheckpointError):
        io.read_json(tmp_path / "r.json", "r")


def test_missing_and_huge(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="is missing"):
        io.read_json(tmp_path / "none", "r")
    with pytest.raises(CheckpointError, match="cannot be read"):
        io.read_json(tmp_path, "r")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(CheckpointError, match="larger than 256 MB"):
        io.read_json(tmp_path / "huge", "r")


def test_every_value_replaced_by_another_type(tmp_path):
    """J4: the guard notices it, whatever it is replaced by."""
    document = json.loads(guarded_bytes({"a": 1, "b": "x", "c": [1.5], "d": None}, "r"))
    for key in document:
        for other in (None, True, 0, 1e300, "", [], {}):
            if other != document[key] or type(other) is not type(document[key]):
                (tmp_path / "r.json").write_text(json.dumps({**document, key: other}))
                with pytest.raises(CheckpointError):
                    io.read_json(tmp_path / "r.json", "r")
