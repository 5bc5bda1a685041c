"""The lock of a folder: one holder, named; freed by any end of the holder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lamina import io
from lamina.errors import MachineError

HOLD = """
import sys, time
from lamina import io
with io.lock_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def _holder(folder, code=HOLD):
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_taker_is_told_pid_and_host(tmp_path):
    """H16."""
    holder = _holder(tmp_path)
    try:
        start = time.monotonic()
        named = pytest.raises(MachineError, match=rf"is in use by process {holder.pid} on ")
        with named as caught, io.lock_folder(tmp_path):
            raise AssertionError("two holders")
        assert time.monotonic() - start < 1
        assert f"kill {holder.pid}" in caught.value.mend
        assert caught.value.exit_code == 5
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_lock_of_a_dead_process_is_taken_over(tmp_path, end):
    """F8."""
    holder = _holder(tmp_path)
    holder.send_signal(end)
    holder.communicate()
    with io.lock_folder(tmp_path) as lock:
        assert f"taken over from process {holder.pid} on" in lock.note
    with io.lock_folder(tmp_path) as lock:
        assert lock.note == ""


def test_a_forked_worker_that_outlives_the_holder(tmp_path):
    """With older filelocks a data worker keeps its parent's lock until it ends: the next run waits for that."""
    code = HOLD.replace(
        "    print",
        "    import os\n    if os.fork() == 0:\n"
        "        while not os.path.exists(sys.argv[1] + '/end'): time.sleep(0.05)\n        os._exit(0)\n    print",
    )
    holder = _holder(tmp_path, code)
    holder.kill()
    holder.wait()
    threading.Timer(0.2, (tmp_path / "end").touch).start()
    with io.lock_folder(tmp_path, patience=30.0) as lock:
        assert str(holder.pid) in lock.note
    holder.communicate()


def test_same_process_twice_and_again(tmp_path):
    named = pytest.raises(MachineError, match=f"process {os.getpid()} on")
    with io.lock_folder(tmp_path), named, io.lock_folder(tmp_path):
        raise AssertionError("two holders")
    with io.lock_folder(tmp_path):
        pass


def test_released_on_error(tmp_path):
    with pytest.raises(RuntimeError), io.lock_folder(tmp_path):
        raise RuntimeError
    with io.lock_folder(tmp_path) as lock:
        assert lock.note == ""


@pytest.mark.parametrize("owner", [b"", b"{", b"[]", b'{"pid": "x"}', b'{"pid": 1}', b"\xff", b"[" * 4000])
def test_unreadable_owner(tmp_path, owner):
    with io.lock_folder(tmp_path):
        (tmp_path / ".lock.owner").write_bytes(owner)
        with pytest.raises(MachineError, match="in use by another process"), io.lock_folder(tmp_path):
            raise AssertionError("two holders")


def test_a_forked_worker_does_not_free_the_lock(tmp_path):
    with io.lock_folder(tmp_path):
        with contextlib.suppress(ZeroDivisionError), io.lock_folder(_made(tmp_path / "inner")):
            child = os.fork()
            if child == 0:
                1 / 0  # noqa: B018 - leaves the block by an error, in the child only
            os.waitpid(child, 0)
            assert (tmp_path / "inner" / ".lock.owner").exists()
            with pytest.raises(MachineError, match=f"process {os.getpid()}"), io.lock_folder(tmp_path / "inner"):
                raise AssertionError("two holders")
            child = 1
        if child == 0:
            os._exit(0)


def _made(folder):
    folder.mkdir()
    return folder


def test_missing_folder(tmp_path):
    with pytest.raises(MachineError) as caught, io.lock_folder(tmp_path / "none"):
        pass
    assert caught.value.mend


def test_races_have_one_winner_at_a_time(tmp_path):
    """R18, in small: 4 processes, 100 turns each, one counter that only the lock protects."""
    code = """
import sys, pathlib, time
from lamina import io
from lamina.errors import MachineError
counter = pathlib.Path(sys.argv[1]) / "counter"
done = 0
while done < 25:
    try:
        with io.lock_folder(sys.argv[1]):
            n = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(n + 1))
            done += 1
    except MachineError:
        time.sleep(0.001)
"""
    (tmp_path / "counter").write_text("0")
    racers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    assert (tmp_path / "counter").read_text() == "100"
