"""What is shown where: few plain lines off a terminal, a live line on one, everything from data escaped."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.cli._words import bar, count, duration, figure, left, pace
from lamina.cli.display import ScreenDisplay
from lamina.workflows.display import BaselineRow, ProgressFacts

EVIL = "[/] [red]x[/red] \x1b]0;title\x07 \u202eabc \x00 {x} %s"


def facts(fraction: float, *, epoch: int = 3, train: float | None = 0.5) -> ProgressFacts:
    """Training at some point."""
    return ProgressFacts(epoch, 20, fraction, train, 0.414, 0.412, 2, "valid_loss", 1.0, 1.1, 9.0)


def play(display: ScreenDisplay) -> None:
    """Show one of each thing, with hostile texts."""
    display.started(f"runs/{EVIL}", 0, "cpu", 2)
    display.reading(EVIL)
    display.read("7,043 rows x 21 columns", 0.1)
    display.fact("predict", EVIL, "2 classes")
    display.scores(
        "baselines on validation",
        [
            BaselineRow(f'always "{EVIL}"', {"accuracy": (0.735, None, None), "log loss": (0.578, None, None)}),
            BaselineRow("logistic regression", {"accuracy": (0.803, 0.779, 0.827)}),
        ],
    )
    display.training("mlp 46-128-128-2")
    for i in range(101):
        display.progress(facts(i / 100, epoch=i // 5))
    display.working("report")
    display.line("test", f"accuracy 0.806 {EVIL}")
    display.line("report", "runs/x/report.html")
    display.close()


def test_plain_lines_off_a_terminal() -> None:
    out, err = io.StringIO(), io.StringIO()
    play(ScreenDisplay(out=out, err=err))
    for text in (out.getvalue(), err.getvalue()):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "[red]" in text  # markup is data
    assert out.getvalue().splitlines()[-1] == "report     runs/x/report.html"
    assert "reading" in err.getvalue()
    assert "0.803 [0.779, 0.827]" in err.getvalue()
    assert sum("epoch" in line for line in err.getvalue().splitlines()) == 2  # the first, and the end


def test_each_pretrained_layer_has_its_own_lines_from_the_start() -> None:
    out, err = io.StringIO(), io.StringIO()
    display = ScreenDisplay(out=out, err=err)
    for layer in ("linear1 (1 of 2)", "linear2 (2 of 2)", ""):
        for i in range(101):
            display.progress(replace(facts(i / 100, epoch=i // 5), layer=layer))
    display.close()
    lines = [line.split() for line in err.getvalue().splitlines()]
    assert [line[:3] for line in lines] == [
        *(["linear1", "(1", "of"],) * 2,
        *(["linear2", "(2", "of"],) * 2,
        ["epoch", "0/20", "----------------"],
        ["epoch", "20/20", "################"],
    ]


def test_progress_line_says_time_left_current_and_best() -> None:
    err = io.StringIO()
    display = ScreenDisplay(out=io.StringIO(), err=err)
    display.training("mlp")
    display.progress(facts(0.5))
    line = err.getvalue().splitlines()[-1]
    assert line == "  epoch 3/20  ########--------  train 0.500  valid 0.414  best 0.412 @ 2  1.1 s/epoch  ~9 s left"


def test_lines_off_a_terminal_are_spaced_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    err = io.StringIO()
    display = ScreenDisplay(out=io.StringIO(), err=err)
    display.training("mlp")
    for i in range(1, 1000):  # 100 s of training, told ten times a second
        now = i / 10
        display.progress(facts(i / 1000))
    lines = [line for line in err.getvalue().splitlines() if "epoch" in line]
    assert 8 <= len(lines) <= 12


def test_quiet_shows_results_only() -> None:
    out, err = io.StringIO(), io.StringIO()
    play(ScreenDisplay(out=out, err=err, progress=False))
    assert err.getvalue() == ""
    assert len(out.getvalue().splitlines()) == 2


def test_json_leaves_stdout_alone() -> None:
    out, err = io.StringIO(), io.StringIO()
    play(ScreenDisplay(out=out, err=err, results=False))
    assert out.getvalue() == ""
    assert err.getvalue() != ""


class _Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_A19_a_display_that_nobody_reads_does_not_stop_the_work() -> None:
    play(ScreenDisplay(out=_Closed(), err=_Closed()))


def test_the_run_folder_is_told() -> None:
    runs: list[str] = []
    ScreenDisplay(out=io.StringIO(), err=io.StringIO(), on_run=runs.append).started("runs/x-1", 0, "cpu", 1)
    assert runs == ["runs/x-1"]


_PLAY = """
import sys
sys.path.insert(0, {tests!r})
from test_display import play
from lamina.cli.display import ScreenDisplay
play(ScreenDisplay())
"""


def on_a_terminal(tmp_path: Path, columns: int, **environment: str) -> tuple[int, str]:
    """Play on a pseudo-terminal; return the exit code and what the terminal got."""
    fcntl, pty, termios = pytest.importorskip("fcntl"), pytest.importorskip("pty"), pytest.importorskip("termios")
    import struct

    script = tmp_path / "play.py"
    script.write_text(_PLAY.format(tests=str(Path(__file__).parent)))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS", "LINES", "TERM"}}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    process = subprocess.Popen([sys.executable, str(script)], stdout=slave, stderr=slave, stdin=slave, env=env)
    os.close(slave)
    parts = []
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        parts.append(data)
    os.close(master)
    return process.wait(), b"".join(parts).decode("utf-8", "replace")


def test_on_a_terminal_the_progress_is_live(tmp_path: Path) -> None:
    code, seen = on_a_terminal(tmp_path, 120)
    assert code == 0
    assert "\x1b[2K" in seen  # the live line is renewed in place
    assert "~9 s left" in seen
    assert "\x1b]0;" not in seen  # what came from data is not obeyed
    assert "\\x1b]0;title\\x07" in seen
    assert "\x1b[?25h" in seen.replace("\x1b[?25l", "", 1)  # the cursor is shown again


@pytest.mark.parametrize(
    ("columns", "environment"),
    [
        pytest.param(20, {}, id="A21-20-columns"),
        pytest.param(1, {}, id="A21-1-column"),
        pytest.param(80, {"TERM": "dumb"}, id="A21-dumb"),
        pytest.param(80, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
                     id="A21-no-utf8"),
        pytest.param(80, {"NO_COLOR": "1"}, id="A21-no-color"),
    ],
)  # fmt: skip
def test_terminal_catalogue(tmp_path: Path, columns: int, environment: dict[str, str]) -> None:
    code, seen = on_a_terminal(tmp_path, columns, **environment)
    assert code == 0, seen
    assert "Traceback" not in seen
    assert "report.html" in seen.replace("\r\n", "").replace(" ", "")
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in seen
    if "NO_COLOR" in environment:
        assert "\x1b[2m" not in seen
    if "PYTHONIOENCODING" in environment:
        assert seen.isascii()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.41399, "0.414"), (12.345, "12.35"), (123.45, "123.5"), (12345.6, "12346"), (1.2e-5, "1.2e-05"), (0.0, "0.000"),
     (-0.5, "-0.500"), (1e9, "1e+09"), (float("nan"), "not finite"), (float("inf"), "not finite")],
)  # fmt: skip
def test_figure(value: float, text: str) -> None:
    assert figure(value) == text


def test_words() -> None:
    assert bar(0.5) == "########--------"
    assert bar(2.0) == "#" * 16
    assert bar(float("nan")) == "-" * 16
    assert count(1234567) == "1,234,567"
    assert (duration(9.2), duration(150), duration(4300 * 60)) == ("9 s", "2 min", "71 h 40 min")
    assert (pace(0.03), pace(1.1), pace(600)) == ("30 ms/epoch", "1.1 s/epoch", "10 min/epoch")
    assert left(float("inf")) == "~? left"
