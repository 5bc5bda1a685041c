"""What is not lamina's is named, not opened."""

from __future__ import annotations

import pytest

from lamina import io
from lamina.errors import CheckpointError

WORDS = r"lamina does not open .* because such a file can run code"


@pytest.mark.parametrize(
    "name", ["m.pkl", "m.pt", "m.PTH", "m.keras", "m.h5", "m.joblib", "pytorch_model.bin", "last.ckpt"]
)
@pytest.mark.parametrize("inside", [False, True])
def test_j7_foreign_model_files(tmp_path, name, inside):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    for read in (io.refuse_foreign, io.read_generation):
        with pytest.raises(CheckpointError, match=WORDS) as caught:
            read(tmp_path if inside else tmp_path / name)
        assert name in str(caught.value)
        assert caught.value.mend
        assert caught.value.exit_code == 4


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x05", b"PK\x03\x04", b"\x89HDF"])
def test_j7_by_content(tmp_path, start):
    (tmp_path / "model").write_bytes(start + bytes(50))
    with pytest.raises(CheckpointError, match=WORDS):
        io.refuse_foreign(tmp_path / "model")


def test_j1_not_a_model_folder(tmp_path):
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"run.toml is missing \(it holds a.txt, b.txt, c.txt\)"):
        io.refuse_foreign(tmp_path)
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        io.read_generation(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        io.read_generation(tmp_path / "none")
    with pytest.raises(CheckpointError, match="is a file, not a lamina folder"):
        io.read_generation(tmp_path / "a.txt")
    (tmp_path / "run.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="unpack it first"):
        io.read_generation(tmp_path / "run.zip")


def test_own_folder_passes(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"")
    (tmp_path / "extra.pt").write_bytes(b"")
    io.refuse_foreign(tmp_path)
