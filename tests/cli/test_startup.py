"""What answers at once, and imports nothing heavy to do so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "sklearn", "matplotlib", "pyarrow", "pandas", "numpy", "rich.console")

LIGHT = [
    [],
    ["--help"],
    ["--version"],
    ["fit", "--help"],
    ["predict", "--help"],
    ["fit", "--settings"],
    ["fit", "nowhere.csv"],
    ["fit", "iris", "--epochs", "0"],
    ["fit", "iris", "--nonsense"],
    ["predict", "nowhere", "nowhere.csv"],
    ["canon"],
    ["canon", "relu"],
    ["data", "list"],
    ["completion", "bash"],
]

_SCRIPT = """
import sys
from lamina.cli.main import main
main(sys.argv[1:])
print("loaded:", *[name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.parametrize("words", LIGHT, ids=lambda words: " ".join(words) or "nothing")
def test_nothing_heavy_is_imported(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(heavy=HEAVY), *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_help_takes_less_than_a_third_of_a_second() -> None:
    """CPU time of the process and its start, the best of three: the machine may be busy."""
    resource = pytest.importorskip("resource")
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        script = "from lamina.cli.main import main; main(['--help'])"
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.3


_FIRST_LINE = """
import sys, time

class Watch:
    encoding = "utf-8"
    def write(self, text):
        if text.strip():
            found = (text.strip(), time.process_time(), "torch" in sys.modules)
            print(*found, sep="|", file=sys.stdout, flush=True)
            import os
            os._exit(0)
    def flush(self): pass
    def isatty(self): return False

sys.stderr = Watch()
from lamina.cli.main import main
main(["fit", "a.csv"])
"""


def test_the_first_line_of_fit_comes_before_torch(tmp_path: Path) -> None:
    """CPU time until the first line, the best of three: the machine may be busy."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    best = 9.0
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _FIRST_LINE], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        line, seconds, torch_is_there = done.stdout.strip().split("|")
        assert line == "lamina 0.1.0  fit a.csv"
        assert torch_is_there == "False"
        best = min(best, float(seconds))
    assert best < 0.3


def test_import_lamina_is_lazy_and_silent() -> None:
    script = (
        "import sys, lamina; before = set(sys.modules); assert not {'torch', 'numpy', 'click'} & before; "
        "assert 'nn' in dir(lamina) and 'fit' in dir(lamina); print(lamina.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout == "0.1.0\n"
    assert done.stderr == ""
