"""Plant faults in the numerical files, one at a time, and see that the tests named beside each fault notice it.

The faults lie in tests/mutants/*.toml, rows of

    [[mutant]]
    file = "src/lamina/nn/units/maxout.py"
    find = "amax"          # stands in the file exactly once
    replace = "amin"
    test = "tests/nn/units/test_maxout.py"   # what pytest is given; several words are several arguments

Each fault is planted in a copy of the sources, never in the sources themselves. Prints a line a fault and at the end
how many were caught; ends with 1 if one was not.

    python scripts/mutants.py [tests/mutants/units.toml ...] [--jobs 2]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description="plant faults and see the tests notice them")
    parser.add_argument("tables", nargs="*", type=Path, help="tables of faults; all of tests/mutants if none is given")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    tables = arguments.tables or sorted((ROOT / "tests" / "mutants").glob("*.toml"))
    rows = [row for table in tables for row in tomllib.loads(table.read_text(encoding="utf-8"))["mutant"]]
    # The tests must pass on the sources as they are, or a failure would say nothing.
    sound = {test: outcome(None, test) for test in sorted({row["test"] for row in rows})}
    for test, code in sound.items():
        if code != 0:
            print(f"FAILS WITHOUT A FAULT ({code})  {test}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = list(pool.map(lambda row: outcome(row, row["test"]), rows))
    caught = 0
    for row, code in zip(rows, codes, strict=True):
        caught += code == 1 and sound[row["test"]] == 0
        word = {0: "MISSED", 1: "caught"}.get(code, f"NOT RUN ({code})")
        print(f"{word}  {row['file']}: {row['find'].strip()!r} -> {row['replace'].strip()!r}")
    print(f"{caught} of {len(rows)} faults caught")
    return 0 if caught == len(rows) else 1


def outcome(row: dict[str, str] | None, test: str) -> int:
    """Run tests on a copy of the sources with one fault planted.

    Returns:
        pytest's exit status: 1 where a test failed; -1 where the fault does not fit the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        if row is not None:
            file = Path(folder) / row["file"]
            text = file.read_text(encoding="utf-8") if file.is_file() else ""
            if text.count(row["find"]) != 1:
                return -1
            file.write_text(text.replace(row["find"], row["replace"]), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *test.split()]
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
