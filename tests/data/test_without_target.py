"""Which targets of an array stand for none: a table of cases, and what is read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lamina.data.arrays import read_npz
from lamina.data.images import ImageSet
from lamina.data.without_target import without_target

# values, which stand for none unasked, which when asked
CASES = {
    "binary coding": ([-1, 1, -1, 1], "", ""),
    "only -1": ([-1, -1], "", ""),
    "negative, neutral, positive": ([-1, 0, 1, -1], "", "03"),
    "three codes": ([-1, 0, 1, 2, -1], "04", "04"),
    "three codes without the first": ([-1, 1, 2, 3], "", "0"),
    "codes with a gap": ([-1, 0, 1, 3], "", "0"),
    "other negative numbers": ([-2, -1, 0, 1, 2], "", ""),
    "no gap to fill": ([0, 1, 2], "", ""),
    "bytes with a sign": (np.array([0, 1, 2, -1], np.int8), "3", "3"),
    "bytes without one": (np.array([0, 1, 2, 255], np.uint8), "", ""),
    "truth values": ([True, False], "", ""),
    "numbers": ([-1.0, 0.0, np.nan, 2.0], "2", "2"),
    "texts": (["a", "", "-1", " "], "13", "13"),
    "bytes of text": ([b"a", b""], "1", "1"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_stands_for_none(name: str) -> None:
    values, unasked, asked = CASES[name]
    for wanted, expected in ((False, unasked), (True, asked)):
        found = without_target(np.asarray(values), asked=wanted)
        assert found.dtype == bool and "".join(map(str, np.flatnonzero(found))) == expected


def test_many_whole_numbers_are_no_class_codes_unless_asked() -> None:
    values = np.arange(-1, 30)
    assert without_target(values, asked=False).sum() == 1
    assert not without_target(values, asked=False, most=20).any()
    assert without_target(values, asked=True, most=20).sum() == 1


@pytest.mark.parametrize(
    ("y", "asked", "labels", "classes"),
    [
        ([2, -1, 0, 1], False, [2, -1, 0, 1], ("0", "1", "2")),
        ([5, -1, 3, 5], False, [2, 0, 1, 2], ("-1", "3", "5")),
        ([5, -1, 3, 5], True, [1, -1, 0, 1], ("3", "5")),
        ([-1, 1, 1, -1], True, [0, 1, 1, 0], ("-1", "1")),
        (["b", "", "a", "b"], False, [1, -1, 0, 1], ("a", "b")),
    ],
    ids=str,
)
def test_pictures_of_an_archive_without_a_class(
    tmp_path: Path, y: list, asked: bool, labels: list, classes: tuple
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 5, 5), np.uint8), y=np.array(y))
    read = read_npz(tmp_path / "a.npz", unlabelled=asked)
    assert isinstance(read, ImageSet) and read.labels is not None
    assert read.labels.tolist() == labels and read.classes == classes
