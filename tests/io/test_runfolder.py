"""Names and numbered folders."""

from __future__ import annotations

import os
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina import io
from lamina.errors import ConfigError

BAD = ["", ".", "..", "../../x", "a/b", "/etc/x", "C:\\x", "con", "CON", "nul.txt", "COM1", "lpt9.csv", ".hidden",
       "a\0b", "a\n", "x" * 81, "x" * 300, "é", "a b", "ends.", "\ud800", "a\u202eb"]  # fmt: skip


@pytest.mark.parametrize("name", BAD, ids=[f"A17-S5-{i}" for i in range(len(BAD))])
def test_bad_run_names(name):
    with pytest.raises(ConfigError, match=r"run name .* is not allowed") as caught:
        io.check_run_name(name)
    assert "1 to 80" in caught.value.mend
    assert all(c.isprintable() for c in str(caught.value))


@pytest.mark.parametrize("name", ["a", "churn-1", "A.b_c-9", "x" * 80, "-", "console", "com10x", "com0"[:3]])
def test_good_run_names(name):
    assert io.check_run_name(name) == name


@given(st.text())
def test_cleaned_names_are_good(text):
    name = io.clean_name(text)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name)
    assert io.check_run_name(name) == name
    assert io.check_run_name(f"{name}-123456789")


def test_numbers_go_on(tmp_path):
    runs = tmp_path / "runs"
    assert [io.new_numbered(runs, "churn data.csv").name for _ in range(3)] == [
        f"churn-data.csv-{i}" for i in (1, 2, 3)
    ]
    (runs / "churn-data.csv-1").rmdir()
    (runs / "churn-data.csv-x").mkdir()
    (runs / "churnXdata.csv-77").mkdir()
    assert io.new_numbered(runs, "churn data.csv").name == "churn-data.csv-4"
    assert io.new_numbered(runs, "other").name == "other-1"
    assert io.new_numbered(runs, "../..//").parent == runs


def test_many_at_once(tmp_path):
    """H22: processes and threads, no clash."""
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(10):
                    folder = io.new_numbered(tmp_path, "run")
                    (folder / "mine").mkdir()  # fails if another has the same folder
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(io.new_numbered(tmp_path, "run"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8
    assert len(os.listdir(tmp_path)) == 48


def test_parent_is_a_file(tmp_path):
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(OSError, match="a part of the path is a file") as caught:
        io.new_numbered(tmp_path / "runs", "x")
    assert caught.value.mend
