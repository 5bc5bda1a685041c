"""I1, I2, I4 and R17: a real process, stopped by a signal at random moments of its training."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogue.case import call, rows, text

MOMENTS = int(os.environ.get("LAMINA_MOMENTS", "12"))  # 200 for the figure of the documentation
COMMAND = [sys.executable, "-c", "import sys; from lamina.cli.main import main; sys.exit(main())"]
FIT = [
    "fit",
    "t.csv",
    "--epochs",
    "1000000",
    "--threads",
    "1",
    "--set",
    "hidden=16",
    "--set",
    "patience=1000000",
    "--set",
    "importance=false",
]


class Training:
    """A fit in a process of its own."""

    def __init__(self, place: Path, *more: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.place = place
        self.process = subprocess.Popen(
            [*COMMAND, *FIT, *more],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, words: str) -> None:
        """Read until a line has ``words``."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return
        raise AssertionError("".join(self.lines))

    def stop(self, number: int, *, wait: float = 30.0) -> float:
        """Send a signal and wait for the end.

        Returns:
            Seconds until the process was gone.
        """
        began = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=wait)
        self.lines += [err, out]
        return time.monotonic() - began

    @property
    def said(self) -> str:
        return "".join(self.lines)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_bytes(text(rows(400)))
    return tmp_path


@pytest.fixture
def training(place: Path) -> Iterator[Training]:
    made = Training(place)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def check_stopped(training: Training, number: int) -> None:
    assert training.process.returncode == 128 + number, training.said
    assert "Traceback" not in training.said
    lines = [line for line in training.said.splitlines() if line.startswith(("lamina: ", "  mend  "))]
    assert len(lines) == 2, training.said
    assert "stopped after epoch" in lines[0]
    assert "the state is saved" in lines[0]
    assert "lamina fit --resume runs/t-1" in lines[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, id="I1-ctrl-c"), pytest.param(signal.SIGTERM, id="I4-sigterm")]
)
def test_signal_saves_and_resume_goes_on(
    number: int, training: Training, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lamina.runs.predictor import Predictor

    training.until("epoch 1/")
    time.sleep(0.5)
    training.stop(number)
    check_stopped(training, number)
    run = place / "runs/t-1"
    assert Predictor.load(run).targets[0].name == "kind"
    page = (run / "report.html").read_text()
    assert "--resume" in page
    assert "interrupted" in page.lower()
    epochs = len((run / "history.jsonl").read_text().splitlines())
    monkeypatch.chdir(place)
    said = call(["fit", "--resume", "runs/t-1", "--epochs", str(epochs + 5)])
    assert said.code == 0, said.err
    assert len((run / "history.jsonl").read_text().splitlines()) == epochs + 5


@pytest.mark.slow
def test_r17_time_from_signal_to_exit(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random moments of a training, SIGINT and SIGTERM in turn."""
    chance, taken = random.Random(17), []
    for i in range(MOMENTS):
        place = tmp_path_factory.mktemp("moment")
        (place / "t.csv").write_bytes(text(rows(400)))
        training = Training(place)
        try:
            training.until("training mlp")
            time.sleep(chance.uniform(0, 1.5))
            number = (signal.SIGINT, signal.SIGTERM)[i % 2]
            taken.append(training.stop(number))
            check_stopped(training, number)
        finally:
            if training.process.poll() is None:
                training.process.kill()
                training.process.communicate()
    taken.sort()
    with capsys.disabled():
        print(
            f"\n  R17: signal to exit, {len(taken)} moments: median {taken[len(taken) // 2]:.2f} s, "
            f"99 in 100 within {taken[-1 - len(taken) // 100]:.2f} s, slowest {taken[-1]:.2f} s",
            end="",
        )
    assert taken[len(taken) // 2] < 2.0 * (1 + os.getloadavg()[0] / (os.cpu_count() or 1))
    assert taken[-1] < 10


@pytest.mark.slow
def test_second_signal_ends_at_once(place: Path) -> None:
    """I2: and what was saved before is whole."""
    training = Training(place, "--set", "checkpoint_seconds=0.05")
    training.until("epoch 1/")
    time.sleep(1.0)
    training.process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    seconds = training.stop(signal.SIGINT)
    assert training.process.returncode in {130, -signal.SIGINT}, training.said
    assert "Traceback" not in training.said
    assert seconds < 5
    from lamina.io import Generations

    assert Generations(place / "runs/t-1/checkpoint").latest() is not None


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["reading", "run: "], ids=["I3-reading", "I3-baselines"])
def test_ctrl_c_before_training(moment: str, training: Training, place: Path) -> None:
    training.until(moment)
    training.stop(signal.SIGINT)
    assert training.process.returncode == 130, training.said
    assert "Traceback" not in training.said
    assert "lamina: " in training.said


@pytest.mark.slow
def test_ctrl_c_while_importing(training: Training) -> None:
    """I3: nothing but one line, and soon."""
    training.until("lamina 0")
    seconds = training.stop(signal.SIGINT)
    assert training.process.returncode == 130, training.said
    assert "Traceback" not in training.said
    assert seconds < 10
