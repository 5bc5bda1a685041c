"""RELIABILITY's catalogue of bad input and trouble, through the real command line: one table, ids in the test names.

A failing command says one line with the place and one with the mend, ends with the exit code of its kind, and leaves
everything as it was; a command that goes well says what it had to do.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from catalogue import cases_a, cases_b, cases_c, cases_d, cases_fg, cases_h, cases_j, cases_k
from catalogue.case import Case, Place, Runs, Said, call, content

CASES: list[Case] = [
    case
    for module in (cases_a, cases_b, cases_c, cases_d, cases_fg, cases_h, cases_j, cases_k)
    for case in module.CASES
]
KNOWN = {"A": 22, "B": 39, "C": 29, "D": 15, "E": 14, "F": 14, "G": 22, "H": 28, "I": 17, "J": 18, "K": 12}
LEAST = 80


def catalogue_id(case: Case) -> str:
    found = re.match(r"([A-N])(\d+)-", case.id)
    assert found, case.id
    assert 1 <= int(found[2]) <= KNOWN[found[1]], case.id
    return found[1] + found[2]


@pytest.fixture
def place(tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    for name in ("LAMINA_DATA", "COLUMNS", "TERM", "LAMINA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path, runs, monkeypatch)


def marked(case: Case) -> ParameterSet:
    marks = [pytest.mark.xfail(strict=True, reason=case.fault)] if case.fault else []
    return pytest.param(case, id=case.id, marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_catalogue(case: Case, place: Place) -> None:
    case.make(place)
    before = content(place.path)
    said = call(case.words, stdin=case.stdin, encoding=case.encoding)
    shown = f"exit {said.code}\n{said.out}\n{said.err}"
    assert said.code == case.code, shown
    obeys_the_grammar(said)
    if case.code == 0:
        for words in (*case.says, *case.mend):
            assert words in said.all, f"not said: {words}\n{shown}"
    else:
        for words in case.says:
            assert words in said.error[0], f"not in the first line: {words}\n{shown}"
        for words in case.mend:
            assert words in said.error[1], f"not in the mend: {words}\n{shown}"
    for words in case.silent:
        assert words not in said.all, f"said: {words}\n{shown}"
    keeps(case, before, content(place.path))
    if case.after is not None:
        case.after(place, said)


def obeys_the_grammar(said: Said) -> None:
    """R13: one line with subject, place and cause, one with the mend; no traceback, nothing unprintable."""
    assert "Traceback" not in said.all, said.all
    assert "a bug in lamina" not in said.all, said.all
    lines = said.error
    if said.code == 0:
        assert not lines, said.err
        return
    assert len(lines) == 2, f"not two lines: {lines}\n{said.err}"
    subject = lines[0].removeprefix("lamina: ")
    assert re.match(r"\S.*", subject), lines
    assert len(subject.split()) >= 3, f"says too little: {lines}"
    assert not subject.endswith("."), lines
    assert lines[1].startswith("  mend  "), lines
    assert len(lines[1].split()) >= 3, f"mends too little: {lines}"
    assert all(character.isprintable() for character in "".join(lines)), lines
    assert len(lines[0]) <= 600, lines


def keeps(case: Case, before: dict[str, str], after: dict[str, str]) -> None:
    """Everything written earlier is there, bit for bit, and nothing else but what the case allows."""
    allowed = case.left
    if allowed is None:
        allowed = ["runs/*"] if case.code == 0 and "fit" in case.words[:1] else []
    locks = ["*.lock"]  # an operating system's lock that was let go is an empty file
    for name, value in before.items():
        if any(fnmatch.fnmatch(name, pattern) for pattern in case.changed):
            continue
        assert after.get(name) == value, f"{name} was {'changed' if name in after else 'removed'}"
    new = [name for name in after if name not in before]
    stray = [name for name in new if not any(fnmatch.fnmatch(name, pattern) for pattern in (*allowed, *locks))]
    assert not stray, f"left behind: {stray}"


def test_ids_are_unique() -> None:
    names = [case.id for case in CASES]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


@pytest.fixture(scope="module", autouse=True)
def count(request: pytest.FixtureRequest) -> Iterator[None]:
    """R12: print how many ids of the catalogue stand in the table."""
    yield
    covered = {catalogue_id(case) for case in CASES}
    letters = {letter: sum(name[0] == letter for name in covered) for letter in KNOWN}
    words = ", ".join(f"{letter} {n} of {KNOWN[letter]}" for letter, n in letters.items() if n)
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n  R12: {len(covered)} of 274 ids through the command line in {len(CASES)} cases ({words})", end="")


def test_r12_ids_covered() -> None:
    assert len({catalogue_id(case) for case in CASES}) >= LEAST
