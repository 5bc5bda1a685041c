"""The set of pictures itself."""

import hashlib

import numpy as np
import pytest

from lamina.data.images.imageset import ImageSet
from lamina.errors import DataError

PIXELS = np.arange(5 * 1 * 2 * 3, dtype=np.uint8).reshape(5, 1, 2, 3)


def a_set(**changes):
    fields = {
        "name": "toy",
        "pixels": PIXELS,
        "labels": np.array([0, 1, 0, 1, 1]),
        "classes": ("a", "b"),
        "paths": tuple("vwxyz"),
        "part": np.array([0, 0, 1, 2, 2], np.int8),
    }
    return ImageSet(**{**fields, **changes})


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([3, 0, 3], [3, 0, 3]),
        ([True, False, False, True, False], [0, 3]),
        (slice(1, 4), [1, 2, 3]),
        ([], []),
        ([-1], [4]),
    ],
    ids=str,
)
def test_take(rows, expected):
    taken = a_set().take(rows)
    assert len(taken) == len(expected)
    assert np.array_equal(taken.pixels, PIXELS[np.array(expected, int)])
    assert taken.labels.tolist() == [[0, 1, 0, 1, 1][i] for i in expected]
    assert taken.paths == tuple("vwxyz"[i] for i in expected)
    assert taken.part.tolist() == [[0, 0, 1, 2, 2][i] for i in expected]
    assert taken.classes == ("a", "b")


def test_take_without_labels():
    taken = ImageSet("toy", PIXELS).take([1, 2])
    assert taken.labels is taken.paths is taken.part is None


def test_location():
    assert a_set().location(2) == "x"
    assert ImageSet("toy", PIXELS).location(2) == "toy[2]"


def test_fingerprint_is_the_content():
    one = a_set().fingerprint()
    assert one == a_set(name="other", paths=None, notes=("x",)).fingerprint()
    assert one == a_set(labels=np.array([0, 1, 0, 1, 1], np.int32)).fingerprint()
    different = [
        a_set(pixels=PIXELS + np.uint8(1)),
        a_set(pixels=PIXELS.reshape(5, 1, 3, 2)),
        a_set(labels=np.array([0, 1, 0, 1, 0])),
        a_set(labels=np.array([0, 1, 0, 1, 1], np.float64), classes=()),
        a_set(labels=None),
        a_set(classes=("a", "c")),
        a_set(part=None),
        a_set(part=np.array([0, 0, 1, 2, 1], np.int8)),
        a_set().take([1, 0, 2, 3, 4]),
    ]
    assert len({one, *(other.fingerprint() for other in different)}) == 1 + len(different)


def test_fingerprint_by_hand():
    head = b'{"shape": [5, 1, 2, 3], "labels": null, "classes": [], "part": false}'
    assert ImageSet("toy", PIXELS).fingerprint() == hashlib.sha256(head + PIXELS.tobytes()).hexdigest()


def test_fingerprint_of_a_strided_view_and_of_chunks(monkeypatch):
    wide = np.zeros((5, 3, 2, 3), np.uint8)
    wide[:, :1] = PIXELS
    expected = ImageSet("toy", PIXELS).fingerprint()
    assert ImageSet("toy", wide[:, :1]).fingerprint() == expected
    monkeypatch.setattr("lamina.data.images.imageset._CHUNK", 13)
    assert ImageSet("toy", PIXELS).fingerprint() == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"pixels": PIXELS.astype(float)},
        {"pixels": PIXELS[:, 0]},
        {"pixels": PIXELS.repeat(2, 1)},
        {"labels": np.zeros(4)},
        {"paths": ("a",)},
        {"part": np.zeros(6, np.int8)},
    ],
    ids=["floats", "three-axes", "two-channels", "labels", "paths", "part"],
)
def test_arrays_that_do_not_fit(changes):
    with pytest.raises(DataError, match="toy: ") as caught:
        a_set(**changes)
    assert caught.value.mend
