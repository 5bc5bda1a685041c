"""Runs that are made once: a table with classes, one with a number, and pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogue.case import FAST, Place, Runs, call, rows, text


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("finished")
    made = Runs(folder)
    place = Place(folder, made, pytest.MonkeyPatch())
    place.write("classes.csv", text(rows()))
    place.write("number.csv", text(rows(kind="number")))
    place.photos("pictures-data")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for kind, source in (("classes", "classes.csv"), ("number", "number.csv"), ("pictures", "pictures-data")):
            with warnings.catch_warnings():
                said = call(["fit", source, "--out", kind, *FAST])
            assert said.code == 0, said.err
    finally:
        os.chdir(before)
    yield made
