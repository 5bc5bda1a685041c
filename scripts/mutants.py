"""Plant faults in the numerical files, one at a time, and see that the tests named beside each fault notice it.

The faults lie in tests/mutants/*.toml, rows of

    [[mutant]]
    file = "src/lamina/nn/units/maxout.py"
    find = "amax"          # stands in the file exactly once
    replace = "amin"
    test = "tests/nn/units/test_maxout.py"   # what pytest is given; several words are several arguments

Each fault is planted in a copy of the sources, never in the sources themselves, and tested in a forked child, so that
the heavy libraries are imported once. Prints a line a fault and at the end how many were caught; ends with 1 if one was
not.

    python scripts/mutants.py [tests/mutants/units.toml ...] [--jobs 2]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300  # seconds; a fault that makes a test hang is caught
Fault = dict[str, str]


def main() -> int:
    """Plant all faults of the tables.

    Returns:
        0 if each was caught.
    """
    parser = argparse.ArgumentParser(description="plant faults and see the tests notice them")
    parser.add_argument("tables", nargs="*", type=Path, help="tables of faults; all of tests/mutants if none is given")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    tables = arguments.tables or sorted((ROOT / "tests" / "mutants").glob("*.toml"))
    faults = [row for table in tables for row in tomllib.loads(table.read_text(encoding="utf-8"))["mutant"]]
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    import_what_is_heavy()
    # The tests must pass on the sources as they are, or a failure would say nothing.
    unsound = set()
    for row, code in outcomes([{"test": test} for test in sorted({row["test"] for row in faults})], arguments.jobs):
        if code != 0:
            unsound.add(row["test"])
            print(f"FAILS WITHOUT A FAULT ({code})  {row['test']}", flush=True)
    caught = 0
    for row, code in outcomes(faults, arguments.jobs):
        hit = code in {1, -signal.SIGALRM} and row["test"] not in unsound
        caught += hit
        word = "caught" if hit else "MISSED" if code == 0 else f"NOT RUN ({code})"
        print(f"{word}  {row['file']}: {row['find'].strip()!r} -> {row['replace'].strip()!r}", flush=True)
    print(f"{caught} of {len(faults)} faults caught")
    return 0 if caught == len(faults) else 1


def import_what_is_heavy() -> None:
    """Import what every child needs and no fault touches; not pytest's plugins, whose assertions it rewrites itself."""
    import scipy.stats
    import sklearn.linear_model
    import torch

    _ = scipy.stats, sklearn.linear_model, torch


def outcomes(faults: list[Fault], jobs: int) -> Iterator[tuple[Fault, int]]:
    """Run the tests of some faults in forked children.

    Yields:
        Each fault with pytest's exit status, 1 where a test failed; 99 where the fault does not fit its file; minus the
        signal's number where one ended the child.
    """
    waiting, running = list(reversed(faults)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            row = waiting.pop()
            folder = tempfile.mkdtemp(prefix="fault-")
            pid = os.fork()
            if pid == 0:
                os._exit(run(row, Path(folder)))
            running[pid] = (row, folder)
        pid, status = os.wait()
        row, folder = running.pop(pid)
        shutil.rmtree(folder, ignore_errors=True)
        yield row, os.waitstatus_to_exitcode(status)


def run(row: Fault, folder: Path) -> int:
    """Test a copy of the sources with a fault in it, or without one.

    Returns:
        pytest's exit status, or 99.
    """
    import pytest

    signal.alarm(LONGEST)
    source = folder / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    if "file" in row:
        file = folder / row["file"]
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if text.count(row["find"]) != 1:
            return 99
        file.write_text(text.replace(row["find"], row["replace"]), encoding="utf-8")
    os.environ["PYTHONPATH"] = str(source)
    sys.path.insert(0, str(source))
    os.chdir(ROOT)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *row["test"].split()]))
    except BaseException:
        return 3


if __name__ == "__main__":
    sys.exit(main())
