"""H1, H17, R5: a fit that is killed at any moment and resumed ends with the bits of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).parents[1] / "lab" / "kill_fit.py"


def laboratory(place: Path, kills: int, *settings: str) -> dict[str, object]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(LAB), str(place), str(kills), *settings], capture_output=True, text=True, env=environment
    )
    assert done.stdout, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param([], id="H17-after-every-step"),
        pytest.param(["checkpoint_seconds=0.05"], id="H17-on-a-timer"),
        pytest.param(["step=autograd", "schedule=one-cycle", "second_pass=retrain"], id="H17-second-pass"),
        pytest.param(
            ["pretrain=rbm:epochs=8", "activation=sigmoid", "hidden=40,40", "second_pass=retrain"], id="H17-pretraining"
        ),
    ],
)
def test_killed_fit_resumes_to_the_same_bits(settings: list[str], tmp_path: Path) -> None:
    found = laboratory(tmp_path, 6, *settings)
    assert found["lost"] == [], found["stderr"]
    assert int(found["kills"]) >= 3  # type: ignore[call-overload]
