"""The IDX format: D13 of the bad-input catalogue."""

import gzip
import struct

import numpy as np
import pytest

from lamina.data.named.idx import check_pair, read_idx
from lamina.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(">BBBB", 0, 0, CODES[array.dtype.str[1:]], array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        read_idx(path, **options)
    assert str(caught.value).startswith(str(path))
    assert caught.value.mend
    return caught.value.what


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (0,), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_round_trip(tmp_path, code, shape, packed):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(code)
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert np.array_equal(read, array)


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx(IMAGES)


@pytest.mark.parametrize(
    "content, what",
    [
        pytest.param(b"", "byte 0: expected 00 00 (the start of an IDX file), found nothing", id="D13-empty"),
        pytest.param(b"\x89PNG\r\n", 
            "byte 0: expected 00 00 (the start of an IDX file), found 89 50 4e 47", id="D13-magic"),
        pytest.param(b"\0\0\x07\3" + GOOD[4:], 
            "byte 2: expected a type 08, 09, 0b, 0c, 0d or 0e, found 07", id="D13-type"),
        pytest.param(b"\0\0\x08\0", "byte 3: expected the sizes of at least 1 axes, found none", id="D13-axes"),
        pytest.param(GOOD[:9], "byte 9: expected the sizes of 3 axes, found the end of the file", id="D13-header"),
        pytest.param(GOOD[:-1], "cut short at byte 39: expected 40 bytes for [2, 3, 4], found 39", id="D13-truncated"),
        pytest.param(GOOD + b"\0\0", "too long at byte 40: expected 40 bytes for [2, 3, 4], found 42", id="D13-longer"),
        pytest.param(
            b"\0\0\x08\3" + b"\xff" * 12,
            f"cut short at byte 16: expected {16 + (2**32 - 1) ** 3:,} bytes for {[2**32 - 1] * 3}, found 16",
            id="D13-overflow",
        ),
        pytest.param(
            gzip.compress(gzip.compress(GOOD)),
            "byte 0: expected 00 00, found 1f 8b: a gzip file packed with gzip again",
            id="D13-gzip-inside",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_damage_names_the_byte(tmp_path, content, what, packed):
    if packed and content[:2] == b"\x1f\x8b":
        packed = False
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert refusal(path) == what


@pytest.mark.parametrize("damage", ["cut", "flip"], ids="D13-gzip-{}".format)
def test_damaged_gzip(tmp_path, damage):
    data = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (50, 9, 9)).astype("u1"))))
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 4
    path = tmp_path / "x.gz"
    path.write_bytes(bytes(data))
    assert "the gzip file is cut short or damaged" in refusal(path)


def test_missing(tmp_path):
    assert refusal(tmp_path / "x") == "there is no such file"


def test_S8_gzip_bomb(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"\0" * 50_000_000))
    assert refusal(path, max_bytes=1000) == "unpacks to more than the 1,000 bytes that it should hold"
    path = tmp_path / "x"
    path.write_bytes(b"\0" * 2000)
    assert refusal(path, max_bytes=1000) == "holds more than the 1,000 bytes expected"


def test_D13_counts_of_pictures_and_labels_differ():
    check_pair(IMAGES, np.zeros(2, np.uint8), "i", "l")
    with pytest.raises(DataError, match="l: byte 4: expected 2 labels, one for each picture of i, found 3"):
        check_pair(IMAGES, np.zeros(3, np.uint8), "i", "l")
    with pytest.raises(DataError, match="i: byte 2: expected unsigned bytes, 3 axes"):
        check_pair(IMAGES[0], np.zeros(2, np.uint8), "i", "l")
    with pytest.raises(DataError, match="l: byte 2: expected unsigned bytes, 1 axis"):
        check_pair(IMAGES, np.zeros((2, 1), np.uint8), "i", "l")
