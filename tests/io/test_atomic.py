"""Single files: what is left after real limits of the operating system, planted links, and old temporary files."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.faults import Fail, Shim, replaced
from lamina import io
from lamina.errors import ConfigError, LaminaError, MachineError
from lamina.io import atomic, filesystem


def _in_child(action) -> str:
    """Run ``action`` in a forked process.

    Returns:
        What it returned or raised, as text.
    """
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = str(action())
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(into, told.encode())
        os._exit(0)
    os.close(into)
    told = b"".join(iter(lambda: os.read(out, 4096), b"")).decode()
    os.close(out)
    os.waitpid(child, 0)
    return told


@given(pieces=st.lists(st.binary(max_size=200), max_size=8))
def test_pieces_come_back_in_order(tmp_path_factory, pieces):
    path = tmp_path_factory.getbasetemp() / "pieces"
    io.write_file(path, iter(pieces))
    assert path.read_bytes() == b"".join(pieces)
    size, digest = atomic.write_new(path.with_name(f"new-{os.urandom(8).hex()}"), pieces)
    import hashlib

    assert (size, digest) == (len(b"".join(pieces)), hashlib.sha256(b"".join(pieces)).hexdigest())


def test_large_pieces_are_hashed_beside_the_write(tmp_path):
    import hashlib

    data = os.urandom(3 << 20) * 3
    size, digest = atomic.write_new(tmp_path / "a", [data[:100], memoryview(data)[100:], bytearray(b"end")])
    assert (tmp_path / "a").read_bytes() == data + b"end"
    assert (size, digest) == (len(data) + 3, hashlib.sha256(data + b"end").hexdigest())


def test_a_source_may_fill_one_buffer_again_and_again(tmp_path):
    """The hash runs in another thread: it must have read a writable piece before the source goes on."""
    import hashlib

    def source():
        buffer = bytearray(4 << 20)
        for i in range(6):
            buffer[:] = bytes([i]) * len(buffer)
            yield buffer

    expected = b"".join(bytes([i]) * (4 << 20) for i in range(6))
    assert atomic.write_new(tmp_path / "a", source()) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert (tmp_path / "a").read_bytes() == expected


def test_failing_source_leaves_the_old(tmp_path):
    io.write_file(tmp_path / "a", b"old")

    def pieces():
        yield b"new"
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="source failed"):
        io.write_file(tmp_path / "a", pieces())
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_planted_symlink_is_replaced_not_followed(tmp_path):
    """S21."""
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    io.write_file(tmp_path / "a", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "a").is_symlink()
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(MachineError, match="symbolic link"):
        io.append_record(tmp_path / "log", {"a": 1})
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("plant", ["symlink_to", "hardlink_to"])
def test_planted_temporary_name_is_not_opened(tmp_path, monkeypatch, plant):
    """S21: a link at the temporary name is refused by O_EXCL, even if an attacker had guessed it."""
    (tmp_path / "victim").write_bytes(b"precious")
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: "0" * 2 * n)
    getattr(atomic.temporary_beside(tmp_path / "a"), plant)(tmp_path / "victim")
    with pytest.raises(MachineError):
        io.write_file(tmp_path / "a", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_modes_follow_umask(tmp_path):
    before = os.umask(0o077)
    try:
        io.write_file(tmp_path / "a", b"new")
        io.make_folder(tmp_path / "b" / "c")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "b" / "c").stat().st_mode) == 0o700


def test_no_overwrite(tmp_path):
    io.write_file(tmp_path / "a", b"old", overwrite=False)
    with pytest.raises(ConfigError, match="exists already"):
        io.write_file(tmp_path / "a", b"new", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_no_overwrite_when_another_was_faster(tmp_path):
    """The name is taken between the look and the write; also where the file system has no hard links."""

    class Late(Shim):
        def act(self, name, args):
            if name == "link":
                (tmp_path / "a").write_bytes(b"theirs")
            return super().act(name, args)

    with pytest.raises(ConfigError, match="exists already"), replaced(Late()):
        io.write_file(tmp_path / "a", b"ours", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a"]

    class NoLinks(Shim):
        def act(self, name, args):
            if name == "link":
                raise OSError(errno.EPERM, "no hard links here")
            return super().act(name, args)

    with replaced(NoLinks()):
        io.write_file(tmp_path / "b", b"ours", overwrite=False)
    assert (tmp_path / "b").read_bytes() == b"ours"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("missing/a", "the folder does not exist"),
        ("file/a", "a part of the path is a file"),
        ("folder", "it is a folder"),
        ("x" * 300, "the name is too long"),
    ],
)
def test_message_names_path_cause_and_mend(tmp_path, target, words):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MachineError, match=words) as caught:
        io.write_file(tmp_path / target, b"x")
    assert caught.value.mend
    assert str(caught.value).startswith(str(tmp_path)[:20])
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("code", sorted(filesystem._CAUSES), ids=lambda code: errno.errorcode[code])
def test_every_cause_has_a_mend(tmp_path, code):
    with pytest.raises(MachineError) as caught, replaced(Fail(1, code, onwards=False)):
        io.write_file(tmp_path / "a", b"x")
    assert caught.value.mend
    assert caught.value.exit_code == 5


def test_control_characters_in_a_path_are_escaped(tmp_path):
    with pytest.raises(LaminaError) as caught:
        io.write_file(tmp_path / "no\x1b[31m\n" / "a", b"x")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_real_file_size_limit(tmp_path):
    """H6, by ``ulimit -f`` itself."""
    io.write_file(tmp_path / "a", b"old")

    def write():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        io.write_file(tmp_path / "a", bytes(100_000))

    assert "MachineError" in (told := _in_child(write))
    assert "size limit" in told
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_real_full_disk_on_append():
    with pytest.raises(MachineError, match="disk is full"):
        io.append_to("/dev/full", b"x", after=0)


@pytest.mark.skipif(os.getuid() != 0, reason="drops root's rights")
def test_real_missing_permission(tmp_path):
    """H5."""
    tmp_path.chmod(0o755)
    (tmp_path / "locked").mkdir(mode=0o555)
    for above in tmp_path.parents[:3]:
        above.chmod(0o755) if "pytest" in above.name else None

    def write():
        os.setuid(65534)
        io.write_file(tmp_path / "locked" / "a", b"x")

    assert "permission denied" in _in_child(write)


def test_a_signal_in_the_middle_of_a_write(tmp_path):
    """H4: EINTR for real, with a handler that returns; the write goes on."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    main = threading.get_ident()
    try:
        stop = threading.Event()

        def nudge():
            while not stop.wait(0.001):
                signal.pthread_kill(main, signal.SIGUSR1)

        thread = threading.Thread(target=nudge)
        thread.start()
        data = os.urandom(1 << 16) * 256
        io.write_file(tmp_path / "a", data)
        stop.set()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (tmp_path / "a").read_bytes() == data


def test_ctrl_c_in_the_middle_of_a_write(tmp_path):
    """I2: the old file stays, no temporary file."""
    io.write_file(tmp_path / "a", b"old")

    class CtrlC(Shim):
        def act(self, name, args):
            if name == "fsync":
                raise KeyboardInterrupt
            return super().act(name, args)

    with pytest.raises(KeyboardInterrupt), replaced(CtrlC()):
        io.write_file(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_sweep_takes_only_ours_dead_and_old(tmp_path):
    """H11."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    host = atomic._host()
    names = {
        "dead and old": f".a.{child}-{host}{'0' * 12}.tmp",
        "dead and young": f".b.{child}-{host}{'0' * 12}.tmp",
        "alive": f".c.{os.getpid()}-{host}{'0' * 12}.tmp",
        "another host": f".d.{child}-{'f' * 6}{'0' * 12}.tmp",
        "not ours": f".e.{child}.tmp",
        "whole": "a",
    }
    for what, name in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "inside").write_bytes(b"x")
        if what != "dead and young":
            os.utime(tmp_path / name, (1, 1))
    assert atomic.sweep(tmp_path) == [tmp_path / names.pop("dead and old")]
    assert sorted(os.listdir(tmp_path)) == sorted(names.values())


def test_partial_file_goes_on(tmp_path):
    """F4, F6: what F-downloads stand on."""
    part = tmp_path / "data.part"
    assert io.append_to(part, [b"abc", b"def"], after=0) == 6
    assert io.append_to(part, b"XYZ", after=4) == 7
    io.publish(part, tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == b"abcdXYZ"
    assert os.listdir(tmp_path) == ["data"]


def test_remove(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "d").write_bytes(b"x")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "outside")
    io.remove(tmp_path / "a")
    io.remove(tmp_path / "a")
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["d"]


def test_nothing_heavy_is_imported():
    code = (
        "import sys, lamina.io; print([m for m in ('torch', 'numpy', 'sklearn', 'safetensors', 'filelock', "
        "'pyarrow', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
